"""What a build found, as types: the content of ``build.json``, whose JSON schema is ``docs/build.schema.json``.

``python -m flows.build_report`` prints the schema. Key names and their meaning change only with the number ``schema``.
"""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hw.host.errors import UsageError
from hw.host.files import read_json
from hw.host.meaning import Meaning

SCHEMA = 2
"""The number of this schema."""
FILE, PAGE = "build.json", "report.html"
"""Names of the report and of its page in the build folder."""
SHELL = "(shell)"
"""The row of the board's shell among the layers."""


class Facts(BaseModel):
    """Values that never change. A key that does not apply may be absent from the JSON, and unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """The values as JSON-able ones, under the names that the schema has."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Counts(Facts):
    """FPGA resources: lookup tables, flip-flops, block RAMs (xc7: RAMB18) and multipliers."""

    lut: int
    ff: int
    bram: int
    dsp: int


class Layer(Facts):
    """A node of the hardware: its folding, cycles a frame, whether its memories have parity, its resources.

    ``M``, pixels at a time, is absent where it is 1; ``implementation``, the kernel that computes the product, where
    that is the ``operator`` itself. ``resources`` are those of the netlist, absent before synthesis.
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
    what the accelerator computes at ``clock_mhz``, the clock that the board's PLL makes.

    ``input_octets`` and ``output_octets`` are mean octets on the line for a frame and its result, with flags, CRC and
    escapes; ``slots`` are frames in flight. Delays of a USB adapter and of the host's software are not included.
    """

    fps: float
    core_fps: float
    clock_mhz: float
    baud: int
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
    """

    by: Literal["rate", "folding", "fill", "model", "quarter", "half", "most", "smallest"]
    slower: Neighbour | None
    faster: Neighbour | None


class RemovedFrom(Facts):
    """What was removed from a layer of so many ``channels``: those that are ``constant``, that are ``equal`` to another
    one or its negative, that are ``unused``; and ``weights``, or the ``table_bits`` of a lookup layer. ``summary`` says
    so in a line."""

    name: str
    channels: int
    constant: int
    equal: int
    unused: int
    weights: int
    table_bits: int | None = None
    summary: str


class Removed(Facts):
    """The channels that do nothing and are not in the design, by layer, and all ``weights`` that this saves.

    The channels that remain are a multiple of ``granularity`` in each layer, or all of them.
    """

    granularity: int
    weights: int
    layers: tuple[RemovedFrom, ...]


def _counted(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'s' if number != 1 else ''}"


class LookupTables(Facts):
    """The size of a lookup network, without what was removed: its tables, their bits, and the bits of its encoders.

    Tables that only pass a bit on to a later layer do not count.
    """

    tables: int
    table_bits: int
    encoder_bits: int

    @property
    def summary(self) -> str:
        """The same in a line."""
        return f"{_counted(self.tables, 'table')}, {self.bits}"

    @property
    def bits(self) -> str:
        """The bits of the tables and of the encoders."""
        return f"{_counted(self.table_bits, 'table bit')}, {_counted(self.encoder_bits, 'encoder bit')}"


class ExpectedExits(Facts):
    """The mean cycles between frames (``interval``) and the mean rate ``fps``, by the cycle model, where of the frames
    that reach an early exit a share ``going_on`` goes on, at random. The layers behind exits are folded for it."""

    going_on: float
    interval: float
    fps: float


class MeasuredExits(Facts):
    """What frames did at early exits. ``going_on``: by exit, the share of the frames that reach it which goes on.

    Of the first ``timed`` frames, by the cycle model with their verdicts, where the next frame is always there: the
    mean ``interval`` between their ends, and the ``mean``, the ``median``, the ``high`` (of 99 % of the frames) and the
    ``worst`` of their latencies, in cycles.
    """

    frames: int
    going_on: dict[str, float]
    timed: int
    interval: float
    mean: float
    median: int
    high: int
    worst: int


class Exits(Facts):
    """Early exits, as ``expected`` and as ``measured`` on the build's frames (None where they were not emulated). The
    interval and the rate of the report itself are guaranteed: those where all frames go on."""

    expected: ExpectedExits
    measured: MeasuredExits | None = None


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


class ModelFile(Facts):
    """The model that was built. ``input_types`` are types of its inputs that the user gave, not the model; absent where
    there are none. The hash is that of the model with them, as the build folder has it. ``task``, ``class_names``,
    ``feature_names`` and ``scales`` say what the numbers of frames and outputs mean (``hw.host.meaning``), where the
    model states it.
    """

    path: str
    sha256: str
    input_types: dict[str, str] = {}
    task: Literal["classification", "regression", "reconstruction"] = "classification"
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()

    @property
    def meaning(self) -> Meaning:
        """What the numbers of frames and outputs mean."""
        return Meaning(self.task, self.class_names, self.feature_names, self.scales)


class Cycles(Facts):
    """Clock cycles, from the cycle model and from the RTL simulation (None: not simulated)."""

    estimated: int
    simulated: int | None


class Timing(Facts):
    """Cycles between frames in the steady state, and cycles from a frame's first beat to its last result."""

    interval: Cycles
    latency: Cycles


