"""What a build states of a design: its layers, resources, folding, and the estimate before synthesis."""

from typing import Literal

from flows.facts.fact import Facts
from flows.facts.network import ExpectedExits, LookupTables, Removed

SHELL = "(shell)"
"""The row of the board's shell among the layers."""
TOP = "(top)"
"""The layer of cells that belong to none, in a design without a shell."""


class Counts(Facts):
    """FPGA resources: lookup tables, flip-flops, block RAMs (xc7: RAMB18) and multipliers."""

    lut: int
    ff: int
    bram: int
    dsp: int


class LutKinds(Facts):
    """Lookup tables by what they do: compute any function, lie on a carry chain, or are memory (RAM, shift registers).

    Where no cell of the family is a carry together with its lookup table (iCE40, 7 series), those on a chain count as
    ``logic``.
    """

    logic: int
    carry: int
    memory: int


class Layer(Facts):
    """A node of the hardware: its folding, cycles a frame, whether its memories have parity, its resources.

    ``M``, pixels at a time, is absent where it is 1; ``implementation``, the kernel that computes the product, where
    that is the ``operator`` itself. ``resources`` are those of the netlist, ``luts`` its lookup tables by what they do;
    both are absent before synthesis.
    The row ``(shell)`` stands for the board's shell; it has neither folding nor estimate.

    ``node`` is the model's node that the layer was made from, ``module`` the module of the network's source that the
    node belongs to; each is absent where there is none, as for FIFOs, or where the model does not state it.
    """

    name: str
    node: str | None = None
    module: str | None = None
    operator: str
    PE: int | None
    SIMD: int | None
    M: int | None = None
    implementation: str | None = None
    cycles: int | None
    parity: bool
    estimated: Counts | None
    resources: Counts | None = None
    luts: LutKinds | None = None

    @property
    def origin(self) -> str:
        """The user's own name for it; "" where there is none, or it is the same."""
        own = self.module or self.node or ""
        return "" if own == self.name else own

    @property
    def title(self) -> str:
        """The name, followed by the user's own in parentheses."""
        return f"{self.name} ({self.origin})" if self.origin else self.name


class HostLink(Facts):
    """The frame rate of an image, which is the lower of two: ``fps``, what its host link carries, and ``core_fps``,
    what the accelerator computes at ``clock_mhz``, the clock that the board's PLL makes. ``transport`` is the field of
    the board file that states the link, ``line`` its rate in words; ``baud`` that of a serial port.

    ``input_octets`` and ``output_octets`` are mean octets on the line for a frame and its result, with flags, CRC and
    escapes; ``slots`` are frames in flight. Delays of a USB adapter and of the host's software are not included.
    """

    fps: float
    core_fps: float
    clock_mhz: float
    transport: str = "uart"
    line: str = ""
    baud: int | None
    input_octets: float
    output_octets: float
    slots: int


class LogicCells(Facts):
    """Logic cells as the packer of the family fills them, the shell of a board included.

    They are ``estimated`` before synthesis and ``used`` at least by the netlist (None before synthesis). ``name`` is
    the place-and-route tool's.
    """

    name: str
    estimated: int
    available: int
    used: int | None = None


class Neighbour(Facts):
    """The cheapest folding of another rate, without its FIFOs; ``fits``: whether it is estimated to fit the device."""

    fps: float
    interval: int
    resources: Counts
    fits: bool


class FoldingChoice(Facts):
    """Why the design is folded as it is.

    ``by``: the requested ``rate``, a ``folding`` file, ``fill``, the folded ``model``; or, where nothing was asked for,
    the fastest design within a ``quarter`` of the device, or else within ``half`` of it, or else within the budget of
    ``fill`` (``most``), or else the ``smallest`` one. The rates next to it are stated where the device decided.
    ``in_dsps``: the device decided, and foldings that do in lookup tables what DSP blocks can do were not tried: a
    limit on DSP blocks may make the design faster.
    """

    by: Literal["rate", "folding", "fill", "model", "quarter", "half", "most", "smallest"]
    in_dsps: bool
    slower: Neighbour | None
    faster: Neighbour | None


class Estimate(Facts):
    """What is known of a design before synthesis.

    ``logic_cells`` is None where the family's packer is not known, ``host_link`` without a board. ``warnings`` are
    sentences, one for each doubt. ``slowest`` is the node that limits Fmax; ``uncalibrated`` are kernels whose Fmax in
    this family was never measured. ``removed`` are channels that do nothing; absent where there are none,
    as ``lookup`` is where the network has no tables, and ``exits`` where it has no early exits. With some, ``interval``
    and ``fps`` are those where all frames go on.
    """

    folding: dict[str, dict[str, int | str]]
    fifos: dict[str, int]
    interval: int
    latency: int
    clock_mhz: float
    fmax_mhz: float | None
    slowest: str | None
    uncalibrated: tuple[str, ...]
    fps: float
    choice: FoldingChoice
    host_link: HostLink | None = None
    resources: Counts
    logic_cells: LogicCells | None = None
    layers: tuple[Layer, ...]
    warnings: tuple[str, ...] = ()
    removed: Removed | None = None
    lookup: LookupTables | None = None
    exits: ExpectedExits | None = None
