"""What every kernel of the dataflow graph offers: the faces of one set of parameters.

A kernel is an immutable value. Its parameters fix its arithmetic (``execute``), its parallelism
(``PE`` outputs and ``SIMD`` inputs at a time, FINN's names), its behaviour in time (``schedule``),
its cost (``resources``) and its hardware (``rtl``); all five are tested against each other.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.buffer import Buffer
from hw.ir.stream import Stream


@dataclass(frozen=True)
class Folding:
    """Parallelism of one kernel: ``pe`` outputs and ``simd`` inputs at a time, of ``pixels`` positions (FINN: M).

    More than one position at a time goes with all channels of each, for a beat is a run of neighbouring elements.
    """

    pe: int = 1
    simd: int = 1
    pixels: int = 1

    @classmethod
    def of(cls, attributes: Mapping[str, int]) -> Self:
        """The folding that FINN's attributes state; those that are left out are 1."""
        return cls(attributes.get("PE", 1), attributes.get("SIMD", 1), attributes.get("M", 1))

    @property
    def attributes(self) -> dict[str, int]:
        """FINN's attributes; M where it is not 1, for most of FINN's layers have none."""
        return {"PE": self.pe, "SIMD": self.simd} | ({"M": self.pixels} if self.pixels > 1 else {})


@dataclass(frozen=True, eq=False)
class Schedule:
    """How a kernel takes and gives beats: the timing contract, which the RTL keeps to the cycle.

    A frame is a fixed sequence of actions, at most one a cycle, in order, frame after frame without a
    gap: a pattern that is run through ``repeats`` times. ``takes[p][i]`` says that action ``i`` of the pattern
    takes a beat from input ``p``, ``gives[p][i]`` that it gives one to output ``p``. An action happens in the first
    cycle in which the previous action is past, every beat that it takes is offered, and every output that it gives
    to has a credit. The beat that it gives is offered ``latency`` cycles later (and after the beats before it); its
    credit, one of ``credits``, comes back in the cycle after the beat was taken.

    With a ``buffer`` the kernel's only input is taken not by actions (``takes`` is all False) but on its own: a beat
    in the first cycle in which the previous beat is past, it is offered, and the buffer has a place for it. An action
    waits for the beats that it looks at as well (see Buffer).

    With ``places`` each input has a place of its own, in which a beat waits for the action: it is taken in the first
    cycle in which the previous action is past and it is offered, though other inputs' beats or credits may be missing.
    """

    consumes: tuple[np.ndarray, ...]
    produces: tuple[np.ndarray, ...]
    latency: int
    credits: int
    repeats: int = 1
    buffer: Buffer | None = None
    input_registers: bool = False

    @property
    def firings(self) -> int:
        """Actions per frame."""
        return len((self.consumes + self.produces)[0]) * self.repeats

    @property
    def interval(self) -> int:
        """Cycles per frame of the kernel alone: its initiation interval."""
        return max(self.firings, self.buffer.beats if self.buffer else 0)


@dataclass(frozen=True, eq=False)
class Memory:
    """Contents of one memory: ``words`` (non-negative integers, low bits first lane) of ``width`` bits."""

    words: list[int]
    width: int

    def hex(self) -> str:
        """The contents as ``$readmemh`` reads them."""
        digits = -(-self.width // 4)
        return "".join(f"{word:0{digits}x}\n" for word in self.words)


@dataclass(frozen=True, eq=False)
class Rtl:
    """One instance: the module, its parameters, the memories (parameter that names the file -> contents).

    The module is in ``<module>.sv``; its name is the kernel's ``op``, but where several kernels are one module. A
    list of integers is a packed array of 32-bit words, the first in the low bits.
    Where a parameter names several memories, it is the files' common stem: memory ``i`` is in ``<stem><i>.hex``.
    A module with the parameter PARITY has an output ``upset``: where that is 1, it is high for a cycle for every word
    with a wrong parity that was used.
    """

    module: str
    parameters: Mapping[str, int | str | tuple[int, ...]]
    memories: Mapping[str, Memory | tuple[Memory, ...]] = field(default_factory=dict)


def parity_words(words: list[int], width: int) -> Memory:
    """Words of ``width`` bits with one bit more, the highest, that makes the number of their ones odd."""
    return Memory([word | (1 - word.bit_count() % 2) << width for word in words], width + 1)


def packed_words(codes: np.ndarray, bits: int) -> list[int]:
    """Rows of bit codes ``(depth, lanes)`` to memory words, lane 0 in the low ``bits`` bits."""
    codes = np.asarray(codes, dtype=np.uint64)
    planes = (codes[:, :, None] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)
    flat = planes.astype(np.uint8).reshape(len(codes), -1)
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(flat, axis=1, bitorder="little")]


@dataclass(frozen=True, eq=False)
class Kernel(ABC):
    """Base of all kernels. Subclasses are frozen dataclasses in a module of their own beside ``<op>.sv``."""

    op: ClassVar[str]
    sources: ClassVar[tuple[str, ...]] = ()
    """SystemVerilog files under ``hw/kernels`` that the module needs besides its own."""

    @abstractmethod
    def inputs(self) -> tuple[Stream, ...]:
        """The input streams, with the lanes that this folding takes at a time."""

    @abstractmethod
    def outputs(self) -> tuple[Stream, ...]:
        """The output streams, with the lanes that this folding gives at a time."""

    @property
    def folding(self) -> Folding:
        """The present parallelism."""
        return Folding(getattr(self, "pe", 1), getattr(self, "simd", 1), getattr(self, "pixels", 1))

    @abstractmethod
    def foldings(self) -> tuple[Folding, ...]:
        """Every legal parallelism, in increasing order of ``pe * simd``, then of ``pixels``."""

    @abstractmethod
    def fold(self, folding: Folding) -> Self:
        """The same kernel with another parallelism. Raises BitfabricError where it does not divide."""

    def with_parity(self) -> Self:
        """The same kernel with parity bits for the words of its memories in block RAM; itself where it has none."""
        return replace(self, **{"parity": True}) if hasattr(self, "parity") else self

    def has_parity(self, family: Family) -> bool:
        """Whether this kernel checks parity bits in this family."""
        return False

    @abstractmethod
    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        """Bit-exact result: integer batches ``(N, *shape)``, one for each input, to one for each output."""

    @abstractmethod
    def schedule(self) -> Schedule:
        """The behaviour in time."""

    @property
    def interval(self) -> int:
        """Cycles a frame of the kernel alone, as the schedule says."""
        return self.schedule().interval

    @abstractmethod
    def resources(self, family: Family) -> Resources:
        """Estimated cost before synthesis."""

    @abstractmethod
    def rtl(self, family: Family) -> Rtl:
        """The instance for this family."""
