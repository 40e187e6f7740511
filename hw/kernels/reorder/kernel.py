"""Reorder: the elements of a frame in another order, from a memory of as many of them as the order needs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.buffer import Buffer, Loop
from hw.ir.buffer_size import fitted
from hw.ir.kernel import Folding, Kernel, Role, Rtl, Schedule
from hw.ir.stream import Stream, divides
from hw.kernels.reorder import cost
from hw.kernels.shared.parameters import divisors
from hw.kernels.sliding_window.kernel import BUFFER_BITS


@dataclass(frozen=True, eq=False)
class Reorder(Kernel):
    """Reads a frame in the order of nested loops: transposed, flipped, repeated, or from depth to space.

    The input has ``shape``, the output ``out_shape``. The output's elements are read one after the other, from the
    position ``start`` of the input's frame (row-major) on: ``loops`` are pairs (turns, stride), the outermost first,
    and a turn of a loop moves the position by its stride. Elements may be left out or read several times. Input and
    output have ``pe`` lanes: a divisor of the innermost loop's turns, where its stride is 1, and of all other strides.
    Raises BitfabricError for loops that do not fit the shapes, and for an illegal ``pe``.
    """

    op: ClassVar[str] = "reorder"
    role: ClassVar[Role] = "window"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_delay.sv", "bf_modulo_counter.sv", "bf_stream_out.sv", "bf_window_memory.sv",
    )  # fmt: skip

    shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    start: int
    loops: tuple[tuple[int, int], ...]
    dtype: BaseDataType
    pe: int = 1

    def __post_init__(self) -> None:
        if not self.shape or not self.out_shape or min(*self.shape, *self.out_shape) < 1:
            raise BitfabricError(f"reorder: {self.shape} to {self.out_shape}; all sizes must be positive")
        if not self.loops or min(turns for turns, _ in self.loops) < 1:
            raise BitfabricError(f"reorder: loops {self.loops}; each needs one turn or more")
        if prod(turns for turns, _ in self.loops) != prod(self.out_shape):
            raise BitfabricError(f"reorder: loops {self.loops} do not give the elements of {self.out_shape}")
        reached = [(turns - 1) * stride for turns, stride in self.loops]
        low, high = (self.start + sum(pick(each, 0) for each in reached) for pick in (min, max))
        if low < 0 or high >= prod(self.shape):
            raise BitfabricError(f"reorder: loops {self.loops} from {self.start} leave the frame {self.shape}")
        if self.pe not in (legal := self._lanes()):
            raise BitfabricError(
                f"reorder: PE {self.pe} does not divide the runs of neighbouring elements; use one of "
                f"{', '.join(map(str, legal))}"
            )

    def _lanes(self) -> list[int]:
        *outer, (turns, stride) = self.loops
        others = [self.start, *(step for count, step in outer if count > 1)]
        return [
            lanes
            for lanes in (divisors(turns) if stride == 1 else [1])
            if not any(other % lanes for other in others)
            and divides(lanes, self.shape)
            and divides(lanes, self.out_shape)
        ]

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream(self.shape, self.dtype, self.pe),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream(self.out_shape, self.dtype, self.pe),)

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(map(Folding, self._lanes()))

    def fold(self, folding: Folding) -> Self:
        if folding.simd != 1 or folding.pixels != 1:
            raise BitfabricError("reorder has neither SIMD nor several pixels; give only PE")
        return replace(self, pe=folding.pe)

    @cached_property
    def _positions(self) -> np.ndarray:
        """The position of each element of an output frame in the input's frame."""
        position = np.full(1, self.start, np.int64)
        for turns, stride in self.loops:
            position = (position[:, None] + stride * np.arange(turns)).ravel()
        return position

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        flat = frames[0].reshape(len(frames[0]), -1)
        return (flat[:, self._positions].reshape(-1, *self.out_shape),)

    # From here on positions are counted in beats.

    @cached_property
    def nest(self) -> tuple[tuple[int, int], ...]:
        """The loops over beats, the outermost first, without those of one turn; there is at least one."""
        *outer, (turns, stride) = self.loops
        nest = [(count, step // self.pe) for count, step in outer]
        nest.append((turns // self.pe, stride))
        return tuple(loop for loop in nest if loop[0] > 1) or ((1, 1),)

    @property
    def first(self) -> int:
        """The position of the first beat."""
        return self.start // self.pe

    def _buffers(self) -> Iterator[Buffer]:
        """Candidates, those first that release beats as more of the outer loops turn.

        A loop that goes backwards waits for all of the beats that it reads.
        """
        back = sum((turns - 1) * -stride for turns, stride in self.nest if stride < 0)
        for count in range(len(self.nest), -1, -1):
            forward = [(turns, max(stride, 0)) for turns, stride in self.nest]
            loops = (Loop(turns, step, step if i < count else 0) for i, (turns, step) in enumerate(forward))
            yield Buffer(
                beats=self.inputs()[0].beats, places=1, start=self.first - back, reach=back + 1, loops=tuple(loops)
            )

    @cached_property
    def buffer(self) -> Buffer:
        """The buffer that releases its input earliest."""
        return fitted(next(b for b in self._buffers() if b.monotone()))

    @property
    def word(self) -> int:
        """Bits of a memory word."""
        return self.inputs()[0].width

    @property
    def block(self) -> bool:
        """Whether the memory is block RAM."""
        return self.buffer.places >= 64 and self.buffer.places * self.word > BUFFER_BITS

    @property
    def fetch(self) -> int:
        """Cycles from a firing until the beat that it reads is available."""
        return 1 + self.block

    def schedule(self) -> Schedule:
        latency = self.fetch + 1
        return Schedule(
            (np.zeros(1, bool),), (np.ones(1, bool),), latency, latency + 1, self.outputs()[0].beats, self.buffer
        )

    def resources(self, family: Family) -> Resources:
        return cost.resources(self, family)

    def rtl(self, family: Family) -> Rtl:
        nest, loops = tuple(reversed(self.nest)), tuple(reversed(self.buffer.loops))
        return Rtl(
            f"bf_{self.op}",
            {
                "WIDTH": self.word,
                "BEATS": self.inputs()[0].beats,
                "LOOPS": len(nest),
                "COUNT": tuple(turns for turns, _ in nest),
                "STRIDE": tuple(stride & 0xFFFFFFFF for _, stride in nest),
                "WAITS": tuple(loop.step for loop in loops),
                "FREES": tuple(loop.frees for loop in loops),
                "FIRST": self.first,
                "START": self.buffer.start,
                "REACH": self.buffer.reach,
                "PLACES": self.buffer.places,
                "STYLE": "block" if self.block else "distributed" if family.lut_ram else "logic",
                "LATENCY": self.fetch + 1,
                "CREDITS": self.schedule().credits,
            },
        )
