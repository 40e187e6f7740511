"""The interface of kernels, the nodes of the dataflow graph.

A kernel is an immutable value. Its parameters determine its arithmetic (``execute``), its parallelism
(``PE`` outputs and ``SIMD`` inputs per beat, FINN's names), its behaviour in time (``schedule``),
its cost (``resources``) and its hardware (``rtl``). Tests check that all five agree.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.buffer import Buffer
from hw.ir.stream import Stream

Role = Literal["compute", "quantize", "window", "join", "plumbing"]
"""What a kernel does in a network: products with weights, quantization, windows and pools over positions, joins and
forks of streams, or transport alone (FIFOs, width converters). It chooses the colour in drawings, and the generic cost
and Fmax where a family has no calibration of the kernel."""

LANES = ("PE", "SIMD", "M")
"""FINN's attributes of a folding."""
SETTINGS = ("adders_per_stage", "table_inputs")
"""Our own attributes of a folding that are numbers (see Folding)."""


@dataclass(frozen=True)
class Folding:
    """Parallelism of one kernel: ``pe`` outputs and ``simd`` inputs per beat, for ``pixels`` positions (FINN: M).

    ``implementation`` is the ``op`` of the kernel that computes the layer, one of ``Kernel.implementations``; "" is the
    first of them. A beat is a run of neighbouring elements, so several positions per beat need all channels of
    each.

    The settings of kernels whose constants are logic: ``adders_per_stage`` is the number of adders in series between
    two registers, ``table_inputs`` that of the inputs of the lookup tables that the logic is planned for. 0 stands for
    the kernel's default, and for kernels without the setting. Cycles depend on them, so a folding states them.
    """

    pe: int = 1
    simd: int = 1
    pixels: int = 1
    implementation: str = field(default="", repr=False)
    adders_per_stage: int = field(default=0, repr=False)
    table_inputs: int = field(default=0, repr=False)

    @classmethod
    def of(cls, attributes: Mapping[str, int | str]) -> Self:
        """The folding that these ``attributes`` state; lanes that are missing are 1, and settings 0."""
        pe, simd, pixels = (int(attributes.get(name, 1)) for name in LANES)
        adders, tables = (int(attributes.get(name, 0)) for name in SETTINGS)
        return cls(pe, simd, pixels, str(attributes.get("implementation", "")), adders, tables)

    @property
    def tunable(self) -> bool:
        """Whether it has settings, so that the hardware does not follow from the kernel alone."""
        return any(getattr(self, name) for name in SETTINGS)

    @property
    def attributes(self) -> dict[str, int | str]:
        """FINN's attributes PE, SIMD and M, ``implementation`` and settings. M is stated where it is not 1 (most FINN
        layers have no such attribute), the implementation where it is not the first one, settings that are not 0.
        """
        stated: dict[str, int | str] = {"PE": self.pe, "SIMD": self.simd}
        if self.pixels > 1:
            stated["M"] = self.pixels
        if self.implementation:
            stated["implementation"] = self.implementation
        return stated | {name: value for name in SETTINGS if (value := getattr(self, name))}


