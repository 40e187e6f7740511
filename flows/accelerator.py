"""A finished build as an object that runs frames through any engine, with the same inputs and outputs for all."""

import os
from functools import cached_property
from pathlib import Path

from flows import evidence
from flows.build_report import FILE, BuildReport, FmaxMhz, Timing, Utilisation
from flows.design_point import DesignPoint
from flows.engines import find_engine
from flows.engines.engine import Progress, RunOptions
from flows.found import Found
from flows.implementation import Implementation
from flows.inputs import OnInputs, received, warn
from hw.boards.image import Image
from hw.boards.targets import BOARD_SUFFIXES, Target, find_target
from hw.host.benchmark import Replayed
from hw.host.errors import UsageError
from hw.host.files import read_text, sha256, write_text
from hw.ir.frames import Batch, chosen
from hw.ir.graph import Graph
from hw.model import Model

BOARD_FILE = f"{evidence.RECORDS}/board.yaml"
"""The user's own board file, in the build folder."""
MODEL_FILE = Path("lower") / "model.onnx"


def keep_board_file(target: str, folder: Path) -> dict[str, str]:
    """Copy the board file that ``target`` names into the build folder; where it names none, remove the one there.

    Returns the hash of the copy by its name, or nothing.
    """
    kept = folder / BOARD_FILE
    if not target.endswith(BOARD_SUFFIXES):
        kept.unlink(missing_ok=True)
        return {}
    kept.parent.mkdir(exist_ok=True)
    if Path(target).resolve() != kept.resolve():
        write_text(kept, read_text(Path(target), kind="board file"))
    return {BOARD_FILE: sha256(kept)}


