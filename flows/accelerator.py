"""A finished build as an object: the same frames in, the same outputs out, whichever engine computes."""

import json
import os
import shutil
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from flows import engines, step_cache
from flows.planner import assemble
from hw import model as model_file
from hw.boards.image import Image
from hw.boards.targets import BOARD_SUFFIXES, Target, find_target
from hw.fabric.devices import Device
from hw.families import find_device
from hw.host.errors import UsageError
from hw.ir.frames import Batch
from hw.ir.graph import Graph
from hw.ir.kernel import Folding
from hw.rtl.design import RtlDesign, generate
from hw.simulation.emulator import Emulator
from hw.verification.reference import Reference

BOARD_FILE = "board.yaml"
"""The user's own board file, in the build folder."""


def keep_board_file(target: str, folder: Path) -> None:
    """Copy the board file that ``target`` names into the build folder; where it names none, leave none there."""
    kept = folder / BOARD_FILE
    if not target.endswith(BOARD_SUFFIXES):
        kept.unlink(missing_ok=True)
    elif Path(target).resolve() != kept.resolve():
        shutil.copyfile(target, kept)


class Accelerator:
    """The build in ``folder``. Raises UsageError where there is no finished one.

    ``report`` is the content of ``build.json``.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            self.report: dict[str, Any] = json.loads((self.folder / "build.json").read_text())
        except FileNotFoundError:
            hint = "go on with the same `bitfabric build` command" if (self.folder / ".steps").exists() else (
                "make one with `bitfabric build MODEL.onnx --target T -o DIR/`"
            )  # fmt: skip
            raise UsageError(f"{self.folder} holds no finished build; {hint}") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.folder}/build.json cannot be read ({error}); build again") from None
        self.model = self.folder / "lower" / "model.onnx"
        if not self.model.exists() or step_cache.sha256(self.model) != self.report["model"]["sha256"]:
            raise UsageError(f"{self.model} is not the model that was built; build again")

    @property
    def cycles(self) -> dict[str, dict[str, int | None]]:
        """``interval`` and ``latency`` in cycles, each ``estimated`` and ``simulated``."""
        return self.report["cycles"]

    @property
    def resources(self) -> dict[str, dict[str, int | None]]:
        """``lut``, ``ff``, ``bram``, ``dsp``, each ``used``, ``available`` and ``estimated``."""
        return self.report["resources"]

    @property
    def fmax_mhz(self) -> dict[str, float | None]:
        """The clock that the design reaches, ``estimated`` before synthesis and ``placed``, in MHz."""
        return self.report["fmax_mhz"]

    @property
    def bitstream(self) -> Path | None:
        """The bitstream file, where the build went that far."""
        made = self.report["bitstream"]
        return self.folder / made["path"] if made else None

    @cached_property
    def target(self) -> Target:
        """The board or device that it was built for."""
        kept = self.folder / BOARD_FILE
        return find_target(str(kept) if kept.exists() else self.report["target"])

    @cached_property
    def device(self) -> Device:
        return find_device(self.report["device"])

    @cached_property
    def graph(self) -> Graph:
        """The integer dataflow graph, not folded."""
        graph = model_file.graph(self.model)
        return graph.with_parity() if self.report.get("parity") else graph

    @cached_property
    def hardware(self) -> Graph:
        """The graph as it was built: folded, with width converters and FIFOs."""
        table = {name: Folding.of(f) for name, f in self.report["folding"].items()}
        return assemble(self.graph, table, self.report["fifos"])

    def _repr_html_(self) -> str:
        """The build in a notebook: its figures, its layers, and what was checked."""
        from flows import report

        return report.summary(self)

    def run(self, x: np.ndarray, engine: str = "emulator", trace: Path | None = None) -> Batch:
        """Outputs of a batch ``(N, *shape)`` in the model's own layout, as the QONNX model gives them.

        ``engine``: ``qonnx`` (the reference), ``finn`` (FINN's Python execution of its own dataflow graph),
        ``emulator``, ``rtl`` (Verilator), ``netlist`` (the netlist that the build simulated, fed through its host
        link), ``board`` (the board that is found on a serial port; see ``run_board``). ``trace``: a file (``.vcd``) for
        the waveform of the RTL. Raises BitfabricError for frames that do not match and engines that the build does
        not have.
        """
        known: dict[str, Callable[[np.ndarray], Batch]] = {
            "qonnx": self._qonnx,
            "finn": self._finn,
            "emulator": self._emulator,
            "rtl": partial(self._rtl, trace=trace),
            "netlist": self._netlist,
            "board": self.run_board,
        }
        if engine not in known:
            raise UsageError(f"no engine {engine}; there are {', '.join(known)}")
        if trace is not None and engine != "rtl":
            raise UsageError(f"engine {engine} has no waveform; --trace goes with --engine rtl")
        self.graph.inputs[0].check(x)
        return known[engine](x)

    def _qonnx(self, x: np.ndarray) -> Batch:
        if model_file.of_finn(self.model):
            raise UsageError("qonnx does not execute FINN's graph, which this is; use --engine finn")
        return Reference(self.model).run(x)

    def _finn(self, x: np.ndarray) -> Batch:
        from flows.finn import Engine, execute

        if model_file.of_finn(self.model):
            return execute(self.model, x)

        return Engine(self.model).run(x)

    def _emulator(self, x: np.ndarray) -> Batch:
        return Emulator(self.graph).run(x)

    def _rtl(self, x: np.ndarray, trace: Path | None) -> Batch:
        ints, clock = self.graph.encode(x), self.report["clock_mhz"]
        outputs, _ = engines.run_rtl(self.hardware, self.device.family, ints, trace, clock)
        return self.graph.decode(outputs)

    def _image(self, accelerator: RtlDesign) -> Image | None:
        target, report = self.target, self.report
        interval = report["cycles"]["interval"]["estimated"]
        return engines.board_image(target, accelerator, report["clock_mhz"], report["model"]["sha256"], interval)

    @property
    def image(self) -> Image:
        """The whole design for the board. Raises UsageError where the build is for none."""
        image = self._image(generate(self.hardware, self.device.family))
        if image is None:
            raise UsageError(f"{self.folder} has no image for a board; build it with a board as --target")
        return image

    def run_board(
        self,
        x: np.ndarray,
        port: str | None = None,
        baud: int | None = None,
        progress: engines.Progress | None = None,
        counters: dict[str, int] | None = None,
    ) -> Batch:
        """``run`` on a board that is programmed with the image. ``port``: its serial port (None: look for it).

        ``counters`` receives the board's own (see ``engines.run_board``).

        Raises BitfabricError where there is no board, where it holds another image, or where it stops answering.
        """
        link = engines.interface(self.graph, self.image)
        ints = self.graph.encode(x)
        results, found = engines.run_board(self.graph, link, port, baud, ints, progress)
        if counters is not None:
            counters |= found
        return self.graph.decode(results)

    def _netlist(self, x: np.ndarray) -> Batch:
        checked = self.report["verified"].get("netlist")
        if checked is None:
            raise UsageError(
                f"{self.folder} has no netlist that was simulated; build without --stop-after, for a device that can "
                "be placed and routed",
            )
        accelerator = generate(self.hardware, self.device.family)
        image = self._image(accelerator)
        placed, family = self.folder / checked["path"], self.device.family
        ints = self.graph.encode(x)
        return self.graph.decode(engines.run_netlist(self.hardware, family, accelerator, image, placed, ints))
