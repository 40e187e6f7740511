"""Constant network: products and thresholds with their constants in logic, one after the other, as one pipeline.

Between layers are registers alone. Apart, each layer would have an output buffer of a few beats as wide as the layer,
and the clock would wait for the enables of these; the pipeline has one buffer, at its end.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel
from hw.kernels.constant_matrix.adders import FAST_SHORT
from hw.kernels.constant_matrix.adders import bits as width
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_matrix.pipeline import Pipeline
from hw.kernels.constant_threshold.comparators import Comparators
from hw.kernels.constant_threshold.kernel import ConstantThreshold
from hw.kernels.shared.chain import ChainKernel, Layer
from hw.kernels.shared.pipeline import PipelineKernel, Stage, register

SLACK = 1
"""Stages that a large layer has beyond those that it needs, where one adder is between registers: in a network its
values have longer ways than in a layer alone."""


@dataclass(frozen=True, eq=False)
class ConstantNetwork(ChainKernel, PipelineKernel):  # type: ignore[override]
    """The ``layers`` one after the other: ``constant_matrix`` and ``constant_threshold`` in any order, with the same
    positions and as many of them in a beat.

    Raises BitfabricError for other layers, and for neighbours that do not fit.
    """

    op: ClassVar[str] = "constant_network"
    sources: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys((*ConstantMatrix.sources, *ConstantThreshold.sources)))

    layers: tuple[Layer, ...]

    @staticmethod
    def suits(before: Kernel | None, kernel: Kernel) -> bool:
        if not isinstance(kernel, ConstantMatrix | ConstantThreshold):
            return False
        if before is None:
            return True
        given, taken = before.outputs()[0], kernel.inputs()[0]
        same = given.elements == taken.elements and given.shape[-1] == taken.shape[-1]
        return same and (given.dtype, given.lanes) == (taken.dtype, taken.lanes)

    @property
    def parts(self) -> tuple[ConstantMatrix | ConstantThreshold, ...]:
        """The kernels of the layers."""
        return tuple(each for each in self.kernels if isinstance(each, ConstantMatrix | ConstantThreshold))

    @property
    def prefix(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.parts[0].prefix

    @property
    def pixels(self) -> int:  # type: ignore[override]
        return self.parts[0].pixels

    # Folding: that of the layers, which are folded before they are joined.

    @property
    def folding(self) -> Folding:
        outputs, inputs = self.outputs()[0].shape[-1], self.inputs()[0].shape[-1]
        return Folding(outputs, inputs, self.pixels, adders_per_stage=self.adders_per_stage)

    def foldings(self) -> tuple[Folding, ...]:
        return (self.folding,)

    def fold(self, folding: Folding) -> Self:
        if folding != self.folding:
            raise BitfabricError(f"{self.op} is made of folded layers: {self.folding}, not {folding}; fold its layers")
        return self

    @property
    def adders_per_stage(self) -> int:
        """The most adders in series between two registers."""
        return max((each.adders_per_stage for each in self.parts if isinstance(each, ConstantMatrix)), default=1)

    @property
    def variant(self) -> str:
        return f"{self.op} {self.adders_per_stage}"

    def timing_variants(self, used: Resources, family: Family) -> Sequence[tuple[str, float]]:
        """Layers with different numbers of adders between registers have a share of the tables each, by their own."""
        tables: dict[int, float] = defaultdict(float)
        for step in self.steps:
            if isinstance(step.logic, Pipeline):
                tables[step.logic.adders_per_stage] += max(1, step.cost(family).lut)
        total = sum(tables.values())
        return tuple((f"{self.op} {adders}", used.lut * lut / total) for adders, lut in sorted(tables.items()))

    # Hardware.

    @cached_property
    def steps(self) -> tuple["Step", ...]:
        """The layers as parts of the pipeline.

        The read of the buffer before the network counts as an adder: the first product has one fewer in its first
        stage. Sums before thresholds have neither signs nor offsets of their own, and no more bits than their ranges.
        """
        found: list[Step] = []
        for i, kernel in enumerate(self.parts):
            if isinstance(kernel, ConstantMatrix):
                raw = i + 1 < len(self.parts) and isinstance(self.parts[i + 1], ConstantThreshold)
                pipeline = kernel.pipeline(int(i == 0), raw, SLACK)
                found.append(Step(kernel, pipeline, pipeline.raw_bits if raw else kernel.result_bits))
            else:
                before = found[-1].logic if found else None
                raw = isinstance(before, Pipeline) and before.raw
                logic = decisions(kernel, before) if isinstance(before, Pipeline) and raw else kernel.comparators
                found.append(Step(kernel, logic, kernel.result_bits))
        return _as_read(found)

    @property
    def registers(self) -> int:
        return sum(part.registers for part in self.steps) + len(self.steps) - 1

    @property
    def buffered(self) -> int:
        return self.parts[-1].buffered

    @property
    def distinct(self) -> int:
        return self.parts[-1].distinct

    def stages(self, family: Family) -> Sequence[Stage]:
        """Those of the layers, with a register between two layers."""
        found: list[Stage] = []
        for part in self.steps:
            found += (register(found[-1].width),) if found else ()
            found.append(part.stage(family))
        return found

    def logic(self, family: Family) -> Resources:
        between = sum(part.result_bits for part in self.steps[:-1])
        return sum((part.cost(family) for part in self.steps), Resources(ff=self.pixels * between))

    @property
    def about(self) -> str:
        return f"Products and thresholds in logic: {', '.join(layer.name for layer in self.layers)}"


@dataclass(frozen=True, eq=False)
class Step:
    """A layer in the pipeline: the ``kernel`` with the ``logic`` that it has there, and the bits of its result that
    differ. ``read`` is the part of the logic whose results the layers behind read, which synthesis leaves; None where
    they read none."""

    kernel: ConstantMatrix | ConstantThreshold
    logic: Pipeline | Comparators
    result_bits: int
    read: Pipeline | Comparators | None = None

    @property
    def registers(self) -> int:
        return self.logic.stages - 1 if isinstance(self.logic, Pipeline) else self.logic.registers

    def stage(self, family: Family) -> Stage:
        if isinstance(self.logic, Comparators):
            return self.logic.stage(family, self.kernel.about)
        assert isinstance(self.kernel, ConstantMatrix)
        return self.kernel.stage(self.logic)

    def cost(self, family: Family) -> Resources:
        if self.read is None:
            return Resources()
        if isinstance(self.read, Comparators):
            each = self.read.logic(family)
            return Resources(self.kernel.pixels * each.lut, self.kernel.pixels * each.ff)
        assert isinstance(self.kernel, ConstantMatrix)
        assert isinstance(self.logic, Pipeline)
        chains = (each.plan.chain_luts(family, FAST_SHORT) for each in (self.logic, self.read))
        return self.kernel.cost(self.read, family) + Resources(self.kernel.pixels * (next(chains) - next(chains)))


def _as_read(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The ``steps`` with what is read of each, and the bits of that. Products do not read inputs whose weights are all
    0, nor comparators sums that decide nothing."""
    found: list[Step] = []
    channels = np.ones(steps[-1].kernel.outputs()[0].shape[-1], bool)  # that are read
    for i, step in reversed([*enumerate(steps)]):
        bits, last = step.result_bits, i + 1 == len(steps)
        read: Pipeline | Comparators
        if isinstance(step.logic, Pipeline):
            assert isinstance(step.kernel, ConstantMatrix)
            read = sums = step.logic.only(channels)
            bits = sums.raw_bits if sums.raw and not last else bits
            taken = (step.kernel.product.matrix[channels] != 0).any(axis=0)
        else:
            varying = step.logic.varying_bits
            taken = channels & (varying > 0)
            read = step.logic.only(taken) if taken.any() else step.logic
            bits = bits if last else int(varying[taken].sum())
        found.append(replace(step, read=read if channels.any() and taken.any() else None, result_bits=bits))
        channels = taken
    return tuple(reversed(found))


