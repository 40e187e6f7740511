"""The build: model -> integer graph -> folding -> RTL -> netlist -> bitstream, each compared with the one before it.

The steps, and their files in the build folder or their checks:

========== ============================================================================================
lower      ``model.onnx``, ``graph.json``, ``graph.safetensors``, ``graph.txt``: the exact integer dataflow graph
fold       ``folding.json`` (FINN's form); cycles and resources as estimated
emulate    the hardware's graph, emulated, against the QONNX reference, on every frame (FINN's: on a few frames)
rtl        the accelerator's SystemVerilog and memory files
simulate   the RTL against the emulator to the integer, against the cycle model to the cycle
synthesise the image's netlist for the device, resources of every layer
place      the placed and routed design, its clock and critical path; for a board, the bitstream
netlist    the placed netlist of the whole image (Gowin, 7 series: the one after synthesis), through its host link,
           against the emulator
finn       FINN's own estimate for the same model, if requested
power      toggles in the netlist of the accelerator, and its estimated power, if requested
========== ============================================================================================
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows import evidence, progress
from flows.accelerator import Accelerator, keep_board_file
from flows.build_report import FILE, PAGE, BuildReport
from flows.config import STEPS, BuildConfig
from flows.design_point import DesignPoint
from flows.evidence import DRIVER
from flows.facts.design import Estimate
from flows.found import Found
from flows.implementation import Implementation
from flows.planner import Plan
from flows.samples import Samples
from flows.step_cache import StepCache, Watch, remove_folder
from flows.steps.compare_finn import CompareFinn
from flows.steps.emulate import Emulate
from flows.steps.fold import Fold
from flows.steps.lower import Lower
from flows.steps.netlist import Netlist
from flows.steps.place import Place
from flows.steps.power import CountPower
from flows.steps.rtl import Rtl
from flows.steps.simulate import Simulate
from flows.steps.synthesise import Synthesise
from hw.families import spec_of
from hw.host.errors import BitfabricError
from hw.lowering.input_types import InputTypes
from hw.model import Model
from hw.native.exclusive import exclusive
from hw.synth import nextpnr

ALL_STEPS = (*STEPS, CompareFinn.name, CountPower.name)
"""The names of all steps."""
RTL_WORK, NETLIST_WORK = 4e9, 1e7
"""Default amount of simulation, in lookup tables times cycles: a minute or two."""


def build(
    model: str | os.PathLike[str] | Model,
    target: str,
    out: str | os.PathLike[str],
    watch: Watch | None = None,
    *,
    fps: float | None = None,
    folding: str | os.PathLike[str] | None = None,
    fill: bool = False,
    clock_mhz: float | None = None,
    force_clock: bool = False,
    stop_after: str = STEPS[-1],
    frames: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    clip: bool = False,
    rtl_frames: int | None = None,
    netlist_frames: int | None = None,
    compare_finn: bool = False,
    power: bool = False,
    parity: bool = False,
    benchmark_frames: int = 0,
    exit_share: float = 1.0,
    limits: Mapping[str, int] | None = None,
    seeds: Sequence[int] = BuildConfig.seeds,
    input_type: InputTypes | None = None,
) -> Accelerator:
    """Build ``model`` (QONNX, or FINN's dataflow graph) for ``target`` in the folder ``out``; returns the accelerator.

    The options are those of BuildConfig; ``input_type`` are types of inputs that the model does not quantize
    (``hw.lowering.input_types``), which become a part of the model in the folder. ``watch`` is called for every step
    (see StepCache); None shows the steps on standard error if it is a terminal, or in the notebook. Steps whose inputs
    have not changed are not run again; their results are read from ``out``. What an earlier, longer build has left in
    ``out`` is removed. Raises BitfabricError where a step fails or two stages differ, and UsageError for invalid
    options, and for a finished build in ``out`` in which a file was edited.
    """
    config = BuildConfig(
        target,
        fps=fps,
        folding=_path(folding),
        fill=fill,
        clock_mhz=clock_mhz,
        force_clock=force_clock,
        stop_after=stop_after,
        frames=_path(frames),
        labels=_path(labels),
        clip=clip,
        rtl_frames=rtl_frames,
        netlist_frames=netlist_frames,
        compare_finn=compare_finn,
        power=power,
        parity=parity,
        benchmark_frames=benchmark_frames,
        exit_share=exit_share,
        limits=limits or {},
        seeds=tuple(seeds),
    )
    folder, opened = Path(out), Model.open(model, input_type)
    with exclusive(folder, "another build"), progress.shown(watch, folder) as told:
        evidence.check_before_build(folder, ALL_STEPS)
        work = _Build(opened, config, folder, told)
        if (folder / evidence.RECORDS).exists():
            for stale in (FILE, PAGE):
                (folder / stale).unlink(missing_ok=True)
        files = keep_board_file(target, folder)
        report = work.run()
        work.remove_stale(report)
        evidence.write_report(folder, report, work.steps.records, files)
        return Accelerator(folder, work.made)


def _path(name: str | os.PathLike[str] | None) -> Path | None:
    return None if name is None else Path(name)


class _Build:
    """One run of the steps."""

    def __init__(self, model: Model, config: BuildConfig, folder: Path, watch: Watch) -> None:
        self.opened = model
        self.model = self.opened.with_graph_of(folder / Lower.name)
        self.plan = Plan(self.model, config)
        self.config, self.folder = config, folder
        self.steps = StepCache(folder, watch)
        self.samples = Samples.open(self.model, config.frames, config.labels, config.clip)

    def run(self) -> BuildReport:
        """Run the steps up to the last requested one. ``fold`` always runs: the report contains its estimate."""
        config, run = self.config, self.steps.run
        wanted = set(STEPS[: STEPS.index(config.stop_after) + 1])
        if not self.plan.device.routable:
            wanted -= {"place"} if spec_of(self.plan.device.family).dialect else {"place", "netlist"}
        unplaced = self._unplaced() if "place" in wanted else None
        if unplaced:
            wanted -= {"place"}
        found = Found(run(Lower(self.opened)), run(Fold(self.plan)))
        if isinstance(self.steps.watch, progress.Watch):
            for warning in (*found.fold.warnings, *([unplaced] if unplaced else [])):
                self.steps.watch.warn(warning)
        self.plan.check_benchmark(found.fold)
        if "place" in wanted:
            self.plan.check_cells(found.fold)
        self.plan.check_clock(found.fold)
        _ = self.samples.frames  # Raises for frames that do not match, before anything takes time.
        self.made = made = self._implementation(found.fold)
        if "emulate" in wanted:
            found.emulate = run(Emulate(made.point, self.samples, config.rtl_frames))
        if "rtl" in wanted:
            found.rtl = run(Rtl(made))
        if "simulate" in wanted:
            frames = _affordable(found.fold, config.rtl_frames, 4, 512, RTL_WORK)
            found.simulate = run(Simulate(made, self.samples, frames))
        if "synthesise" in wanted:
            found.synthesise = run(Synthesise(made, self.plan))
        if "place" in wanted and found.synthesise:
            found.place = run(Place(made, self.plan, found.synthesise, config.seeds))
        if "netlist" in wanted and found.synthesise:
            frames = _affordable(found.fold, config.netlist_frames, 1, 32, NETLIST_WORK)
            found.netlist = run(Netlist(made, self.samples, frames, found.synthesise, found.place, unplaced))
            made.netlist = self.folder / found.netlist.path
        if config.compare_finn:
            found.finn = run(CompareFinn(self.model, found.fold.interval, found.fold.clock_mhz))
        if config.power and found.synthesise:
            frames = _affordable(found.fold, config.netlist_frames, 2, 32, NETLIST_WORK)
            found.power = run(CountPower(made, self.samples, frames, found.synthesise))
        return found.report(made, config, self.samples.inputs, self.steps.done)

    def _unplaced(self) -> str | None:
        """Why there will be no bitstream, where the tools that the device needs are no packages of Python's and are
        missing; None where they are there. Raises BitfabricError where the build is to end with place and route."""
        if not (reason := nextpnr.missing(self.plan.device)):
            return None
        if self.config.stop_after == Place.name:
            raise BitfabricError(f"{self.config.target} cannot be placed: {reason}")
        return f"no bitstream is made: {reason}"

    def _implementation(self, estimate: Estimate) -> Implementation:
        """The design for the steps after ``fold``, with the plan's own design point if ``fold`` has just chosen it."""
        config = self.config
        point = self.plan.known_point or DesignPoint.from_json(self.model, config.parity, estimate.to_json())
        return Implementation(
            self.plan.target, point, estimate.interval, self.folder, None, self.steps.products, config.benchmark_frames
        )

    def remove_stale(self, report: BuildReport) -> None:
        """Remove what an earlier build in this folder has left of steps that this one does not have."""
        for name in set(ALL_STEPS) - set(self.steps.records):
            self.steps.remove(name)
        if DRIVER not in report.products:
            remove_folder(self.folder / DRIVER)


def _affordable(estimate: Estimate, asked: int | None, least: int, most: int, work: float) -> int:
    """Number of frames to simulate: the requested one, or the one that ``work`` allows for the estimated design."""
    frames = work / (estimate.interval * max(1, estimate.resources.lut))
    return min(most, max(least, int(frames))) if asked is None else asked
