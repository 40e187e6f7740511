"""The data sets that are known by name: where they are from, and where they are found."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quant.data.arrays import read_npz
from quant.data.cifar import read_cifar
from quant.data.dataset import Parts
from quant.data.download import Remote, fetch
from quant.data.idx import read_idx_folder
from quant.data.published import read_jets, read_svhn, read_unsw
from quant.data.speech import read_speech_commands, read_toyadmos
from quant.errors import QuantError

FOLDER_VARIABLE = "BITFABRIC_DATA"
"""The environment variable with the folder in which data sets are looked for by name."""


@dataclass(frozen=True)
class Named:
    """A data set with a name.

    ``summary``: what it holds and its split. ``source`` and ``licence``: where it is from, and what may be done with
    it. ``places``: where it may lie in ``$BITFABRIC_DATA``, this package's name first, then that of torchvision.
    ``read`` reads a folder, or the file that it is; ``.npz`` files of other sets are read as those of a user are.
    ``remote`` are the files of a download and ``into`` the place for them, none where its source asks for more.
    """

    summary: str
    source: str
    licence: str
    places: tuple[str, ...]
    read: Callable[[Path], Parts]
    remote: tuple[Remote, ...] = ()
    into: str = "."


def _idx_files(base: str, *hashes: str) -> tuple[Remote, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(Remote(f"{base}/{name}-ubyte.gz", md5) for name, md5 in zip(names, hashes, strict=True))


# The hashes are those that torchvision checks.
NAMED: dict[str, Named] = {
    "mnist": Named(
        "28 x 28 grey digits, 60,000 and 10,000 for the test, 10 classes",
        "LeCun, Cortes, Burges: yann.lecun.com/exdb/mnist",
        "CC BY-SA 3.0",
        ("mnist", "MNIST/raw", "mnist.npz"),
        read_idx_folder,
        _idx_files(
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        "mnist",
    ),
    "fashion-mnist": Named(
        "28 x 28 grey clothes, 60,000 and 10,000 for the test, 10 classes",
        "Xiao, Rasul, Vollgraf 2017: github.com/zalandoresearch/fashion-mnist",
        "MIT",
        ("fashion-mnist", "FashionMNIST/raw", "fashion-mnist.npz"),
        read_idx_folder,
        _idx_files(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        "fashion-mnist",
    ),
    "cifar10": Named(
        "32 x 32 color images, 50,000 and 10,000 for the test, 10 classes",
        "Krizhevsky 2009: cs.toronto.edu/~kriz/cifar.html",
        "none stated; for research, with citation",
        ("cifar10", "cifar-10-batches-py", "cifar10.npz"),
        read_cifar,
        (
            Remote(
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                "c58f30108f718f92721af3b95e74349a",
                unpack=True,
            ),
        ),
    ),
    "cifar100": Named(
        "32 x 32 color images, 50,000 and 10,000 for the test, 100 classes",
        "Krizhevsky 2009: cs.toronto.edu/~kriz/cifar.html",
        "none stated; for research, with citation",
        ("cifar100", "cifar-100-python", "cifar100.npz"),
        read_cifar,
        (
            Remote(
                "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
                "eb9058c3a382ffc7106e4002c42a8d85",
                unpack=True,
            ),
        ),
    ),
    "svhn": Named(
        "32 x 32 color house numbers, 73,257 and 26,032 for the test, 10 classes",
        "Netzer et al. 2011: ufldl.stanford.edu/housenumbers",
        "for non-commercial use",
        ("svhn", "SVHN"),
        read_svhn,
        (
            Remote("http://ufldl.stanford.edu/housenumbers/train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
            Remote("http://ufldl.stanford.edu/housenumbers/test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        ),
        "svhn",
    ),
    "speech-commands": Named(
        "490 MFCCs of a second as of MLPerf Tiny, test by its testing_list.txt, 12 classes",
        "Warden 2018, version 0.02: arxiv.org/abs/1804.03209",
        "CC BY 4.0",
        ("speech-commands", "SpeechCommands/speech_commands_v0.02"),
        read_speech_commands,
        (Remote("http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz", unpack=True),),
        "speech-commands",
    ),
    "unsw-nb15": Named(
        "593 features of 0 and 1 of a connection as of LogicNets, its own split, 2 classes",
        "Moustafa, Slay 2015; binarized by Umuroglu et al. 2020: zenodo.org/record/4519767",
        "for research, with citation",
        ("unsw-nb15", "unsw_nb15_binarized.npz"),
        read_unsw,
        (Remote("https://zenodo.org/record/4519767/files/unsw_nb15_binarized.npz"),),
        "unsw-nb15",
    ),
    "lhc-jets": Named(
        "16 features of a jet, 830,000, of which a fifth of each class for the test, 5 classes",
        "Duarte et al. 2018 (hls4ml): openml.org/d/42468, its .arff file",
        "CC BY 4.0 (zenodo.org/record/3602260)",
        ("lhc-jets", "lhc-jets.npz"),
        read_jets,
    ),
    "toyadmos": Named(
        "640 log-mel values of five windows as of MLPerf Tiny, its own split, for task reconstruction",
        "Koizumi et al. 2019; DCASE 2020 task 2: zenodo.org/record/3678171, a machine's folders train and test",
        "CC BY-SA 4.0",
        ("toyadmos", "ToyCar"),
        read_toyadmos,
    ),
}

NAMES = ("digits", *NAMED)
"""The data sets that are known by name. The digits come with scikit-learn."""


def read_named(name: str, download: bool = False) -> tuple[Parts, Path]:
    """Returns a data set of ``NAMED`` and its place.

    ``download`` fetches it from its source where it is missing. Raises QuantError where it is not found (status 2), or
    cannot be downloaded.
    """
    path = _find(name, download)
    if path.suffix == ".npz" and path.stem == name:
        return read_npz(path), path
    return NAMED[name].read(path), path


def _find(name: str, download: bool) -> Path:
    folder = os.environ.get(FOLDER_VARIABLE)
    data = NAMED[name]
    if folder is None:
        raise QuantError(
            f"{name} is not bundled: set {FOLDER_VARIABLE} to the folder that holds it, as {' or '.join(data.places)}, "
            "or give its path instead of its name",
            status=2,
        )
    for again in (False, True):
        for place in data.places:
            if (Path(folder) / place).exists():
                return Path(folder) / place
        if again or not download:
            break
        if not data.remote:
            raise QuantError(f"{name} cannot be downloaded from here: get it from {data.source}", status=2)
        for remote in data.remote:
            fetch(remote, Path(folder) / data.into)
    hint = f", or download it (--download) from {data.source}" if data.remote else f"; it is from {data.source}"
    raise QuantError(
        f"{FOLDER_VARIABLE}={folder} holds no {' and no '.join(data.places)}: put {name} there{hint}", status=2
    )
