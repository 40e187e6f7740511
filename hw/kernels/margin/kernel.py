"""Margin: whether the largest value of a vector exceeds the second largest by a threshold."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel, Role, Rtl, Schedule
from hw.ir.stream import Stream
from hw.kernels.shared import cell_costs


@dataclass(frozen=True, eq=False)
class Margin(Kernel):
    """The verdict of an early exit: 1 if the margin of the logits is at least ``threshold``, and 0 otherwise.

    The margin is the difference of the largest and the second largest of ``classes`` integers of ``input_dtype``, 0
    where two are the largest. Input ``(classes,)``, one value per beat; output ``(1,)`` of type UINT1, 1 for a frame
    that leaves. The confidence of Teerapittayanon, McDanel, Kung, "BranchyNet", ICPR 2016, is the entropy of the
    soft-max; the margin needs no exponentials, and is exact.

    Raises BitfabricError for fewer than two classes, for types that are no signed or unsigned integers, and for a
    threshold that every margin reaches, or none.
    """

    op: ClassVar[str] = "margin"
    role: ClassVar[Role] = "quantize"
    sources: ClassVar[tuple[str, ...]] = ("bf_stream_out.sv",)

    classes: int
    input_dtype: BaseDataType
    threshold: int

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise BitfabricError(f"a margin of {self.classes} classes; it needs two or more")
        if not self.input_dtype.is_integer() or self.input_dtype.name == "BIPOLAR":
            raise BitfabricError(f"a margin compares integers, not {self.input_dtype.name}")
        if not 1 <= self.threshold <= self.most:
            raise BitfabricError(
                f"a margin of {self.threshold} is reached by all or by no {self.input_dtype.name}; "
                f"take one of 1 to {self.most}"
            )

    @property
    def most(self) -> int:
        """The largest margin."""
        return int(self.input_dtype.max()) - int(self.input_dtype.min())

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((self.classes,), self.input_dtype, 1),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((1,), DataType["UINT1"], 1),)

    def foldings(self) -> tuple[Folding, ...]:
        return (Folding(),)

    def fold(self, folding: Folding) -> Self:
        if folding != Folding():
            raise BitfabricError("a margin reads one value a cycle and has no folding")
        return self

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        ordered = np.sort(x.astype(np.int64), axis=-1)
        return ((ordered[:, -1:] - ordered[:, -2:-1] >= self.threshold).astype(np.uint8),)

    def schedule(self) -> Schedule:
        every, last = np.ones(self.classes, bool), np.arange(self.classes) == self.classes - 1
        return Schedule((every,), (last,), latency=4, credits=self._credits)

    @property
    def _credits(self) -> int:
        return -(-5 // self.classes)

    def resources(self, family: Family) -> Resources:
        bits = self.input_dtype.bitwidth()
        lut = 2 * cell_costs.compare(bits, family) + bits + cell_costs.add(bits, family) + -(-bits // 2)
        control = cell_costs.counter(self.classes, family) + Resources(8, 5)
        return Resources(lut, 4 * bits) + control + cell_costs.stream_out(1, self._credits, family)

    def rtl(self, family: Family) -> Rtl:
        return Rtl(
            f"bf_{self.op}",
            {
                "CLASSES": self.classes,
                "IN_BITS": self.input_dtype.bitwidth(),
                "SIGNED": int(self.input_dtype.signed()),
                "THRESHOLD": self.threshold,
                "CREDITS": self._credits,
            },
        )
