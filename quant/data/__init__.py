"""Loads data sets as NumPy arrays: those known by name, and a user's own images, tables and arrays.

The names are imported on first use together with the modules that define them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quant.data.choices import Normalization, Task
    from quant.data.dataset import DataSet
    from quant.data.load import load_data
    from quant.data.named import FOLDER_VARIABLE, NAMED, NAMES
    from quant.data.splits import stratified

_MODULES = {
    **dict.fromkeys(("Normalization", "Task"), "choices"),
    "DataSet": "dataset",
    "load_data": "load",
    **dict.fromkeys(("FOLDER_VARIABLE", "NAMED", "NAMES"), "named"),
    "stratified": "splits",
}
"""Name -> module. No module is named like one of its names."""

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


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"quant.data.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