class Usage(Facts):
    """One resource: ``used`` by the netlist (None before synthesis), ``available`` in the device, ``estimated``."""

    used: int | None
    available: int
    estimated: int


class Utilisation(Facts):
    """Every resource of the device."""

    lut: Usage
    ff: Usage
    bram: Usage
    dsp: Usage


class FmaxMhz(Facts):
    """The highest clock in MHz, as estimated and as placed."""

    estimated: float | None
    placed: float | None


class Inputs(Facts):
    """What became of the values of the user's frames at the input ``name`` of ``type``.

    ``declared``: the input has an integer type, and ``fractions`` were rounded and ``out_of_range`` values clipped
    before anything computed with them. If not, the model quantizes them itself, and ``out_of_range`` are beyond the
    range of its quantizer. ``codes`` of ``possible_codes`` occur. ``doubtful``: the frames may not be what the model
    was trained on. ``statement`` says all this in a sentence.
    """

    name: str
    type: str
    declared: bool
    values: int
    fractions: int
    out_of_range: int
    codes: int
    possible_codes: int
    least: float
    greatest: float
    doubtful: bool
    statement: str


class Compared(Facts):
    """The counts of a comparison in which no error was found.

    ``mismatches`` are the elements (integers at quantizers, outputs) that differ, in ``mismatched_frames`` frames. All
    of them are ``explained``: one code apart, because float32 rounding of the reference can lead to either. They are
    at most 0.5 % of the ``elements``. ``arg_max_changes`` counts the frames whose class differs; ``rounded`` the
    floating-point outputs that differ from the reference by no more than its rounding, which are not mismatches.
    Exact sums ``decided`` the elements behind sums that float32 cannot hold; ``inexact`` counts those of them at which
    float32 itself differs. ``explanation`` says in a sentence what rounding explains, ``remark`` what exact sums
    decided; absent where there is nothing to say.
    """

    frames: int
    elements: int
    mismatches: int
    explained: int
    arg_max_changes: int
    mismatched_frames: int = 0
    rounded: int = 0
    decided: int = 0
    inexact: int = 0
    explanation: str | None = None
    remark: str | None = None


class DirectedCounts(Facts):
    """The counts of a comparison on inputs directed at what can be wrong, in which no error was found.

    ``frames`` of the whole network are directed at its inputs; ``layers`` are compared with the model's own nodes at
    ``inputs`` of their own (but for those ``left_out``). ``covered`` of the quantizers' ``decision_points`` are driven
    from both sides, and ``sums`` to their minimum and maximum. ``explained`` elements differ within float32 rounding.
    ``combinations`` of integers that meet in sums of unequal scales were checked, of which float32 rounds ``differing``
    ones otherwise.
    """

    frames: int
    layers: int
    inputs: int
    decision_points: int
    covered: int
    sums: int
    explained: int
    left_out: tuple[str, ...]
    combinations: int = 0
    differing: int = 0
    summary: str


class RemovalCounts(Facts):
    """The counts of the comparison of the graph without the ``channels`` that do nothing (of all edges) with the one
    that has them: ``frames``, and ``layers`` at ``inputs`` of their own. Nothing differs."""

    frames: int
    layers: int
    inputs: int
    channels: int
    summary: str


