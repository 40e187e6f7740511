"""Finished networks of a study: trained in full with several seeds, built, and measured.

The study's folder holds ``finished/0042/``: ``epochs-E/seed-S/`` is the run folder of each training, ``build/`` the
build, and ``finished.json`` what was measured. The test set is used here only, and chooses nothing: of the seeds, the
network with the best accuracy on validation frames is built.
"""

import json
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.build_report import BuildReport
from flows.config import STEPS
from flows.explore.settings import Settings
from flows.explore.space import Params
from flows.explore.trial import Trials
from flows.explore.tried import Tried
from flows.facts.design import SHELL
from flows.facts.power import Power
from hw.boards.targets import find_target
from hw.fabric.energy import EnergyModel
from hw.host.errors import BitfabricError, UsageError
from hw.host.files import make_folder, read_json, using, write_json
from hw.native.exclusive import exclusive
from quant.errors import QuantError

FOLDER, FILE = "finished", "finished.json"
"""Names of the folder in a study's, and of the file of each network in it."""

Told = Callable[[str], None]
"""What is called with a line about each step."""


@dataclass(frozen=True)
class SeedRun:
    """A training with one seed: its accuracies, and its run folder, relative to the network's."""

    seed: int
    validation: float
    test: float
    folder: str


@dataclass(frozen=True)
class Measured:
    """What a build measured.

    ``resources`` (lut, ff, bram, dsp) are those of the synthesised netlist without a board's shell, None before
    synthesis; ``image`` those of the whole image. ``fmax_mhz`` is None before place and route. ``test`` is the accuracy
    of the integers in the hardware on ``frames`` test frames, None if they were not emulated. ``mismatches`` of all
    engines, which float32 rounding of the reference ``explained``; None where no engine ran. ``energy``: of a frame
    at the study's rate, from the counted toggles of the netlist; None where it is no objective, and before synthesis.
    """

    interval: int
    latency: int
    fps: float
    resources: Mapping[str, int] | None
    image: Mapping[str, int] | None
    fmax_mhz: float | None
    test: float | None
    frames: int
    mismatches: int | None
    explained: int | None
    bitstream: str | None
    energy: float | None = None


@dataclass(frozen=True)
class Finished:
    """A finished network of a study.

    ``estimated``: what chose it: the accuracy on validation frames in the search, and the hardware as estimated then.
    ``runs``: the trainings for ``epochs``. ``built``: the seed of the network that was built, up to ``stop_after``;
    None where nothing was. ``why``: what failed, or "".
    """

    number: int
    params: Params
    epochs: int
    stop_after: str
    estimated: Mapping[str, float]
    runs: tuple[SeedRun, ...]
    built: int | None
    measured: Measured | None
    why: str

    @property
    def test(self) -> float | None:
        """The mean accuracy on the test set; None without a training."""
        return statistics.mean(each.test for each in self.runs) if self.runs else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of the accuracy on the test set; None with fewer than two seeds."""
        return statistics.stdev(each.test for each in self.runs) if len(self.runs) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """The network as values of JSON, with ``test`` and ``spread``."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content | {"test": self.test, "spread": self.spread}

    @classmethod
    def read(cls, path: Path) -> "Finished":
        """The network of a file. Raises BitfabricError for one that cannot be read."""
        try:
            content = read_json(path)
            for name in ("test", "spread"):
                content.pop(name)
            runs = tuple(SeedRun(**each) for each in content.pop("runs"))
            measured = content.pop("measured")
            return cls(**content, runs=runs, measured=None if measured is None else Measured(**measured))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BitfabricError(f"{path} cannot be read ({error}); remove it, and finish the study again") from None


def read_finished(folder: Path) -> list[Finished]:
    """The finished networks of the study in ``folder``, by number."""
    return [Finished.read(path) for path in sorted((folder / FOLDER).glob(f"*/{FILE}"))]


@dataclass(frozen=True)
class Finish:
    """How networks are finished: ``seeds`` trainings, from the study's own seed on, for ``epochs``; built up to the
    step ``stop_after``. Raises UsageError for values out of range."""

    seeds: int
    epochs: int
    stop_after: str

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise UsageError(f"--seeds {self.seeds} is not at least 1")
        if self.epochs < 1:
            raise UsageError(f"--full-epochs {self.epochs} is not at least 1")
        if self.stop_after not in STEPS:
            raise UsageError(f"no step {self.stop_after}; the steps are {', '.join(STEPS)}")


