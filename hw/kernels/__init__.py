"""The kernels, by name."""

from functools import cache
from importlib import import_module
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hw.ir.kernel import Kernel

REGISTRY = {
    "accumulate_pool": "AccumulatePool",
    "add": "Add",
    "arg_max": "ArgMax",
    "concat": "Concat",
    "depthwise": "Depthwise",
    "fifo": "Fifo",
    "fork": "Fork",
    "matrix_vector": "MatrixVector",
    "max_pool": "MaxPool",
    "requant": "Requant",
    "sliding_window": "SlidingWindow",
    "threshold": "Threshold",
    "upsample": "Upsample",
    "width_converter": "WidthConverter",
}
"""Kernel name, which is its Python module -> class."""


@cache
def get(op: str) -> "type[Kernel]":
    """The kernel class of this name. Raises KeyError."""
    return getattr(import_module(f"hw.kernels.{op}.kernel"), REGISTRY[op])


@cache
def _sources() -> dict[str, Traversable]:
    """Every SystemVerilog file of the kernels by its name."""
    folders = (folder for folder in files("hw.kernels").iterdir() if folder.is_dir())
    return {file.name: file for folder in folders for file in folder.iterdir() if file.name.endswith(".sv")}


def source(name: str) -> Traversable:
    """The SystemVerilog file of this name, in a kernel's folder or in ``cells``. Raises KeyError."""
    return _sources()[name]
