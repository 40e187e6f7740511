"""The digits of scikit-learn: 1,797 scans of 8 x 8 pixels."""

import importlib.util
from pathlib import Path

import numpy as np

from quant.data.dataset import DataSet
from quant.data.splits import TEST_SHARE, stratified
from quant.errors import QuantError


def digits(seed: int, share: float | None = None) -> DataSet:
    """Returns the digits, with a stratified test set of ``share`` of them (default: a fifth) that ``seed`` draws."""
    # scikit-learn's loader reads the same table, but importing it takes seconds.
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise QuantError("the digits come with scikit-learn, which is not installed: run pip install scikit-learn")
    path = Path(package.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    x, y = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)
    test = stratified(y, TEST_SHARE if share is None else share, seed)
    return DataSet("digits", x[~test], y[~test], x[test], y[test], classes=10, low=0, high=16)