@dataclass(frozen=True, eq=False)
class Schedule:
    """When a kernel consumes and produces beats: the timing contract, which the RTL keeps to the cycle.

    A frame is a fixed sequence of *firings*, at most one per cycle, in order, frame after frame without a gap: a
    pattern that is repeated ``repeats`` times. ``consumes[p][i]`` says that firing ``i`` of the pattern consumes a beat
    of input ``p``; ``produces[p][i]`` that it produces a beat of output ``p``. A firing happens in the first cycle in
    which the previous firing is done, every beat that it consumes is valid, and every output that it produces a beat
    for has a credit. That beat is valid ``latency`` cycles later, after the beats before it. Each output has
    ``credits`` credits; a credit returns in the cycle after the beat was transferred.

    With a ``buffer`` the kernel has one input, and firings do not consume its beats (``consumes`` is all False). A beat
    is consumed in the first cycle in which the previous beat is consumed, it is valid, and the buffer has room for it.
    A firing also waits for the beats that it reads from the buffer (see Buffer).

    With ``input_registers`` each input has a register of one beat, in which the beat waits for its firing. A beat is
    consumed in the first cycle in which the previous firing is done and it is valid, although beats of other inputs or
    credits may be missing.
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
        """Firings per frame."""
        return len((self.consumes + self.produces)[0]) * self.repeats

    @property
    def interval(self) -> int:
        """Initiation interval: cycles per frame of the kernel alone."""
        return max(self.firings, self.buffer.beats if self.buffer else 0)


@dataclass(frozen=True, eq=False)
class Memory:
    """Contents of one memory: ``words``, non-negative integers of ``width`` bits, lane 0 in the low bits."""

    words: list[int]
    width: int

    def hex(self) -> str:
        """The contents in the format of ``$readmemh``, one word per line."""
        digits = -(-self.width // 4)
        return "".join(f"{word:0{digits}x}\n" for word in self.words)


@dataclass(frozen=True, eq=False)
class Rtl:
    """One instance of a SystemVerilog module.

    ``parameters``: value of each parameter. A tuple of integers is a packed array of 32-bit words, the first in the
    low bits. A module with the parameter PARITY has an output ``parity_error``: high for one cycle for each word used
    with a parity error; 0 when PARITY = 0.

    ``memories``: parameter that names the file -> contents. Where the contents are several memories, the parameter is
    the common stem of their files: memory ``i`` is in ``<stem><i>.hex``.

    ``sources``: file name -> text of SystemVerilog that was generated for this instance. The module is in
    ``<module>.sv``, here or, for a packaged module, in the kernel's folder. Two instances may share a generated file
    only with the same text, so the name must follow from the text (by a hash, for example).
    """

    module: str
    parameters: Mapping[str, int | str | tuple[int, ...]]
    memories: Mapping[str, Memory | tuple[Memory, ...]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.parameters.items():
            words = value if isinstance(value, tuple) else ()
            fits = not isinstance(value, int) or -(1 << 31) <= value < 1 << 31
            if not fits or not all(-(1 << 31) <= word < 1 << 32 for word in words):
                raise BitfabricError(f"{self.module}: {name} = {value} has more than 32 bits; use smaller numbers")


def parity_words(words: list[int], width: int) -> Memory:
    """Words of ``width`` bits with a parity bit above them that makes the number of ones odd."""
    return Memory([word | (1 - word.bit_count() % 2) << width for word in words], width + 1)


def packed_words(codes: np.ndarray, bits: int) -> list[int]:
    """Bit codes ``(depth, lanes)`` of ``bits`` bits as ``depth`` memory words, lane 0 in the low bits."""
    codes = np.asarray(codes, dtype=np.uint64)
    planes = (codes[:, :, None] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)
    flat = planes.astype(np.uint8).reshape(len(codes), -1)
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(flat, axis=1, bitorder="little")]


@dataclass(frozen=True, eq=False)
class Kernel(ABC):
    """Base of all kernels.

    A kernel is a frozen dataclass in ``<op>/kernel.py``, beside its SystemVerilog modules, its cost model and the cases
    that tests use. Its constructor raises BitfabricError for illegal parameters. ``hw.kernels`` finds it by its folder.
    """

    op: ClassVar[str]
    """Name of the kernel and of its folder."""
    role: ClassVar[Role]
    sources: ClassVar[tuple[str, ...]] = ()
    """Names of the SystemVerilog files that the module needs besides its own: in the kernel's folder, or shared cells
    (``hw/kernels/cells``)."""
    bounded: ClassVar[bool] = False
    """Whether ``resources`` may take long, so that a search begins with ``least_resources``."""
    for_low_rates: ClassVar[bool] = False
    """Whether it is for low rates: where no rate is asked for, a design has it only if no other implementation fits."""

    saves_dsps: ClassVar[bool] = False
    """Whether it does in lookup tables what another implementation does in DSP blocks: a search takes it only where a
    budget has too few of these."""

    verdict: ClassVar[int | None] = None
    """The input whose beat of a frame is 1 if the frame leaves the network early; None for a kernel that does the same
    for every frame. A kernel with a verdict also has ``carried`` and ``schedule_of``."""

    @abstractmethod
    def inputs(self) -> tuple[Stream, ...]:
        """The input streams, with the lanes of the present folding."""

    @abstractmethod
    def outputs(self) -> tuple[Stream, ...]:
        """The output streams, with the lanes of the present folding."""

    @property
    def folding(self) -> Folding:
        """The present parallelism."""
        return Folding(getattr(self, "pe", 1), getattr(self, "simd", 1), getattr(self, "pixels", 1))

    @abstractmethod
    def foldings(self) -> tuple[Folding, ...]:
        """Every legal parallelism, in increasing order of ``pe * simd``, then of ``pixels``."""

    @abstractmethod
    def fold(self, folding: Folding) -> Self:
        """The same kernel with another parallelism. Raises BitfabricError for a folding that is not legal."""

    def implementations(self) -> tuple["Kernel", ...]:
        """The kernels that compute the same function of the same streams, itself among them, each of another ``op``.
        The first is the one that defines the function.

        The folding search chooses among the foldings of all of them, in this order. Each of them lists the same ones.
        """
        return (self,)

    def plain(self) -> "Kernel":
        """The kernel that defines this one's function, with the same streams: itself, except for one of several
        implementations of another kernel."""
        return self

    def tuned(self, family: Family, clock_mhz: float) -> Self:
        """The same kernel with the settings of its folding (see Folding) that suit a family and a clock."""
        return self

    @property
    def variant(self) -> str:
        """The name under which families keep coefficients of this kernel: ``op``, and the datapath where there are
        several."""
        return self.op

    def timing_variants(self, used: Resources, family: Family) -> Sequence[tuple[str, float]]:
        """What limits the clock of a kernel of ``used`` resources: names as ``variant``, and the lookup tables of each.

        A kernel of several parts has one for each kind of part."""
        return ((self.variant, used.lut),)

    def with_parity(self) -> Self:
        """The same kernel with parity bits for its memories in block RAM; itself if it has no such memory."""
        return replace(self, **{"parity": True}) if hasattr(self, "parity") else self

    def has_parity(self, family: Family) -> bool:
        """Whether this kernel checks parity bits in this family."""
        return False

    @abstractmethod
    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        """Bit-exact result for integer batches ``(N, *shape)``, one per input; one batch per output."""

    @abstractmethod
    def schedule(self) -> Schedule:
        """The behaviour in time; of a kernel with a ``verdict`` that of a frame that goes on."""

    def carried(self, leaves: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """By input and by output, the frames that have beats there, where ``leaves`` (frames,) are the verdicts."""
        raise TypeError(f"{self.op} has no verdict")

    def schedule_of(self, leaves: np.ndarray) -> Schedule:
        """The behaviour in time of one or more frames with these verdicts, as one pattern."""
        raise TypeError(f"{self.op} has no verdict")

    @property
    def interval(self) -> int:
        """Initiation interval in cycles per frame, as the schedule says."""
        return self.schedule().interval

    @abstractmethod
    def resources(self, family: Family) -> Resources:
        """Cost estimated before synthesis."""

    def least_resources(self, family: Family) -> Resources:
        """A lower bound of ``resources`` that takes little time; for ``bounded`` kernels what they are not expected to
        undercut."""
        return self.resources(family)

    def blocks_together(self, used: Resources) -> int:
        """Of the block RAM that the kernel has ``used``, the blocks whose outputs belong to one word."""
        return used.bram

    @abstractmethod
    def rtl(self, family: Family) -> Rtl:
        """The instance for this family."""
