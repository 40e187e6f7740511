"""Loads data sets as NumPy arrays.

``digits`` (bundled with scikit-learn), MNIST, Fashion-MNIST, CIFAR-10, and .npz files of images or features.
"""

import difflib
import gzip
import importlib.util
import io
import os
import pickle
import zipfile
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from quant.errors import QuantError
from quant.files import check_archive, check_memory

__all__ = [
    "DataSet",
    "load_data",
    "stratified",
]

FOLDER_VARIABLE = "BITFABRIC_DATA"
# name -> possible folders (first this package's, then torchvision's) and the possible .npz file
_PLACES: dict[str, tuple[str, ...]] = {
    "mnist": ("mnist", "MNIST/raw", "mnist.npz"),
    "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw", "fashion-mnist.npz"),
    "cifar10": ("cifar10", "cifar-10-batches-py", "cifar10.npz"),
}
NAMES = ("digits", *_PLACES)
"""The data sets that are known by name."""

# Codes per standard deviation of a float feature: 8 bits cover 4 deviations on either side.
_CODES = 32


@dataclass(frozen=True, eq=False)
class DataSet:
    """Images (N, C, H, W) or features (N, F) as whole numbers, and labels (N,) int64.

    Values have the scale of the source, ``low..high``: 0..16 for the digits, 0..255 for other images. Floating-point
    features are converted to -128..127, one feature at a time: ``x = offset + scale * code`` with ``scale`` and
    ``offset`` (F,) float64. Both are None for whole numbers. ``encode`` converts new values in the same way.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    low: int
    high: int
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, H, W) or (F,)."""
        return self.x_train.shape[1:]

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Converts values (N, ...) in the source's scale to whole numbers.

        Returns ``clip(round((x - offset) / scale), low, high)``, or ``x`` itself if the source holds whole numbers.
        """
        if self.scale is None or self.offset is None:
            return x
        return _encode(x, self.scale, self.offset)


def load_data(source: str | os.PathLike[str] = "digits", seed: int = 0) -> DataSet:
    """Loads a data set by name, or from a folder or file.

    ``digits`` needs no file: 1,797 scans of 8 x 8 pixels, from which ``seed`` draws a stratified test set of about 360.
    ``mnist``, ``fashion-mnist`` and ``cifar10`` are searched in the folder ``$BITFABRIC_DATA``, also in torchvision's
    layout. A path is a .npz file, or a folder with the four IDX files of MNIST (plain or .gz) or with CIFAR-10's Python
    batches (``data_batch_1``, ...). All of these define their own split, so ``seed`` has no effect on them.

    A .npz file contains x_train, y_train, x_test and y_test.

    - Images: uint8 of shape (N, H, W), (N, H, W, 3) or (N, C, H, W).
    - Integer features (N, F): stored unchanged, with the smallest 8-bit or 16-bit range that contains them.
    - Floating-point features (N, F): converted to 8-bit integers, centred at the mean of the training set, with 32
      codes per standard deviation of each feature (see ``DataSet``).
    - Labels: (N,), or one-hot (N, classes).

    A .npz of JPEG files contains ``jpeg`` (uint8, all files concatenated), ``offset`` (N + 1), ``label`` and
    ``is_train`` (N); it needs Pillow.

    Raises QuantError for an unknown name, and for missing or damaged files.
    """
    name = os.fspath(source)
    if name == "digits":
        return _digits(seed)
    if name in _PLACES:
        return _read(_find(name), name)
    path = Path(name)
    if not path.exists():
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(NAMES)}, or a folder or .npz file"
        raise QuantError(f"no data set {name!r}: {hint}", status=2)
    return _read(path, path.stem)


def stratified(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Returns a mask (N,) that selects ``fraction`` of each class at random."""
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        chosen[members[: round(fraction * len(members))]] = True
    return chosen


def _digits(seed: int) -> DataSet:
    # scikit-learn's loader reads the same table, but importing it takes seconds.
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise QuantError("the digits come with scikit-learn, which is not installed: run pip install scikit-learn")
    path = Path(package.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    x, y = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)
    test = stratified(y, 0.2, seed)
    return DataSet("digits", x[~test], y[~test], x[test], y[test], classes=10, low=0, high=16)


def _find(name: str) -> Path:
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        raise QuantError(
            f"{name} is not bundled: set {FOLDER_VARIABLE} to the folder that holds it, as "
            f"{' or '.join(_PLACES[name])}, or give its path instead of its name",
            status=2,
        )
    for place in _PLACES[name]:
        if (Path(folder) / place).exists():
            return Path(folder) / place
    raise QuantError(
        f"{FOLDER_VARIABLE}={folder} holds no {' and no '.join(_PLACES[name])}: put {name} there", status=2
    )


def _read(path: Path, name: str) -> DataSet:
    try:
        if path.is_file():
            arrays = _read_npz(path)
        elif (path / "data_batch_1").exists():
            arrays = _read_cifar(path)
        else:
            arrays = [
                _read_idx(path, f"{part}-{kind}")
                for part in ("train", "t10k")
                for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
            ]
    except QuantError:
        raise
    except Exception as error:  # NumPy, zipfile, zlib and pickle raise many types for damaged files
        reason = str(error) or type(error).__name__
        raise QuantError(f"{path} is damaged or no data set: {reason}") from error
    x_train, y_train, x_test, y_test = (np.asarray(array) for array in arrays)
    for x, y in ((x_train, y_train), (x_test, y_test)):
        if len(x) != len(y) or len(x) == 0:
            raise QuantError(f"{path} holds {len(x)} samples for {len(y)} labels: the files do not belong together")
    y_train, y_test = _labels(y_train, path), _labels(y_test, path)
    classes = int(max(y_train.max(), y_test.max())) + 1
    if x_train.ndim == 2:
        return _features(DataSet(name, x_train, y_train, x_test, y_test, classes, low=0, high=0), path)
    x_train, x_test = _channels_first(x_train, path), _channels_first(x_test, path)
    return DataSet(name, x_train, y_train, x_test, y_test, classes, low=0, high=255)


