"""Lookup layer: every output is a table of a few of the inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.stream import Stream
from hw.kernels.lookup_layer import verilog
from hw.kernels.lookup_layer.evaluate import evaluate
from hw.kernels.lookup_layer.support import Table, reduced
from hw.kernels.shared.pipeline import PositionKernel, Stage

MOST_INPUTS = 8
"""Maximum number of inputs of a table."""
PASSED = 0b10
"""The contents of a table whose output is its only input."""
JOINED = 1.6, 3
"""Lookup tables of a 2:1 multiplexer of tables, where slices have no multiplexers of their own, and where they have."""


@dataclass(frozen=True, eq=False)
class LookupLayer(PositionKernel):
    """Output o of a position is tables[o, sum over j of x[wires[o, j]] << j]: wire 0 is the lowest bit of the address.

    Input ``(*prefix, channels)`` and output ``(*prefix, O)`` of BINARY. ``wires`` (O, K) are integers, K at most
    ``MOST_INPUTS``, and ``tables`` (O, 2^K) zeros and ones. Inputs that a table does not depend on cost nothing.
    ``parity``: the memories of the folded implementation have parity bits. Raises BitfabricError for parameters of
    other shapes, wires to inputs that there are not, and other values in tables.
    """

    op: ClassVar[str] = "lookup_layer"

    wires: np.ndarray
    tables: np.ndarray
    channels: int
    prefix: tuple[int, ...] = ()
    parity: bool = False

    def __post_init__(self) -> None:
        self._check_prefix()
        wires, tables = np.asarray(self.wires), np.asarray(self.tables)
        if wires.ndim != 2 or not wires.size or wires.dtype.kind not in "iu" or wires.shape[1] > MOST_INPUTS:
            raise BitfabricError(
                f"{self.op}: wires of shape {wires.shape} and type {wires.dtype}; it needs integers, (outputs, inputs "
                f"of a table), and at most {MOST_INPUTS} inputs"
            )
        outputs, inputs = wires.shape
        if tables.shape != (outputs, 1 << inputs) or not ((tables == 0) | (tables == 1)).all():
            raise BitfabricError(
                f"{self.op}: tables of shape {tables.shape}; for these wires it needs zeros and ones of shape "
                f"{(outputs, 1 << inputs)}"
            )
        if wires.min() < 0 or wires.max() >= self.channels:
            raise BitfabricError(f"{self.op}: wires to inputs {wires.min()}..{wires.max()} of {self.channels}")
        object.__setattr__(self, "wires", wires.astype(np.int64))
        object.__setattr__(self, "tables", tables.astype(np.uint8))

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), DataType["BINARY"], self.channels),)

    def outputs(self) -> tuple[Stream, ...]:
        count = len(self.wires)
        return (Stream((*self.prefix, count), DataType["BINARY"], count),)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        x = frames[0].reshape(-1, self.channels)
        return (evaluate(x, self.wires, self.tables).reshape(-1, *self.outputs()[0].shape),)

    # Hardware.

    @cached_property
    def reduced(self) -> tuple[Table, ...]:
        """The tables with only the inputs that they depend on."""
        return reduced(self.wires, self.tables)

    @property
    def passes(self) -> np.ndarray:
        """Which outputs only pass an input on, bool (O,): registers, which count as no tables."""
        return np.array([len(each.wires) == 1 and each.contents == PASSED for each in self.reduced])

    @property
    def table_bits(self) -> int:
        """The bits of the tables."""
        return int((~self.passes).sum()) * self.tables.shape[1]

    @property
    def registers(self) -> int:
        return 1

    def stages(self, family: Family) -> Sequence[Stage]:
        return (verilog.stage(self.reduced, self.channels, self.about),)

    def logic(self, family: Family) -> Resources:
        tables = {each for each in self.reduced if each.wires}
        return Resources(sum(_luts(len(each.wires), family) for each in tables), len(tables))

    @property
    def about(self) -> str:
        sizes = np.bincount([len(each.wires) for each in self.reduced])
        counted = ", ".join(f"{n} of {size}" for size, n in enumerate(sizes) if n)
        return (
            f"Lookup layer: {len(self.wires)} tables of {self.channels} inputs, by the number that they use: {counted}"
        )


def _luts(inputs: int, family: Family) -> int:
    """Lookup tables of a table: slices join some by their own multiplexers, and lookup tables join the rest."""
    if inputs <= family.lut_inputs:
        return 1
    joined = (1 << inputs - family.wide_inputs) - 1 if inputs > family.wide_inputs else 0
    return (1 << inputs - family.lut_inputs) + round(joined * JOINED[family.wide_inputs > family.lut_inputs])
