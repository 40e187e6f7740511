"""Product with a constant matrix, in logic: shifts and adders that the weights' digits need, and no memory.

An implementation of ``matrix_vector`` and of ``depthwise``. A weight costs one adder for each of its signed digits,
less what rows share; zeros cost nothing. All outputs of a position are computed at a time.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families import spec_of
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel
from hw.ir.stream import Stream
from hw.kernels.constant_matrix import verilog
from hw.kernels.constant_matrix.adders import FAST_SHORT, bits
from hw.kernels.constant_matrix.pipeline import Pipeline
from hw.kernels.constant_matrix.plan import Plan
from hw.kernels.constant_matrix.planner import TERNARY, plan
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.constant_product import ConstantProduct
from hw.kernels.shared.pipeline import PipelineKernel, Stage

MOST_DIGITS = 1 << 17
"""Maximum number of signed digits of a matrix. Larger ones need more logic than devices have, and are not planned."""
MOST_ADDERS = 4
"""Maximum number of adders in series between two registers."""
MARGIN = 0.85
"""Share of a clock's period that the adders between two registers may take in a small design."""
LEAST = {4: 0.6, 6: 0.27}
"""By the inputs of a table: tables for each digit of a matrix of +-1, and twice as many for each of another one, times
the root of the bits of an input, that a plan is not expected to undercut, as random matrices of up to 256 rows
and columns and trained ones have shown. The first FEW digits are not counted, as all of them may be
shared."""
FEW = 16
EXPECTED = 2 / 3
"""Adders of a plan for each digit of its matrix."""
SAVED = 0.02
"""Share of the bits of adders and registers that a plan may have more for each stage that it saves."""
ADDERS, TABLE_INPUTS = 2, 4
"""The settings where none are stated: adders in series between registers, and inputs of the tables of a plan."""


def digits(matrix: np.ndarray) -> int:
    """The number of non-zero digits of all weights in canonical signed digits."""
    size = np.abs(matrix)
    return int(np.bitwise_count(size ^ 3 * size).sum())


def _adders(family: Family, clock_mhz: float, tables: float) -> int:
    """The largest number of adders in series whose measured period leaves a margin at a clock, in a matrix of so many
    ``tables``; 1 where none does, and the default where nothing is measured."""
    model = spec_of(family).fmax
    periods = model.calibration.kernels if model else {}
    names = {n: f"constant_matrix {n}" for n in range(1, MOST_ADDERS + 1)}
    known = {n: periods[name].at(tables) for n, name in names.items() if name in periods}
    return max((n for n, ns in known.items() if ns <= MARGIN * 1000 / clock_mhz), default=1) if known else ADDERS


