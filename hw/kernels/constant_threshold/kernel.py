"""Threshold with its thresholds in the logic: an implementation of ``threshold`` for whole positions.

A comparison with a constant needs no memory and, in lookup tables of six inputs, little more than one table for every
five bits. All thresholds of a channel are found in one or two cycles; ``threshold`` needs up to three cycles a bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel, Role
from hw.kernels.constant_threshold.comparators import Comparators
from hw.kernels.shared import cell_costs
from hw.kernels.shared.pipeline import PipelineKernel, Stage
from hw.kernels.threshold.kernel import Threshold

MOST_STEPS = 15
"""Maximum number of thresholds of a channel: with more, they cost less in memories."""
MOST_INPUT = 31
"""Maximum bits of the input."""


@dataclass(frozen=True, eq=False)
class ConstantThreshold(PipelineKernel, Threshold):
    """The function and the parameters of ``Threshold``, with all channels of ``pixels`` positions in a beat.

    Raises BitfabricError as ``Threshold``, and for more than ``MOST_STEPS`` thresholds of a channel, more than
    ``MOST_INPUT`` bits of the input, and a ``pe`` other than the number of channels.
    """

    op: ClassVar[str] = "constant_threshold"
    role: ClassVar[Role] = Threshold.role
    sources: ClassVar[tuple[str, ...]] = (
        *PipelineKernel.sources,
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

    @cached_property
    def comparators(self) -> Comparators:
        """The logic of a position, for numbers of the input's type."""
        taken, given = self.input_dtype, self.output_dtype
        bits, channels = taken.bitwidth(), self.channels
        signed = taken.signed() and taken != DataType["BIPOLAR"]
        places = bits * np.arange(channels)
        return Comparators(
            bits * channels, places, np.full(channels, bits), np.full(channels, signed), self._codes, self.decreasing,
            given.bitwidth(), self.offset,
        )  # fmt: skip

    @property
    def registers(self) -> int:
        return self.comparators.registers

    @property
    def result_bits(self) -> int:
        """Bits of a position's result."""
        return self.channels * self.output_dtype.bitwidth()

    @cached_property
    def _codes(self) -> np.ndarray:
        """The thresholds on the input in offset binary, (C, STEPS), from 0 (always reached) to 2^bits (never)."""
        if self.input_dtype == DataType["BIPOLAR"]:  # x >= T of -1 and +1 as code >= ceil((T + 1) / 2) of 0 and 1
            return (self.thresholds + 2) // 2
        return self.thresholds + (self.input_dtype.signed() << (self.input_dtype.bitwidth() - 1))

    @property
    def offset(self) -> int:
        """What the hardware adds to the number of thresholds."""
        return 0 if self._unit != 1 else self._least

    def resources(self, family: Family) -> Resources:
        out = cell_costs.stream_out(self.outputs()[0].width, self.registers + 2, family)
        return self.logic(family) + out + Resources(ff=self.registers)

    def logic(self, family: Family) -> Resources:
        each = self.comparators.logic(family)
        return Resources(self.pixels * each.lut, self.pixels * each.ff)

    def stages(self, family: Family) -> Sequence[Stage]:
        return (self.comparators.stage(family, self.about),)

    @property
    def about(self) -> str:
        return (
            f"Multi-threshold with its thresholds in the logic: {self.steps} for each of {self.channels} channels of "
            f"{self.input_dtype.name}, {self.output_dtype.name} given"
        )