class Check(Compared):
    """What an engine was checked on. ``stage`` and ``path`` say which netlist was simulated; for the emulator,
    ``directed`` is what was compared besides the frames, ``removal`` the check of what was removed, and ``confusion``
    the number of frames by class (rows: labels; columns: what the network says). ``figures`` are those of a task other
    than classification (``quant.scores``)."""

    accuracy: float | None
    stage: str | None = None
    path: str | None = None
    directed: DirectedCounts | None = None
    removal: RemovalCounts | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    figures: dict[str, float] = {}


class Bitstream(Facts):
    """The bitstream's file."""

    path: str
    sha256: str


class Link(Facts):
    """The host link of the image: the 16 hexadecimal digits by which the driver knows it, and the baud rate."""

    model: str
    baud: int


class FinnLayerCost(Facts):
    """A layer of FINN's with FINN's estimate; ``bram`` are blocks of 18 kbit."""

    name: str
    operator: str
    PE: int
    SIMD: int
    cycles: int
    lut: int
    bram: int
    dsp: int


class FinnComparison(Facts):
    """FINN's own estimate for the same model and interval."""

    part: str
    clock_mhz: float
    cycles: int
    lut: int
    bram: int
    dsp: int
    fps: float
    layers: tuple[FinnLayerCost, ...]


class FinnRefusal(Facts):
    """Why FINN has no estimate."""

    refused: str


class Evidence(Facts):
    """What binds this file to the folder (``flows.evidence``).

    ``records``: hash of the record of every step; ``files``: hash of every file that is used and that no step made;
    ``digest``: hash of everything else in this file.
    """

    records: dict[str, str]
    files: dict[str, str]
    digest: str


class StepTime(Facts):
    """A step of the build. One that is ``cached`` was not run again; ``seconds`` are those of the run that made it."""

    name: str
    seconds: float
    cached: bool


class BuildReport(Facts):
    """The content of ``build.json``. Paths are relative to the build folder, but for that of the model.

    ``fps`` is the rate of the accelerator at ``clock_mhz``; ``host_link``, for a board, is that of its image.
    ``inputs`` are those of the user's frames; None for random ones. ``removed`` are the channels of the model that the
    design does not have, because they do nothing; None where there are none. ``lookup`` are the tables of a lookup
    network, ``exits`` the early exits of a network that has some; None for others.
    """

    schema_number: Literal[2] = Field(alias="schema")
    model: ModelFile
    target: str
    device: str
    clock_mhz: float
    stopped_after: str | None
    folding: dict[str, dict[str, int | str]]
    fifos: dict[str, int]
    parity: bool
    cycles: Timing
    fps: float
    fps_at_fmax: float | None
    choice: FoldingChoice | None = None
    host_link: HostLink | None = None
    latency_us: float
    resources: Utilisation
    logic_cells: LogicCells | None = None
    layers: tuple[Layer, ...]
    fmax_mhz: FmaxMhz
    critical_path: str | None
    warnings: tuple[str, ...] = ()
    removed: Removed | None = None
    lookup: LookupTables | None = None
    exits: Exits | None = None
    inputs: Inputs | None = None
    verified: dict[str, Check]
    bitstream: Bitstream | None
    link: Link | None
    finn: FinnComparison | FinnRefusal | None
    products: dict[str, str]
    tools: dict[str, str]
    steps: tuple[StepTime, ...]
    evidence: Evidence | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The report of the build in ``folder``.

        Raises UsageError where there is no finished build, and for a report of another version of this program.
        """
        path = folder / FILE
        try:
            content = read_json(path)
        except FileNotFoundError:
            hint = "go on with the same `bitfabric build` command" if (folder / ".steps").exists() else (
                "make one with `bitfabric build MODEL.onnx --target T -o DIR/`"
            )  # fmt: skip
            raise UsageError(f"{folder} holds no finished build; {hint}") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read ({error}); build again") from None
        number = content.get("schema") if isinstance(content, dict) else None
        if isinstance(number, int) and number > SCHEMA:
            raise UsageError(
                f"{path} has schema {number}, of a newer bitfabric; this one reads {SCHEMA}: update it, or build again"
            )
        if number != SCHEMA:
            raise UsageError(f"{path} is of an older bitfabric (it has no schema {SCHEMA}); build again")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UsageError(f"{path} is damaged ({where}: {first['msg']}); build again") from None


def json_schema() -> dict[str, Any]:
    """The JSON schema of ``build.json``."""
    return BuildReport.model_json_schema(by_alias=True)


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