class Finisher:
    """Finishes networks of the study in ``folder``. What an interrupted call has done is not repeated."""

    def __init__(self, folder: Path, settings: Settings, how: Finish, told: Told) -> None:
        self.folder, self.settings, self.how, self.told = folder, settings, how, told
        self._trials: Trials | None = None

    def finish(self, networks: Sequence[Tried]) -> list[Finished]:
        """Trains, builds and measures networks. One that fails does not end the others.

        Raises BitfabricError where another process is at work in the folder, or cannot write there.
        """
        with exclusive(self.folder / FOLDER, "another --finish", "make the study's folder writable"):
            return [self._finish(each) for each in networks]

    def place(self, network: Tried) -> Path:
        """The folder of a network."""
        return self.folder / FOLDER / f"{network.number:04}"

    def _finish(self, network: Tried) -> Finished:
        place, how = self.place(network), self.how
        estimated = {"accuracy": float(network.accuracy or 0.0), **network.hardware}
        runs: list[SeedRun] = []
        built, measured, why = None, None, ""
        try:
            for seed in range(self.settings.seed, self.settings.seed + how.seeds):
                run = self.train(network, seed)
                runs += [run]
            built = max(runs, key=lambda each: each.validation).seed
            measured = self._build(network, place, next(each for each in runs if each.seed == built))
        except (BitfabricError, QuantError, OSError) as error:
            why = (str(error) or type(error).__name__).splitlines()[0]
            self.told(f"number {network.number}: failed: {why}")
        found = Finished(
            network.number, network.params, how.epochs, how.stop_after, estimated, tuple(runs), built, measured, why
        )
        write_json(make_folder(place) / FILE, found.to_json(), "make the study's folder writable")
        return found

    def train(self, network: Tried, seed: int) -> SeedRun:
        """The training of a network with a seed, which is not repeated."""
        if self._trials is None:
            self._trials = Trials(self.settings)
        run = self.place(network) / f"epochs-{self.how.epochs}" / f"seed-{seed}"
        whole = seed == self.settings.seed and self.how.epochs == self.settings.epochs[-1]
        if whole and network.folder is not None and not run.exists():
            _copy(network.folder, run)  # the search has trained it already
        unfinished = (run / ".checkpoint" / "last.ckpt").is_file()
        result = self._trials.run(network.params, run, self.how.epochs, seed, resume=unfinished)
        found = SeedRun(
            seed,
            float(result["fit"]["validation_accuracy"]),
            float(result["accuracy"]["test"]),
            str(run.relative_to(self.place(network))),
        )
        again = " (was there)" if result["cached"] else ""
        self.told(f"number {network.number}: seed {seed} trained{again}, test accuracy {found.test:.2%}")
        return found

    def _build(self, network: Tried, place: Path, run: SeedRun) -> Measured:
        from flows import build

        folder, settings = place / run.folder, self.settings
        netlist = STEPS.index(self.how.stop_after) >= STEPS.index("synthesise")
        made = build(
            folder / "model.onnx", settings.target, place / "build",
            **settings.build_options(), power=netlist and settings.objectives[1] == "energy",
            frames=folder / "x_test.npy", labels=folder / "y_test.npy", stop_after=self.how.stop_after,
        )  # fmt: skip
        self.told(f"number {network.number}: built up to {self.how.stop_after}")
        device = find_target(settings.target).device
        return measured(made.report, device.energy, settings.rate(network.hardware))


def measured(report: BuildReport, energy: EnergyModel | None, fps: float) -> Measured:
    """What a build measured; its energy, if it was counted, by the model of the device at a rate."""
    image = None
    if report.resources.lut.used is not None:
        image = {name: int(usage.used or 0) for name, usage in report.resources}
    shell = next((each.resources for each in report.layers if each.name == SHELL), None)
    emulated, engines = report.verified.get("emulator"), list(report.verified.values())
    return Measured(
        interval=report.cycles.interval.estimated,
        latency=report.cycles.latency.estimated,
        fps=report.fps,
        resources=None if image is None else {
            name: count - (getattr(shell, name) if shell else 0) for name, count in image.items()
        },
        image=image,
        fmax_mhz=report.fmax_mhz.placed,
        test=emulated.accuracy if emulated else None,
        frames=emulated.frames if emulated else 0,
        mismatches=sum(each.mismatches for each in engines) if engines else None,
        explained=sum(each.explained for each in engines) if engines else None,
        bitstream=report.bitstream.path if report.bitstream else None,
        energy=None if report.power is None else counted_energy(report, report.power, energy, fps),
    )  # fmt: skip


def counted_energy(report: BuildReport, power: Power, energy: EnergyModel | None, fps: float) -> float:
    """The energy of a frame at a rate, from the activity that was counted at the full rate."""
    cycles = report.clock_mhz * 1e6 / fps
    waiting = max(0.0, cycles - report.cycles.interval.estimated)
    clocked = sum(layer.clocked for layer in power.layers)
    if energy is None:
        return power.transitions + 2 * waiting * clocked
    layers = sum(layer.microjoules or 0.0 for layer in power.layers)
    rest = energy.dynamic_pj(waiting, clocked, 0, 0) + energy.base_pj(cycles, report.clock_mhz)
    return layers + rest / 1e6


def _copy(run: Path, out: Path) -> None:
    """Copies a run folder; an interrupted copy leaves no ``out``."""
    work = out.with_name(f".{out.name}")
    with using(out, "make the study's folder writable"):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for each in sorted(run.rglob("*")):  # copytree would go on after an error, and list them all
            parts = each.relative_to(run).parts
            if parts[0] == ".checkpoint" or any(part.startswith(".partial-") for part in parts):
                continue
            if each.is_dir():
                work.joinpath(*parts).mkdir()
            else:
                shutil.copy2(each, work.joinpath(*parts))
        work.rename(out)