def _labels(y: np.ndarray, path: Path) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] > 1:
        if not ((y == 0) | (y == 1)).all() or not (y.sum(1) == 1).all():
            raise QuantError(f"{path}: labels of shape {y.shape} are not one-hot: give (N,) whole numbers", status=2)
        return np.asarray(y.argmax(1))
    labels = y.reshape(-1).astype(np.int64)
    if (labels != y.reshape(-1)).any() or labels.min() < 0:
        raise QuantError(f"{path}: labels must be whole numbers from 0 on", status=2)
    return labels


def _channels_first(x: np.ndarray, path: Path) -> np.ndarray:
    if x.dtype != np.uint8 or x.ndim not in (3, 4):
        raise QuantError(
            f"{path}: images are {x.dtype} of shape {x.shape}, not uint8 (N, H, W) or (N, H, W, channels)", status=2
        )
    if x.ndim == 3:
        return x[:, None]
    return x.transpose(0, 3, 1, 2) if x.shape[3] in (1, 3) and x.shape[1] not in (1, 3) else x


def _features(raw: DataSet, path: Path) -> DataSet:
    x_train, x_test = raw.x_train, raw.x_test
    if x_test.shape[1:] != x_train.shape[1:] or any(x.dtype.kind not in "iuf" for x in (x_train, x_test)):
        raise QuantError(
            f"{path}: features of {x_train.dtype} {x_train.shape} and {x_test.dtype} {x_test.shape} are no numbers of "
            "shape (N, F)",
            status=2,
        )
    if x_train.dtype.kind == "f" or x_test.dtype.kind == "f":
        if not np.isfinite(x_train).all() or not np.isfinite(x_test).all():
            raise QuantError(f"{path}: features are not all finite", status=2)
        wide = x_train.astype(np.float64)
        deviation = wide.std(0)
        scale, offset = np.where(deviation > 0, deviation, 1.0) / _CODES, wide.mean(0)
        train, test = (_encode(x, scale, offset) for x in (x_train, x_test))
        return replace(raw, x_train=train, x_test=test, low=-128, high=127, scale=scale, offset=offset)
    least = int(min(x_train.min(), x_test.min()))
    most = int(max(x_train.max(), x_test.max()))
    for kind in (np.uint8, np.int8, np.uint16, np.int16):
        ends = np.iinfo(kind)
        if ends.min <= least and most <= ends.max:
            kept = np.int32 if kind == np.uint16 else kind  # torch supports few operations on uint16
            return replace(
                raw, x_train=x_train.astype(kept), x_test=x_test.astype(kept), low=int(ends.min), high=int(ends.max)
            )
    raise QuantError(f"{path}: features reach from {least} to {most}, which 16 bits do not hold: scale them", status=2)


def _encode(x: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    codes: np.ndarray = np.clip(np.rint((x.astype(np.float64) - offset) / scale), -128, 127)
    return codes.astype(np.int8)


def _read_npz(path: Path) -> list[np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no .npz file")
    check_archive(path)
    with np.load(path, allow_pickle=False) as file:
        if "jpeg" in file:
            return _read_jpegs(file)
        names = ("x_train", "y_train", "x_test", "y_test")
        missing = [name for name in names if name not in file]
        if missing:
            raise QuantError(f"{path} has no array {', '.join(missing)}: it must hold {', '.join(names)}", status=2)
        return [file[name] for name in names]


def _read_jpegs(file: Any) -> list[np.ndarray]:
    try:
        from PIL import Image
    except ImportError:
        raise QuantError("a .npz of JPEG files needs Pillow, which is not installed: run pip install pillow") from None
    packed, offset, labels, train = (file[name] for name in ("jpeg", "offset", "label", "is_train"))
    images = np.stack(
        [
            np.asarray(Image.open(io.BytesIO(packed[first:end].tobytes())))
            for first, end in zip(offset[:-1].tolist(), offset[1:].tolist(), strict=True)
        ]
    )
    train = train.astype(bool)
    return [images[train], labels[train], images[~train], labels[~train]]


def _read_idx(folder: Path, name: str) -> np.ndarray:
    for path in (folder / name, folder / f"{name}.gz", folder / name.replace("-idx", ".idx")):
        if path.is_file():
            break
    else:
        raise QuantError(f"{folder} has no {name} (or {name}.gz): copy the four IDX files there", status=2)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        start = file.read(4)
        if len(start) < 4 or start[:3] != b"\0\0\x08":
            raise ValueError(f"{path.name} is no IDX file of bytes")
        shape = [int(size) for size in np.frombuffer(file.read(4 * start[3]), ">u4", count=start[3])]
        check_memory(path, prod(shape))
        data = file.read(prod(shape) + 1)
    return np.frombuffer(data, np.uint8).reshape(shape)


class _ArrayUnpickler(pickle.Unpickler):
    """Loads dictionaries of arrays only: an unrestricted pickle could execute arbitrary code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) in {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no data set needs")


def _read_cifar(folder: Path) -> list[np.ndarray]:
    def batch(name: str) -> tuple[np.ndarray, np.ndarray]:
        content = _ArrayUnpickler(io.BytesIO((folder / name).read_bytes()), encoding="bytes").load()
        return np.asarray(content[b"data"], np.uint8).reshape(-1, 3, 32, 32), np.asarray(content[b"labels"])

    train = [batch(f"data_batch_{i}") for i in range(1, 6)]
    test = batch("test_batch")
    return [np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train]), *test]
