"""The data sets that are known by name: where they are from, and where they are found."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quant.data.arrays import read_npz
from quant.data.cifar import read_cifar
from quant.data.dataset import Parts
from quant.data.idx import read_idx_folder
from quant.errors import QuantError

FOLDER_VARIABLE = "BITFABRIC_DATA"
"""The environment variable with the folder in which data sets are looked for by name."""


@dataclass(frozen=True)
class Named:
    """A data set with a name.

    ``summary``: what it holds and its split. ``source`` and ``licence``: where it is from, and what may be done with
    it. ``places``: where it may lie in ``$BITFABRIC_DATA``, this package's name first, then that of torchvision.
    ``read`` reads a folder; ``.npz`` files are read as those of a user are.
    """

    summary: str
    source: str
    licence: str
    places: tuple[str, ...]
    read: Callable[[Path], Parts]


NAMED: dict[str, Named] = {
    "mnist": Named(
        "28 x 28 grey digits, 60,000 and 10,000 for the test, 10 classes",
        "LeCun, Cortes, Burges: yann.lecun.com/exdb/mnist",
        "CC BY-SA 3.0",
        ("mnist", "MNIST/raw", "mnist.npz"),
        read_idx_folder,
    ),
    "fashion-mnist": Named(
        "28 x 28 grey clothes, 60,000 and 10,000 for the test, 10 classes",
        "Xiao, Rasul, Vollgraf 2017: github.com/zalandoresearch/fashion-mnist",
        "MIT",
        ("fashion-mnist", "FashionMNIST/raw", "fashion-mnist.npz"),
        read_idx_folder,
    ),
    "cifar10": Named(
        "32 x 32 colour images, 50,000 and 10,000 for the test, 10 classes",
        "Krizhevsky 2009: cs.toronto.edu/~kriz/cifar.html",
        "none stated; for research, with citation",
        ("cifar10", "cifar-10-batches-py", "cifar10.npz"),
        read_cifar,
    ),
}

NAMES = ("digits", *NAMED)
"""The data sets that are known by name. The digits come with scikit-learn."""


def read_named(name: str) -> tuple[Parts, Path]:
    """Returns a data set of ``NAMED`` and its place. Raises QuantError (status 2) where it is not found."""
    path = _find(name)
    return (read_npz(path) if path.is_file() else NAMED[name].read(path)), path


def _find(name: str) -> Path:
    folder = os.environ.get(FOLDER_VARIABLE)
    places = NAMED[name].places
    if folder is None:
        raise QuantError(
            f"{name} is not bundled: set {FOLDER_VARIABLE} to the folder that holds it, as {' or '.join(places)}, or "
            "give its path instead of its name",
            status=2,
        )
    for place in places:
        if (Path(folder) / place).exists():
            return Path(folder) / place
    raise QuantError(f"{FOLDER_VARIABLE}={folder} holds no {' and no '.join(places)}: put {name} there", status=2)
