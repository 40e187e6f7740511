"""Loads data sets as NumPy arrays: those known by name, and a user's own images, tables and arrays."""

from quant.data.dataset import DataSet, Task
from quant.data.load import load_data
from quant.data.named import FOLDER_VARIABLE, NAMED, NAMES
from quant.data.normalization import Normalization
from quant.data.splits import stratified

__all__ = [
    "FOLDER_VARIABLE",
    "NAMED",
    "NAMES",
    "DataSet",
    "Normalization",
    "Task",
    "load_data",
    "stratified",
]