@dataclass(frozen=True, eq=False)
class ConstantMatrix(PipelineKernel):
    """The ``product``, with its weights in the logic.

    A beat holds all elements of ``pixels`` positions, each with adders of its own. There are registers after every
    ``adders_per_stage`` adders in series; the adders are planned for tables of ``table_inputs`` inputs, 4 or 6: those
    of 6 inputs add three numbers at a time. ``product`` may have any folding.

    Raises BitfabricError for settings out of range, a matrix of too many digits, and illegal ``pixels``.
    """

    op: ClassVar[str] = "constant_matrix"
    sources: ClassVar[tuple[str, ...]] = ("bf_short_adder.sv", "bf_ternary_adder.sv", *PipelineKernel.sources)

    bounded: ClassVar[bool] = True

    product: ConstantProduct
    pixels: int = 1
    adders_per_stage: int = ADDERS
    table_inputs: int = TABLE_INPUTS

    def __post_init__(self) -> None:
        if (count := digits(self.product.weights)) > MOST_DIGITS:
            raise BitfabricError(
                f"{self.op}: the weights have {count} digits that are not 0, and logic holds at most {MOST_DIGITS}; "
                f"use {self.product.op}, or prune the layer"
            )
        self._check_settings()
        for name in ("_plans", "_counts"):  # of all copies
            object.__setattr__(self, name, vars(self.product).setdefault(name, {}))

    def _check_settings(self) -> None:
        if not 1 <= self.adders_per_stage <= MOST_ADDERS:
            raise BitfabricError(
                f"{self.op}: adders_per_stage={self.adders_per_stage}; it must be from 1 to {MOST_ADDERS}"
            )
        if self.table_inputs not in (4, 6):
            raise BitfabricError(f"{self.op}: table_inputs={self.table_inputs}; it must be 4 or 6")
        pixel.check(self.op, self.pixels, self._pixel_counts())

    def _pixel_counts(self) -> tuple[int, ...]:
        return pixel.counts((*self.product.prefix, 1))

    @property
    def _plain(self) -> ConstantProduct:
        """The product with the streams of this kernel."""
        return self.product.at(self.pixels)

    @property
    def prefix(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.product.prefix

    def inputs(self) -> tuple[Stream, ...]:
        return self._plain.inputs()

    def outputs(self) -> tuple[Stream, ...]:
        return self._plain.outputs()

    @classmethod
    def of(cls, product: ConstantProduct) -> Self | None:
        """A product in logic; None for a matrix of too many digits."""
        return cls(product.dense()) if digits(product.weights) <= MOST_DIGITS else None

    def implementations(self) -> tuple[Kernel, ...]:
        return tuple(self if each.op == self.op else each for each in self.product.implementations())

    def plain(self) -> Kernel:
        return self._plain

    # Folding.

    def _folding(self, pixels: int) -> Folding:
        outputs, inputs = self.product.matrix_shape
        return Folding(outputs, inputs, pixels, adders_per_stage=self.adders_per_stage, table_inputs=self.table_inputs)

    @property
    def folding(self) -> Folding:
        return self._folding(self.pixels)

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(map(self._folding, (1, *self._pixel_counts())))

    def fold(self, folding: Folding) -> Self:
        outputs, inputs = self.product.matrix_shape
        if (folding.pe, folding.simd) != (outputs, inputs):
            raise BitfabricError(
                f"{self.op} computes whole products: PE={outputs} and SIMD={inputs}, not PE={folding.pe} and "
                f"SIMD={folding.simd}"
            )
        folded = copy(self)
        settings = {
            "pixels": folding.pixels,
            "adders_per_stage": folding.adders_per_stage or ADDERS,
            "table_inputs": folding.table_inputs or TABLE_INPUTS,
        }
        for name, value in settings.items():
            object.__setattr__(folded, name, value)
        vars(folded).pop("_pipeline", None)
        folded._check_settings()
        return folded

    def tuned(self, family: Family, clock_mhz: float) -> Self:
        """Tables of the family's size, and as many adders in series as its measured periods allow at this clock."""
        tables = 6 if family.lut_inputs >= 6 else 4
        adders = _adders(family, clock_mhz, self.pixels * self._expected_tables)
        return self.fold(replace(self.folding, adders_per_stage=adders, table_inputs=tables))

    @property
    def _expected_tables(self) -> float:
        """Lookup tables of the adders of a position, about, without a plan: two adders for three digits, of the bits of
        an input and half of the levels."""
        return EXPECTED * digits(self.product.weights) * (self.product.input_dtype.bitwidth() + self._least_depth / 2)

    def with_parity(self) -> Self:
        made = copy(self)  # There is no memory to protect; the product keeps the wish.
        object.__setattr__(made, "product", self.product.with_parity())
        return made

    @property
    def variant(self) -> str:
        # Popcounts have short adders: with as many as there may be between registers, they are much faster than others.
        popcount = self.adders_per_stage == MOST_ADDERS and self.product.input_dtype.bitwidth() == 1
        return f"{self.op} {self.adders_per_stage}{' of bits' if popcount else ''}"

    # Arithmetic.

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        return self.product.execute(*frames)

    @property
    def _bipolar(self) -> bool:
        return self.product.input_dtype.name == "BIPOLAR"

    @property
    def plan(self) -> Plan:
        """The shifts and adders of the matrix. There is a plan of any depth and one of the least; it is the latter
        where that has fewer stages and is not larger, adders and registers together (``SAVED``).

        One-bit inputs of -1 and +1 are planned as bits: W (2 b - 1) = 2 W b - ``offsets``.
        """
        deep, least = self._planned(0), self._least_depth
        if (saved := deep.stages(self.adders_per_stage) - -(-least // self.adders_per_stage)) <= 0:
            return deep
        shallow = self._planned(least)
        worth = shallow.size(self.adders_per_stage) <= (1 + SAVED * saved) * deep.size(self.adders_per_stage)
        return shallow if worth else deep

    def _planned(self, depth: int) -> Plan:
        """The plan of at most ``depth`` adders in series, as far as possible; 0: of any depth."""
        plans: dict[tuple[int, int], Plan] = vars(self)["_plans"]
        if (key := (self.table_inputs, depth)) not in plans:
            matrix, stated = self.product.matrix, self.product.input_range
            dtype = self.product.input_dtype
            low, high = stated or (int(dtype.min()), int(dtype.max()))
            made = plan(2 * matrix, (0, 1), self.table_inputs, depth) if self._bipolar else None
            plans[key] = made or plan(matrix, (low, high), self.table_inputs, depth)
        return plans[key]

    @property
    def _least_depth(self) -> int:
        """The least number of adders in series that can add the digits of each row."""
        size = np.abs(self.product.weights)
        terms, depth = int(np.bitwise_count(size ^ 3 * size).sum(axis=1).max()), 0
        while (3 if self.table_inputs == TERNARY else 2) ** depth < terms:
            depth += 1
        return depth

    @property
    def offsets(self) -> tuple[int, ...]:
        """What is subtracted from each output of the plan."""
        if not self._bipolar:
            return (0,) * self.product.matrix_shape[0]
        return tuple(self.product.weights.sum(axis=1).tolist())

    # Hardware.

    @cached_property
    def _pipeline(self) -> Pipeline:
        return self.pipeline()

    def pipeline(self, lead: int = 0, raw: bool = False, slack: int = 0) -> Pipeline:
        """The adders with their registers; for ``lead``, ``raw`` and ``slack`` see ``Pipeline``."""
        return Pipeline(self.plan, self.offsets, self.adders_per_stage, lead, raw, slack)

    @property
    def registers(self) -> int:
        return self._pipeline.stages - 1

    def stages(self, family: Family) -> Sequence[Stage]:
        return (self.stage(self._pipeline),)

    def stage(self, pipeline: Pipeline) -> Stage:
        """The module of one of ``pipeline``."""
        data, sums = self.product.input_dtype, self.outputs()[0].dtype
        return verilog.stage(pipeline, sums, data, self.table_inputs == TABLE_INPUTS, self.about)

    def logic(self, family: Family) -> Resources:
        return self.cost(self._pipeline, family)

    def cost(self, pipeline: Pipeline, family: Family) -> Resources:
        """Cost of one of ``pipeline`` for all positions of a beat."""
        lut, ff = pipeline.plan.luts(family, FAST_SHORT), pipeline.register_bits
        lut += -pipeline.plan.negation_luts(family) if pipeline.raw else self._offset_luts(family)
        return Resources(self.pixels * lut, self.pixels * ff)

    @property
    def buffered(self) -> int:
        return max(1, self.outputs()[0].width - self.pixels * self.constant_bits)

    @property
    def distinct(self) -> int:
        return max(1, self.pixels * self.result_bits)

    @property
    def constant_bits(self) -> int:
        """Bits of a position's result that never change: rows of zeros, and the lowest ones of rows of even weights."""
        known: dict[str, int] = vars(self)["_counts"]
        if "constant" not in known:
            union, width = (
                np.bitwise_or.reduce(np.abs(self.product.weights), axis=1),
                self.outputs()[0].dtype.bitwidth(),
            )
            low = np.zeros_like(union) if self._bipolar else np.bitwise_count((union & -union) - 1)
            known["constant"] = int(np.where(union == 0, width, low).sum())
        return known["constant"]

    @property
    def result_bits(self) -> int:
        """Bits of a position's result that differ: equal rows are one, and bits above a row's range repeat its sign."""
        found = {}
        for row, (term, offset) in enumerate(zip(self.plan.outputs, self.offsets, strict=True)):
            if term is not None:
                low, high = self.plan.output_range(row)
                found[term, offset] = bits(low - offset, high - offset) - (0 if offset else term.shift)
        return sum(found.values())

    def _offset_luts(self, family: Family) -> int:
        width = self.outputs()[0].dtype.bitwidth()
        return sum(cell_costs.add(width, family) for offset in self.offsets if offset)

    def least_resources(self, family: Family) -> Resources:
        """Fewer than planned matrices of random weights have taken: those of large matrices share most."""
        low, high = self.product.input_range or (0, 1)
        each = (low < high) * LEAST[self.table_inputs] * (1 if (np.abs(self.product.weights) == 1).all() else 2)
        share = each * max(0, self._least_digits - FEW) * self.product.input_dtype.bitwidth() ** 0.5
        buffered = self.buffered if family.lut_ram else 1  # fewer may differ, which only a plan tells
        return cell_costs.stream_out(buffered, 2, family) + Resources(int(self.pixels * share))

    @property
    def _least_digits(self) -> int:
        """The digits of the weights, equal rows and equal columns counted once."""
        known: dict[str, int] = vars(self)["_counts"]
        if "digits" not in known:
            weights = self.product.weights
            once = np.unique(weights, axis=0)
            known["digits"] = digits(np.unique(once, axis=1) if weights.shape == self.product.matrix_shape else once)
        return known["digits"]

    @property
    def about(self) -> str:
        weights, (outputs, inputs) = self.product.weights, self.product.matrix_shape
        return (
            f"Product with a constant matrix, {outputs} outputs by {inputs} inputs of {self.product.input_dtype.name}: "
            f"{np.count_nonzero(weights)} of {weights.size} weights are not 0, {digits(weights)} signed digits"
        )
