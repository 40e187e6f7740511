"""Arg-max: the index of the maximum value (FINN: LabelSelect with k = 1)."""

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel, Role, Rtl, Schedule
from hw.ir.stream import Stream, container, smallest_dtype
from hw.kernels.shared import cell_costs


@dataclass(frozen=True, eq=False)
class ArgMax(Kernel):
    """The index of the maximum of each vector; the lowest index where several elements are the maximum.

    Input ``(*prefix, classes)`` of ``input_dtype`` with ``pe`` values per beat, output ``(*prefix, 1)``. Raises
    BitfabricError if ``pe`` does not divide the classes, or the input type is not an integer type.
    """

    op: ClassVar[str] = "arg_max"
    role: ClassVar[Role] = "quantize"
    sources: ClassVar[tuple[str, ...]] = ("bf_max_tree.sv", "bf_stream_out.sv")

    classes: int
    input_dtype: BaseDataType
    prefix: tuple[int, ...] = ()
    pe: int = 1

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise BitfabricError(f"arg_max of {self.classes} classes; it needs one or more")
        if not self.input_dtype.is_integer():
            raise BitfabricError(f"arg_max compares integers, not {self.input_dtype.name}")
        if self.pe < 1 or self.classes % self.pe:
            legal = ", ".join(str(f.pe) for f in self.foldings())
            raise BitfabricError(f"arg_max: PE {self.pe} does not divide {self.classes} classes; use one of {legal}")

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.classes), self.input_dtype, self.pe),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, 1), smallest_dtype(0, self.classes - 1)),)

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(Folding(pe) for pe in range(1, self.classes + 1) if self.classes % pe == 0)

    def fold(self, folding: Folding) -> Self:
        if folding.simd != 1:
            raise BitfabricError(f"arg_max has no SIMD, {folding.simd} was asked for; give only PE")
        return replace(self, pe=folding.pe)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        return (np.argmax(x, axis=-1, keepdims=True).astype(container(self.outputs()[0].dtype)),)

    @property
    def _levels(self) -> int:
        return (self.pe - 1).bit_length()

    def schedule(self) -> Schedule:
        beats = self.classes // self.pe
        every, last = np.ones(beats, bool), np.arange(beats) == beats - 1
        return Schedule((every,), (last,), self._latency, self._credits, prod(self.prefix))

    @property
    def _latency(self) -> int:
        return 2 + self._levels

    @property
    def _credits(self) -> int:
        return -(-(self._latency + 1) * self.pe // self.classes)

    def resources(self, family: Family) -> Resources:
        bits, index = self.input_dtype.bitwidth(), self.outputs()[0].dtype.bitwidth()
        beats, levels, compare = self.classes // self.pe, self._levels, cell_costs.compare(bits, family)
        nodes = [-(-self.pe // (1 << level)) for level in range(levels + 1)]
        lut = (self.pe - 1) * (compare + bits) + sum(n * level for level, n in enumerate(nodes))
        ff = sum(n * (bits + level) for level, n in enumerate(nodes)) + 3 * (levels + 1)
        if beats > 1:
            lut += compare + (3 if family.lut_inputs >= 6 else 4) * index + (index if self.pe > 1 else 0)
            ff += bits + (levels + 3) * index
        return Resources(lut, ff) + cell_costs.stream_out(index, self._credits, family)

    def rtl(self, family: Family) -> Rtl:
        return Rtl(
            f"bf_{self.op}",
            {
                "CLASSES": self.classes,
                "PE": self.pe,
                "IN_BITS": self.input_dtype.bitwidth(),
                "SIGNED": int(self.input_dtype.signed() and self.input_dtype.name != "BIPOLAR"),
                "OUT_BITS": self.outputs()[0].dtype.bitwidth(),
                "CREDITS": self._credits,
            },
        )
