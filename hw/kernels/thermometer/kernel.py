"""Thermometer: bits of numbers, by comparison with constant levels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.stream import Stream
from hw.kernels.shared.pipeline import PositionKernel, Stage
from hw.kernels.thermometer import verilog

MOST_BITS = 32
"""Maximum bits of an input."""


@dataclass(frozen=True, eq=False)
class Thermometer(PositionKernel):
    """Bit b of a position is x[features[b]] >= levels[b].

    Input ``(*prefix, channels)`` of ``input_dtype``, output ``(*prefix, B)`` of BINARY; ``features`` (B,) and
    ``levels`` (B,) are integers. Bits with the same feature and level share a comparator, and levels out of the input's
    range take none. Raises BitfabricError for parameters of other shapes, and features that the input does not have.
    """

    op: ClassVar[str] = "thermometer"

    features: np.ndarray
    levels: np.ndarray
    channels: int
    input_dtype: BaseDataType
    prefix: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._check_prefix()
        for name in ("features", "levels"):
            array = np.asarray(getattr(self, name))
            if array.ndim != 1 or not array.size or array.dtype.kind not in "iu":
                raise BitfabricError(
                    f"{self.op}: {name} of shape {array.shape} and type {array.dtype}; it needs an integer for each bit"
                )
            object.__setattr__(self, name, array.astype(np.int64))
        if len(self.features) != len(self.levels):
            raise BitfabricError(
                f"{self.op}: {len(self.features)} features and {len(self.levels)} levels; give one each"
            )
        if self.features.min() < 0 or self.features.max() >= self.channels:
            raise BitfabricError(
                f"{self.op}: features {self.features.min()}..{self.features.max()} of {self.channels} channels"
            )
        if not self.input_dtype.is_integer() or self.input_dtype.bitwidth() > MOST_BITS:
            raise BitfabricError(
                f"{self.op} compares integers of at most {MOST_BITS} bits, not {self.input_dtype.name}"
            )

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.input_dtype, self.channels),)

    def outputs(self) -> tuple[Stream, ...]:
        count = len(self.features)
        return (Stream((*self.prefix, count), DataType["BINARY"], count),)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        return ((x[..., self.features] >= self.levels).astype(np.uint8),)

    # Hardware.

    @cached_property
    def codes(self) -> np.ndarray:
        """The levels on the input in offset binary, (B,), from 0 (always reached) to 2^bits (never)."""
        bits = self.input_dtype.bitwidth()
        if self.input_dtype == DataType["BIPOLAR"]:  # x >= L of -1 and +1 as code >= ceil((L + 1) / 2) of 0 and 1
            return np.clip((self.levels + 2) // 2, 0, 2)
        return np.clip(self.levels + (self.input_dtype.signed() << bits - 1), 0, 1 << bits)

    @property
    def registers(self) -> int:
        return 1

    def stages(self, family: Family) -> Sequence[Stage]:
        return (verilog.stage(self.features, self.codes, self.channels, self.input_dtype, self.about),)

    def logic(self, family: Family) -> Resources:
        bits = self.input_dtype.bitwidth()
        once = np.unique(np.column_stack((self.features, self.codes)), axis=0)
        codes = once[(once[:, 1] > 0) & (once[:, 1] < 1 << bits), 1]
        compared = bits - np.bitwise_count((codes & -codes) - 1)  # the bits below the lowest one do not matter
        tables = np.ceil((compared - 1) / (family.lut_inputs - 1))
        return Resources(int(tables.sum()), len(codes))

    @property
    def about(self) -> str:
        kinds = len(np.unique(np.column_stack((self.features, self.codes)), axis=0))
        return (
            f"Thermometer: {len(self.features)} bits, {kinds} of them different, of {self.channels} channels of "
            f"{self.input_dtype.name}"
        )
