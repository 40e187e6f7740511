"""Popcount by class: the number of ones among the bits of each class."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.ir.stream import Stream, container, smallest_dtype
from hw.kernels.popcount_class import verilog
from hw.kernels.popcount_class.plan import plan
from hw.kernels.shared.pipeline import PositionKernel, Stage

MOST_ADDERS = 3
"""Maximum number of adders in series between two registers."""
FRAMES = 1 << 10
"""Positions that are counted at a time."""


@dataclass(frozen=True, eq=False)
class PopcountClass(PositionKernel):
    """Number c of a position is offsets[c] + the sum of x[wires[i]] over all i with groups[i] = c.

    Input ``(*prefix, channels)`` of BINARY, output ``(*prefix, classes)`` of the narrowest type that holds all sums.
    ``wires`` (n,) and ``groups`` (n,) are integers; an input may be counted by several classes, and repeatedly, or by
    none. ``offsets`` is (classes,). There are registers after every ``adders_per_stage`` adders in series, and the sums
    are planned for lookup tables of ``table_inputs`` inputs, 4 or 6. ``parity``: the memories of the folded
    implementation have parity bits. Raises BitfabricError for parameters of other shapes and out of range.
    """

    op: ClassVar[str] = "popcount_class"
    sources: ClassVar[tuple[str, ...]] = (*PositionKernel.sources, "bf_count_adder.sv")

    wires: np.ndarray
    groups: np.ndarray
    offsets: np.ndarray
    channels: int
    prefix: tuple[int, ...] = ()
    adders_per_stage: int = 2
    table_inputs: int = 4
    parity: bool = False

    def __post_init__(self) -> None:
        self._check_prefix()
        for name in ("wires", "groups", "offsets"):
            array = np.asarray(getattr(self, name))
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise BitfabricError(
                    f"{self.op}: {name} of shape {array.shape} and type {array.dtype}; it needs a row of integers"
                )
            object.__setattr__(self, name, array.astype(np.int64))
        if len(self.wires) != len(self.groups) or not len(self.offsets):
            raise BitfabricError(
                f"{self.op}: {len(self.wires)} wires, {len(self.groups)} groups and {len(self.offsets)} offsets; it "
                "needs a group for each wire, and an offset for each class"
            )
        for name, array, end in (("wires", self.wires, self.channels), ("groups", self.groups, len(self.offsets))):
            if len(array) and (array.min() < 0 or array.max() >= end):
                raise BitfabricError(
                    f"{self.op}: {name} {array.min()}..{array.max()}; they must be from 0 to {end - 1}"
                )
        if not 1 <= self.adders_per_stage <= MOST_ADDERS:
            raise BitfabricError(
                f"{self.op}: adders_per_stage={self.adders_per_stage}; it must be from 1 to {MOST_ADDERS}"
            )
        if self.table_inputs not in (4, 6):
            raise BitfabricError(f"{self.op}: table_inputs={self.table_inputs}; it must be 4 or 6")

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Bits of each class."""
        return tuple(np.bincount(self.groups, minlength=len(self.offsets)).tolist())

    @property
    def output_dtype(self) -> BaseDataType:
        """The type of the sums."""
        return smallest_dtype(int(self.offsets.min()), int((self.offsets + self.counts).max()))

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), DataType["BINARY"], self.channels),)

    def outputs(self) -> tuple[Stream, ...]:
        classes = len(self.offsets)
        return (Stream((*self.prefix, classes), self.output_dtype, classes),)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        x, classes = frames[0].reshape(-1, self.channels), len(self.offsets)
        counted = np.zeros((self.channels, classes), np.float32)  # exact: sums are far below 2^24
        np.add.at(counted, (self.wires, self.groups), 1)
        sums = np.empty((len(x), classes), np.int64)
        for first in range(0, len(x), FRAMES):
            part = slice(first, first + FRAMES)
            sums[part] = x[part].astype(np.float32) @ counted
        return ((sums + self.offsets).astype(container(self.output_dtype)).reshape(-1, *self.outputs()[0].shape),)

    # Folding: one, with settings.

    @property
    def folding(self) -> Folding:
        return replace(super().folding, adders_per_stage=self.adders_per_stage, table_inputs=self.table_inputs)

    def fold(self, folding: Folding) -> Self:
        super().fold(folding)
        adders, tables = folding.adders_per_stage or 2, folding.table_inputs or 4
        return replace(self, adders_per_stage=adders, table_inputs=tables)

    # Hardware.

    @property
    def registers(self) -> int:
        levels = max(plan(count, self.table_inputs).level for count in self.counts)
        return max(1, -(-levels // self.adders_per_stage)) + bool(self.offsets.any())

    def stages(self, family: Family) -> Sequence[Stage]:
        return (verilog.stage(self),)

    def logic(self, family: Family) -> Resources:
        adjusted, bits, classes = bool(self.offsets.any()), self.output_dtype.bitwidth(), len(self.offsets)
        settings = self.table_inputs, self.adders_per_stage, self.registers - adjusted
        counts = [count for count in self.counts if count]
        lut = sum(plan(count, self.table_inputs).luts(family) for count in counts)
        ff = sum(verilog.flip_flops(count, *settings) for count in counts)
        return Resources(lut + bits * int(np.count_nonzero(self.offsets)), ff + adjusted * bits * classes)

    @property
    def about(self) -> str:
        return f"Popcount of {len(self.wires)} bits in {len(self.offsets)} classes"