class Accelerator:
    """The build in ``folder``. Raises UsageError where there is no finished one of this version, and where it is not as
    its build left it (``flows.evidence``).

    ``report`` is the content of ``build.json``.
    """

    def __init__(self, folder: str | os.PathLike[str], implementation: Implementation | None = None) -> None:
        """``implementation`` is the build's, where the caller has it already."""
        self.folder = Path(folder)
        self._made = implementation
        if implementation is not None:
            self.report = BuildReport.read(self.folder)
            return
        self.report, self._records = evidence.opened(self.folder)
        if different := Found.of(self.folder, self._records).contradiction(
            self.report, evidence.products(self._records)
        ):
            raise evidence.refused(
                self.folder, f"{different} in {FILE} does not follow from its steps, or another version built it"
            )

    @cached_property
    def implementation(self) -> Implementation:
        """The design that the engines run."""
        if self._made is not None:
            return self._made
        report, model = self.report, Model.built(self.folder / MODEL_FILE, self.folder / MODEL_FILE.parent)
        checked = report.verified.get("netlist")
        return Implementation(
            self.target,
            DesignPoint.from_json(model, report.parity, report.to_json()),
            report.cycles.interval.estimated,
            self.folder,
            self.folder / checked.path if checked and checked.path else None,
            evidence.products(self._records),
            report.benchmark_frames,
        )

    @property
    def cycles(self) -> Timing:
        """``interval`` and ``latency`` in cycles, each ``estimated`` and ``simulated``."""
        return self.report.cycles

    @property
    def resources(self) -> Utilisation:
        """``lut``, ``ff``, ``bram``, ``dsp``, each ``used``, ``available`` and ``estimated``."""
        return self.report.resources

    @property
    def fmax_mhz(self) -> FmaxMhz:
        """The maximum clock in MHz, ``estimated`` before synthesis and ``placed``."""
        return self.report.fmax_mhz

    @property
    def bitstream(self) -> Path | None:
        """The bitstream file; None where the build has none."""
        made = self.report.bitstream
        return self.folder / made.path if made else None

    @property
    def model(self) -> Model:
        """The model that was built."""
        return self.implementation.model

    @cached_property
    def target(self) -> Target:
        """The board or device that it was built for."""
        kept = self.folder / BOARD_FILE
        return find_target(str(kept) if kept.exists() else self.report.target)

    @property
    def graph(self) -> Graph:
        """The integer dataflow graph, not folded."""
        return self.implementation.graph

    @property
    def hardware(self) -> Graph:
        """The graph of the hardware: folded, with width converters and FIFOs."""
        return self.implementation.hardware

    @property
    def image(self) -> Image:
        """The complete design for the board. Raises UsageError where the build is not for a board."""
        made = self.implementation.image
        if made is None:
            raise UsageError(f"{self.folder} has no image for a board; build it with a board as --target")
        return made

    def program(self, flash: bool = False) -> str:
        """Load the image into its board with openFPGALoader; with ``flash`` into the board's flash memory.

        Returns what the programmer printed. Raises UsageError where the build has no bitstream, or where it has changed
        since, and BitfabricError where no board is found.
        """
        from flows.engines import program

        made = self.report.bitstream
        if made is None or self.bitstream is None:
            raise UsageError(f"{self.folder} has no bitstream; build it for a board, without --stop-after")
        evidence.compare(self.folder, {made.path: made.sha256})
        return program.program(self.bitstream, self.target, flash)

    def _repr_html_(self) -> str:
        """The build in a notebook: its figures, its layers, and what was checked."""
        from flows import report

        return report.summary(self.report, self.hardware)

    def write_report(self, out: Path | None = None) -> Path:
        """Write the page of the build, by default ``report.html`` in its folder; returns the path.

        Raises BitfabricError where another version made the build, and UsageError where the file cannot be written.
        """
        from flows import report

        return report.write(self.report, self.graph, self.hardware, self.folder, out)

    def run(
        self,
        x: Batch,
        engine: str = "emulator",
        trace: Path | None = None,
        *,
        port: str | None = None,
        baud: int | None = None,
        progress: Progress | None = None,
        counters: dict[str, int] | None = None,
        clip: bool = False,
        on_inputs: OnInputs = warn,
    ) -> Batch:
        """Outputs of a batch ``(N, *shape)``, by name where there are several inputs, in the model's own layout, as the
        QONNX model computes them.

        ``engine``: ``qonnx`` or ``onnxruntime`` (the reference), ``finn`` (FINN's Python execution of its own dataflow
        graph), ``emulator``, ``rtl`` (Verilator), ``netlist`` (the netlist that the build simulated, behind its host
        link), ``board`` (a board that is programmed with the image). ``trace`` is a file (``.vcd``) for the waveform of
        the RTL. For a board: its serial ``port`` (None: search for it), the ``baud`` rate (None: that of the image),
        ``progress``, which is called with the number of finished frames and of all frames, and ``counters``, which
        receives the board's counters.

        Where the model's input has an integer type, at most 1 % of other values, or any number with ``clip``, are
        rounded and clipped. ``on_inputs`` is called with what became of the values; by default it issues an
        InputWarning if some were altered, or if very few codes occur.

        Raises UsageError for frames that do not match and engines that the build does not have, and BitfabricError
        where the run fails, as where no board answers.
        """
        found = find_engine(engine)
        if trace is not None and not found.traits.waveform:
            raise UsageError(f"engine {engine} has no waveform; --trace goes with --engine rtl")
        if (port or baud) and not found.traits.on_board:
            raise UsageError(f"--port and --baud are for --engine board, not {engine}")
        if reason := found.available(self.implementation):
            raise UsageError(reason)
        x = self._received(x, clip, on_inputs)
        return found.run(self.implementation, x, RunOptions(trace, port, baud, progress, counters))

    def benchmark(
        self,
        x: Batch,
        count: int,
        *,
        port: str | None = None,
        baud: int | None = None,
        progress: Progress | None = None,
        clip: bool = False,
        on_inputs: OnInputs = warn,
    ) -> Replayed:
        """Replay ``count`` frames inside the image of a board at full rate, and compare a checksum of all outputs with
        the emulator's.

        The first frames of ``x``, as many as the image's block RAM holds (``build`` with ``benchmark_frames``), are
        sent to the board and computed over and over. ``port``, ``baud``, ``progress``, ``clip`` and ``on_inputs`` are
        those of ``run``.

        Raises UsageError for frames that do not match and builds without a benchmark, and BitfabricError where the
        outputs differ, or the board does not answer.
        """
        from flows.engines import board

        if not self.report.benchmark_frames:
            raise UsageError(f"{self.folder} has no benchmark; build it for a board with --benchmark-frames N")
        some = chosen(self._received(x, clip, on_inputs), slice(self.report.benchmark_frames))
        return board.benchmark(self.implementation, some, count, RunOptions(None, port, baud, progress))

    def _received(self, x: Batch, clip: bool, on_inputs: OnInputs) -> Batch:
        """The frames as the model receives them; ``on_inputs`` is told of each input."""
        frames, inputs = received(self.graph, x, clip)
        for each in inputs:
            on_inputs(each)
        return frames
