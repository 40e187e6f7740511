"""Lookup network: layers of tables, with the encoder before and popcount and arg-max behind, as one pipeline.

Between layers are registers alone. Apart, each layer would need an output buffer of a few beats as wide as the layer;
the pipeline has one buffer, at its narrow end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families import spec_of
from hw.ir.kernel import Folding, Kernel
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.lookup_network import maximum
from hw.kernels.lookup_network.chain import LookupChain
from hw.kernels.popcount_class.kernel import MOST_ADDERS, PopcountClass
from hw.kernels.shared.chain import Layer
from hw.kernels.shared.pipeline import PositionKernel, Stage

MARGIN = 0.85
"""Share of a clock's period that the adders between two registers may take in a small design."""


@dataclass(frozen=True, eq=False)
class LookupNetwork(LookupChain, PositionKernel):  # type: ignore[override]
    """The ``layers`` one after the other: an optional thermometer, lookup layers, an optional popcount by class, and an
    optional arg-max behind it; each with the same ``prefix``.

    ``parity``: the memories of the folded implementation have parity bits. Raises BitfabricError for layers in another
    order, and for neighbours that do not fit.
    """

    op: ClassVar[str] = "lookup_network"
    sources: ClassVar[tuple[str, ...]] = (*PopcountClass.sources, "bf_max_tree.sv")

    layers: tuple[Layer, ...]
    parity: bool = False

    # Folding: one, with the settings of the popcount.

    @property
    def _popcount(self) -> PopcountClass | None:
        return next((kernel for kernel in self.kernels if isinstance(kernel, PopcountClass)), None)

    @property
    def folding(self) -> Folding:
        found, count = super().folding, self._popcount
        if count is None:
            return found
        return replace(found, adders_per_stage=count.adders_per_stage, table_inputs=count.table_inputs)

    def fold(self, folding: Folding) -> Self:
        super().fold(folding)
        count = self._popcount
        if count is None:
            return self
        own = replace(count.folding, adders_per_stage=folding.adders_per_stage, table_inputs=folding.table_inputs)
        folded = count.fold(own)
        return replace(
            self,
            layers=tuple(replace(layer, kernel=folded) if layer.kernel is count else layer for layer in self.layers),
        )

    def tuned(self, family: Family, clock_mhz: float) -> Self:
        """Tables of the family's size, and as many adders in series as its measured periods allow at this clock."""
        tables = 6 if family.lut_inputs >= 6 else 4
        adders = _adders(family, clock_mhz)
        return self.fold(replace(self.folding, adders_per_stage=adders, table_inputs=tables))

    @property
    def variant(self) -> str:
        count = self._popcount
        return f"{self.op} {count.adders_per_stage if count else 1}"

    # Hardware.

    @property
    def registers(self) -> int:
        return sum(
            maximum.registers(each) if isinstance(each, ArgMax) else _own(each).registers for each in self.kernels
        )

    def stages(self, family: Family) -> Sequence[Stage]:
        return [
            stage
            for kernel in self.kernels
            for stage in ((maximum.stage(kernel),) if isinstance(kernel, ArgMax) else _own(kernel).stages(family))
        ]

    def logic(self, family: Family) -> Resources:
        parts = (
            maximum.logic(each, family) if isinstance(each, ArgMax) else _own(each).logic(family)
            for each in self.kernels
        )
        return sum(parts, Resources())

    @property
    def about(self) -> str:
        parts = [kernel.about for kernel in self.kernels if isinstance(kernel, PositionKernel)]
        return f"Lookup network. {'. '.join(parts)}"


def _own(kernel: Kernel) -> PositionKernel:
    assert isinstance(kernel, PositionKernel)
    return kernel


def _adders(family: Family, clock_mhz: float) -> int:
    """The largest number of adders in series whose measured period leaves a margin at a clock; 1 where none does, and
    2 where nothing is measured."""
    model = spec_of(family).fmax
    periods = model.calibration.kernels if model else {}
    known = {n: periods[name].ns for n in range(1, MOST_ADDERS + 1) if (name := f"lookup_network {n}") in periods}
    return max((n for n, ns in known.items() if ns <= MARGIN * 1000 / clock_mhz), default=1) if known else 2
