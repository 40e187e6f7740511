"""FIFO: a first-in first-out buffer between two kernels (FINN: StreamingFIFO)."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel, Role, Rtl, Schedule
from hw.ir.stream import Stream
from hw.kernels.shared import cell_costs

BLOCK_BITS = 4096
"""FIFOs of more than this many bits and at least 64 beats are in block RAM."""


@dataclass(frozen=True, eq=False)
class Fifo(Kernel):
    """Stores up to ``depth`` beats of ``stream``. Raises BitfabricError for a depth below two."""

    op: ClassVar[str] = "fifo"
    role: ClassVar[Role] = "plumbing"
    sources: ClassVar[tuple[str, ...]] = ("bf_stream_out.sv",)

    stream: Stream
    depth: int

    def __post_init__(self) -> None:
        if self.depth < 2:
            raise BitfabricError(f"a FIFO of depth {self.depth} cannot pass a beat a cycle; the least depth is 2")

    def inputs(self) -> tuple[Stream, ...]:
        return (self.stream,)

    def outputs(self) -> tuple[Stream, ...]:
        return (self.stream,)

    def foldings(self) -> tuple[Folding, ...]:
        return (Folding(),)

    def fold(self, folding: Folding) -> Self:
        if folding != Folding():
            raise BitfabricError("a FIFO has no folding of its own")
        return self

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        return frames

    @property
    def block(self) -> bool:
        """Whether the beats are stored in block RAM."""
        return self.depth >= 64 and self.depth * self.stream.width > BLOCK_BITS

    def schedule(self) -> Schedule:
        every = np.ones(1, bool)
        latency = 3 if self.block else 1
        return Schedule((every,), (every,), latency, credits=self.depth, repeats=self.stream.beats)

    def resources(self, family: Family) -> Resources:
        if not self.block:
            return cell_costs.stream_out(self.stream.width, self.depth, family)
        pointers = self.depth.bit_length() * (11 if family.lut_inputs == 4 else 6)
        ahead = cell_costs.stream_out(self.stream.width, 3, family)
        return ahead + Resources(pointers, 5 * self.depth.bit_length(), family.blocks(self.depth, self.stream.width))

    def rtl(self, family: Family) -> Rtl:
        return Rtl(f"bf_{self.op}", {"WIDTH": self.stream.width, "DEPTH": self.depth, "BLOCK": int(self.block)})
