"""What a build found, as types: the content of ``build.json``, whose JSON schema is ``docs/build.schema.json``.

``python -m flows.build_report`` prints the schema. Key names and their meaning change only with the number ``schema``.
"""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from flows.facts.checks import Check, Inputs
from flows.facts.design import FoldingChoice, HostLink, Layer, LogicCells
from flows.facts.fact import Facts
from flows.facts.finn import FinnComparison, FinnRefusal
from flows.facts.network import Exits, LookupTables, Removed
from flows.facts.placed import LayerPaths, PinClock
from flows.facts.power import Power
from hw.host.errors import UsageError
from hw.host.files import read_json
from hw.host.meaning import Meaning

SCHEMA = 2
"""The number of this schema."""
FILE, PAGE = "build.json", "report.html"
"""Names of the report and of its page in the build folder."""


class ModelFile(Facts):
    """The model that was built. ``input_types`` are types of its inputs that the user gave, not the model; absent where
    there are none. The hash is that of the model with them, as the build folder has it. ``task``, ``class_names``,
    ``feature_names`` and ``scales`` say what the numbers of frames and outputs mean (``hw.host.meaning``), where the
    model states it.
    """

    path: str
    sha256: str
    input_types: dict[str, str] = Field(default_factory=dict)
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


class Bitstream(Facts):
    """The bitstream's file."""

    path: str
    sha256: str


class Link(Facts):
    """The host link of the image: the 16 hexadecimal digits by which the driver knows it, its ``transport``, and
    the baud rate of a serial port."""

    model: str
    transport: str = "uart"
    baud: int | None


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
    ``inputs`` are those of the user's frames, ``other_inputs`` at the other inputs of the model; None for random ones.
    ``removed`` are the channels of the model that the design does not have, because they do nothing; None where there
    are none. ``lookup`` are the tables of a lookup network, ``exits`` the early exits of a network that has some; None
    for others. ``benchmark_frames`` are the frames that the image can replay at full rate. ``timing_paths`` are those
    of the placed design; None without place and route. ``power`` is an estimate; None where it was not asked for.
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
    benchmark_frames: int = 0
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
    timing_paths: LayerPaths | None = None
    pin_clocks: tuple[PinClock, ...] = ()
    warnings: tuple[str, ...] = ()
    removed: Removed | None = None
    lookup: LookupTables | None = None
    exits: Exits | None = None
    inputs: Inputs | None = None
    other_inputs: tuple[Inputs, ...] = ()
    verified: dict[str, Check]
    bitstream: Bitstream | None
    link: Link | None
    finn: FinnComparison | FinnRefusal | None
    power: Power | None = None
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
