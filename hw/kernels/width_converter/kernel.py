"""Width converter: changes the number of elements per beat of a stream (FINN: StreamingDataWidthConverter)."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel, Role, Rtl, Schedule
from hw.ir.stream import Stream
from hw.kernels.shared import cell_costs


@dataclass(frozen=True, eq=False)
class WidthConverter(Kernel):
    """Joins or splits beats: the input is ``stream``, the output is the same stream with ``out_lanes`` lanes.

    Raises BitfabricError if neither number of lanes divides the other. In that case two converters in series are used,
    with the least common multiple of lanes between them.
    """

    op: ClassVar[str] = "width_converter"
    role: ClassVar[Role] = "plumbing"
    sources: ClassVar[tuple[str, ...]] = ("bf_stream_out.sv",)

    stream: Stream
    out_lanes: int

    def __post_init__(self) -> None:
        lanes = sorted((self.stream.lanes, self.out_lanes))
        if lanes[1] % lanes[0]:
            raise BitfabricError(f"width converter {self.stream.lanes} to {self.out_lanes} lanes: neither divides")

    def inputs(self) -> tuple[Stream, ...]:
        return (self.stream,)

    def outputs(self) -> tuple[Stream, ...]:
        return (self.stream.with_lanes(self.out_lanes),)

    def foldings(self) -> tuple[Folding, ...]:
        return (Folding(),)

    def fold(self, folding: Folding) -> Self:
        if folding != Folding():
            raise BitfabricError("a width converter has no folding of its own")
        return self

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        return frames

    def schedule(self) -> Schedule:
        wide, narrow = max(self.stream.lanes, self.out_lanes), min(self.stream.lanes, self.out_lanes)
        step, repeats = np.arange(wide // narrow), self.stream.elements // wide
        every = np.ones(len(step), bool)
        if self.out_lanes >= self.stream.lanes:
            return Schedule((every,), (step == len(step) - 1,), 1, self._credits, repeats)
        return Schedule((step == 0,), (every,), 1, self._credits, repeats)

    @property
    def _credits(self) -> int:
        # A credit returns after two cycles, so one credit is enough where a beat leaves at most every second cycle.
        return 1 if self.out_lanes > self.stream.lanes else 2

    def resources(self, family: Family) -> Resources:
        wide, narrow = sorted((self.stream.width, self.outputs()[0].width), reverse=True)
        steps = (wide // narrow - 1).bit_length()
        buffer = cell_costs.stream_out(self.outputs()[0].width, self._credits, family)
        if self.out_lanes > self.stream.lanes:
            return buffer + Resources(2 * steps + 1, wide - narrow + steps)
        if self.out_lanes < self.stream.lanes:
            return buffer + Resources(wide - narrow + 2 * steps, wide - narrow + steps)
        return buffer

    def rtl(self, family: Family) -> Rtl:
        bits = self.stream.dtype.bitwidth()
        return Rtl(
            f"bf_{self.op}",
            {"IN_BITS": self.stream.lanes * bits, "OUT_BITS": self.out_lanes * bits, "CREDITS": self._credits},
        )
