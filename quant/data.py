"""Data sets by name, as NumPy arrays: ``digits`` (bundled with scikit-learn), MNIST, Fashion-MNIST and CIFAR-10."""

import difflib
import gzip
import importlib.util
import os
import pickle
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quant.errors import QuantError

DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10")


@dataclass(frozen=True, eq=False)
class DataSet:
    """Images and labels: ``x_*`` (N, C, H, W) uint8 in the pixels' own scale, ``y_*`` (N,) int64.

    ``low`` and ``high`` bound the pixel values (digits 0..16, the others 0..255).
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    low: int
    high: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of one image."""
        return self.x_train.shape[1:]

    @property
    def features(self) -> int:
        return int(np.prod(self.shape))


def load_data(name: str = "digits", path: str | os.PathLike[str] | None = None, seed: int = 0) -> DataSet:
    """The data set of that name.

    ``digits`` needs no file: 1,797 scans of 8 x 8, of which ``seed`` chooses a stratified test set of 360. The others are read from
    ``path``, or the folder ``$BITFABRIC_DATA``: a .npz file with x_train, y_train, x_test, y_test, or a folder that
    holds one, or the IDX files (plain or .gz), or CIFAR-10's python batches, directly or in the subfolders that
    torchvision makes; their own split is kept and ``seed`` has no effect.

    Raises QuantError for an unknown name, missing or damaged files.
    """
    if name not in DATA_SETS:
        near = difflib.get_close_matches(name, DATA_SETS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(DATA_SETS)}"
        raise QuantError(f"no data set {name!r}: {hint}", status=2)
    if name == "digits":
        return _digits(seed)
    ...
    raise NotImplementedError


def _digits(seed: int) -> DataSet:
    # scikit-learn's own loader gives the same table, but importing it takes seconds.
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise QuantError("the digits come with scikit-learn, which is not installed: pip install scikit-learn")
    table = np.loadtxt(
        Path(package.submodule_search_locations[0]) / "datasets/data/digits.csv.gz", delimiter=",", dtype=np.uint8
    )
    x, y = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)
    test = stratified(y, 0.2, seed)
    return DataSet("digits", x[~test], y[~test], x[test], y[test], classes=10, low=0, high=16)


def stratified(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A mask (N,) that chooses ``fraction`` of each class at random."""
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        chosen[members[: round(fraction * len(members))]] = True
    return chosen
