"""The kernels, by name."""

from functools import cache
from importlib import import_module
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hw.kernels.kernel import Kernel

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
    return getattr(import_module(f"hw.kernels.{op}"), REGISTRY[op])


def source(name: str) -> Traversable:
    """A SystemVerilog file of this package, by its name under ``hw/kernels`` (``parts/rom.sv``)."""
    path = files("hw.kernels")
    for part in name.split("/"):
        path = path.joinpath(part)
    return path
