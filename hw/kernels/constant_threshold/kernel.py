"""Threshold with its thresholds in the logic: an implementation of ``threshold`` for whole positions.

A comparison with a constant needs no memory and, in lookup tables of six inputs, little more than one table for every
five bits. All thresholds of a channel are found in one or two cycles; ``threshold`` needs up to three cycles a bit.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from math import prod
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel, Rtl, Schedule
from hw.kernels.shared import cell_costs
from hw.kernels.threshold.kernel import Threshold

MOST_STEPS = 15
"""Maximum number of thresholds of a channel: with more, they cost less in memories."""
MOST_INPUT = 31
"""Maximum bits of the input."""
ONE_CYCLE = 12, 7
"""Bits of the input, and thresholds of a channel, up to which all logic lies in one cycle."""
ENCODED, DEPTH = 0.7, 1.2
"""Lookup tables that one more comparison side by side adds to the number, and tables for every bit of a digit's number:
synthesis takes some more where it saves a level."""


@dataclass(frozen=True, eq=False)
class ConstantThreshold(Threshold):
    """The function and the parameters of ``Threshold``, with all channels of ``pixels`` positions in a beat.

    Raises BitfabricError as ``Threshold``, and for more than ``MOST_STEPS`` thresholds of a channel, more than
    ``MOST_INPUT`` bits of the input, and a ``pe`` other than the number of channels.
    """

    op: ClassVar[str] = "constant_threshold"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_stream_out.sv",
        "bf_threshold_comparisons.sv",
        "bf_threshold_digits.sv",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.suits(self):
            raise BitfabricError(
                f"{self.op}: {self.steps} thresholds on {self.input_dtype.name}; at most {MOST_STEPS} on {MOST_INPUT} "
                "bits, use threshold for more"
            )
        if self.pe != self.channels:
            raise BitfabricError(f"{self.op} has all channels in a beat: PE={self.channels}, not {self.pe}")

    @classmethod
    def suits(cls, kernel: Threshold) -> bool:
        """Whether this is an implementation of ``kernel``."""
        return kernel.steps <= MOST_STEPS and kernel.input_dtype.bitwidth() <= MOST_INPUT

    @classmethod
    def of(cls, kernel: Threshold) -> Self | None:
        """The same function with all channels of a position in a beat; None for more thresholds or bits."""
        if not cls.suits(kernel):
            return None
        given = {field.name: getattr(kernel, field.name) for field in fields(kernel)}
        return cls(**given | {"pe": kernel.channels, "pixels": kernel.pixels if kernel.pe == kernel.channels else 1})

    def implementations(self) -> tuple[Kernel, ...]:
        return self.plain(), self

    def plain(self) -> Kernel:
        return Threshold(**{field.name: getattr(self, field.name) for field in fields(self)})

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(Folding(self.channels, pixels=n) for n in (1, *self._pixel_counts()))

    def has_parity(self, family: Family) -> bool:
        return False  # there is no memory to protect

    # ---- hardware

    @property
    def _latency(self) -> int:
        """Cycles from a beat to its output. The same for every family, because cycle counts must not depend on it."""
        bits, steps = ONE_CYCLE
        return 1 if self.input_dtype.bitwidth() <= bits and self.steps <= steps else 2

    def schedule(self) -> Schedule:
        every, beats = np.ones(1, bool), prod(self.prefix) // self.pixels
        return Schedule((every,), (every,), self._latency, credits=self._latency + 1, repeats=beats)

    @cached_property
    def _codes(self) -> np.ndarray:
        """The thresholds on the input in offset binary, (C, STEPS), from 0 (always reached) to 2^bits (never)."""
        if self.input_dtype == DataType["BIPOLAR"]:  # x >= T of -1 and +1 as code >= ceil((T + 1) / 2) of 0 and 1
            return (self.thresholds + 2) // 2
        return self.thresholds + (self.input_dtype.signed() << (self.input_dtype.bitwidth() - 1))

    @property
    def _offset(self) -> int:
        """What the hardware adds to the number of thresholds."""
        return 0 if self._unit != 1 else self._least

    def _digits(self, family: Family) -> tuple[int, ...] | None:
        """Bits of the digits, the lowest first; None where comparisons side by side need fewer lookup tables."""
        inputs, bits = family.lut_inputs, self.input_dtype.bitwidth()
        if inputs < 6:
            return None
        lowest, each = min(inputs, bits), inputs - self.code_bits
        rest = bits - lowest
        return (lowest, *(min(each, rest - i) for i in range(0, rest, each)))

    def resources(self, family: Family) -> Resources:
        rows, counts = np.unique(np.column_stack((self._codes, self.decreasing)), axis=0, return_counts=True)
        codes, falls, digits = rows[:, :-1], rows[:, -1], self._digits(family)
        if digits is None:
            moved = (falls > 0) | (self._offset % (1 << self.code_bits) > 0)
            tables, registers = self._comparisons(codes) + moved * (self.code_bits - 1), self.steps
        else:
            tables = self._tables(codes, digits)
            registers = self.code_bits + sum(digits[(len(digits) + 1) // 2 :])
        lut, ff = self.pixels * float(counts @ tables), 0
        if self._latency > 1:
            ff = 1 + self.pixels * self.channels * registers
        width, credits = self.outputs()[0].width, self._latency + 1
        return cell_costs.stream_out(width, credits, family) + Resources(round(lut), ff)

    def _comparisons(self, codes: np.ndarray) -> np.ndarray:
        """Lookup tables of four inputs for comparisons side by side, and for the number that they make, by channel."""
        bits = self.input_dtype.bitwidth()
        varying = (codes > 0) & (codes < 1 << bits)
        varying[:, 1:] &= codes[:, 1:] != codes[:, :-1]
        low = np.where(varying, codes, 1)
        compared = bits - np.bitwise_count((low & -low) - 1)  # the bits below the lowest one do not matter
        encoded = ENCODED * np.maximum(0, varying.sum(axis=1) - 2)
        return encoded + np.sum(varying * np.ceil((compared - 1) / 3), axis=1)

    def _tables(self, codes: np.ndarray, digits: tuple[int, ...]) -> np.ndarray:
        """Lookup tables of the search from digit to digit, by channel: a bit of a number that varies takes one."""
        found, low = np.zeros(len(codes)), 0
        for digit in digits:
            low += digit
            top = low == sum(digits)
            parts = codes if top else codes % (1 << low)
            reached = parts[:, None, :] <= np.arange(1 << digit)[:, None] << low - digit
            numbers = reached.sum(axis=2)  # (channels, digits), for the digits below all 0
            most = (parts < 1 << low).sum(axis=1)
            numbers = np.column_stack((numbers, most))
            varying = np.bitwise_or.reduce(numbers ^ numbers[:, :1], axis=1)
            found += np.bitwise_count(varying)
        return DEPTH * found

    def rtl(self, family: Family) -> Rtl:
        rows = self.decreasing.astype(np.int64)
        words = np.pad(rows, (0, -len(rows) % 32)).reshape(-1, 32) << np.arange(32)
        parameters = {
            "IN_BITS": self.input_dtype.bitwidth(),
            "SIGNED": int(self.input_dtype.signed() and self.input_dtype != DataType["BIPOLAR"]),
            "OUT_BITS": self.output_dtype.bitwidth(),
            "OUT_MIN": self._offset,
            "STEPS": self.steps,
            "CHANNELS": self.channels,
            "PIXELS": self.pixels,
            "TABLE_INPUTS": 0 if self._digits(family) is None else family.lut_inputs,
            "LATENCY": self._latency,
            "THRESHOLDS": tuple(self._codes.ravel().tolist()),
            "FALLING": tuple(words.sum(axis=1).tolist()),
        }
        return Rtl(f"bf_{self.op}", parameters)