def decisions(kernel: ConstantThreshold, sums: Pipeline) -> Comparators:
    """The thresholds of a kernel on the raw ``sums`` before it.

    A channel is y = sign * v * 2^shift - offset of a sum v. With T' = T + offset it reaches a threshold T where
    v >= ceil(T' / 2^shift), and with the sign -1 where v does not reach floor(-T' / 2^shift) + 1.
    """
    channels, steps = kernel.thresholds.shape
    places, bits = np.zeros(channels, np.int64), np.ones(channels, np.int64)
    signed, falling = np.zeros(channels, bool), kernel.decreasing.copy()
    codes = np.empty((channels, steps), np.int64)
    for c, (term, offset) in enumerate(zip(sums.plan.outputs, sums.offsets, strict=True)):
        levels, low, high = kernel.thresholds[c] + offset, 0, 0  # without a term the row is zero
        if term is not None:
            low, high = sums.plan.range(term.source)
            places[c], bits[c], signed[c] = sums.places[term.source], max(1, width(low, high)), low < 0
            if term.sign < 0:
                levels, falling[c] = (-levels[::-1] >> term.shift) + 1, not falling[c]
            else:
                levels = -(-levels >> term.shift)
        zero = signed[c] << bits[c] - 1  # in offset binary
        codes[c] = np.where(levels <= low, 0, np.where(levels > high, 1 << bits[c], levels + zero))
    out = kernel.output_dtype.bitwidth()
    return Comparators(sums.raw_bits, places, bits, signed, codes, falling, out, kernel.offset)
