"""Lookup networks beside their limits: accuracy, cells and clock. ``python -m benchmarks.lookup [CASE ...]`` trains
what is missing, builds it and prints the table; ``--table`` only prints.

Every case is a data set, a network and a device, with limits on the accuracy (mean over the seeds, which are fixed
here), the logic cells and the clock, at one frame a cycle. Nothing is chosen on test frames. Inputs are the raw pixels;
encoder, popcount and arg-max, which is added to each network, are counted. The networks of all seeds are synthesised;
that of the first is placed (``--place all``: all are), out of context, with one seed of nextpnr. Beside them are
networks of one-bit weights for the same frames: ``digits-tfc`` at one frame a cycle, with matrices in logic where that
is cheaper (``constant_matrix``), and ``digits-tfc-folded`` at a frame in 75 cycles.

``--images`` builds images of seed 0 in ``--runs`` for boards, with the board's shell, verified to the netlist: the
placed one, or for Gowin that behind synthesis.
Results are kept in ``benchmarks/lookup/``, a file for each case. MNIST and Fashion-MNIST need ``$BITFABRIC_DATA``.
``python -m benchmarks.published mnist`` prints what others have published, by convention.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnx import TensorProto, helper

from benchmarks import board_images, report
from benchmarks.conventions import Convention, table
from flows.config import BuildConfig
from flows.planner import Plan
from hw.fabric.devices import Device
from hw.model import Model
from hw.rtl.design import generate
from hw.synth.nextpnr import place_and_route
from hw.synth.yosys import synthesise
from hw.timing.cycles import steady_state
from quant import TrainConfig, train_run

RESULTS = Path(__file__).parent / "lookup"
IMAGES_FILE = RESULTS / "images.json"


@dataclass(frozen=True)
class Case:
    """A network for a data set, on a device.

    ``accuracy`` in percent, ``cells`` and ``clock_mhz`` are its limits; None: there is none. ``cycles`` are those of a
    frame, ``settings`` those of the training.
    """

    model: str
    data: str
    target: str
    accuracy: float | None
    cells: int | None
    clock_mhz: float
    seeds: int = 3
    cycles: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def encoder(self) -> str:
        """What enters, and what is counted."""
        return f"raw pixels of {({'digits': 5}).get(self.data, 8)} bits, encoder counted"

    @property
    def convention(self) -> Convention:
        """What the rows of its table have in common."""
        return Convention(self.data, self.encoder, f"{self.target}, out of context")


_IMAGES = {"epochs": 24, "batch_size": 128, "augment": "shift"}
CASES = {
    "digits": Case("lookup-s", "digits", "lfe5u-85f", 97.0, 4500, 120.0, seeds=10),
    "digits-small": Case("lookup-s", "digits", "ice40up5k", 95.0, 5280, 20.0, seeds=10, options={"tables": 700}),
    "digits-tfc": Case("tfc-w1a1", "digits", "lfe5u-85f", None, None, 75.0),
    "digits-tfc-folded": Case("tfc-w1a1", "digits", "lfe5u-85f", None, None, 75.0, cycles=75),
    "mnist": Case("lookup-m", "mnist", "lfe5u-85f", 98.1, 6000, 120.0, settings=_IMAGES),
    "mnist-large": Case("lookup-l", "mnist", "lfe5u-85f", 98.5, 11_500, 100.0, settings={**_IMAGES, "epochs": 48}),
    "fashion": Case(
        "lookup-l",
        "fashion-mnist",
        "lfe5u-85f",
        88.0,
        20_000,
        100.0,
        options={"bits": 3, "tables": 6500},
        settings=_IMAGES,
    ),
}


@dataclass(frozen=True)
class Picture:
    """An image of the network of a case, seed 0, for a board."""

    case: str
    board: str
    clock_mhz: float


IMAGES = (
    Picture("digits", "ulx3s-85f", 75.0),
    Picture("digits-small", "icebreaker", 20.0),
    Picture("digits-small", "tangnano9k", 45.0),
)


def train(case: Case, seed: int, folder: Path) -> dict[str, Any]:
    """Train a network of a case and return its test accuracy and the seconds of the training."""
    config = TrainConfig(seed=seed, **case.settings)
    run = train_run(case.model, folder, config, data=case.data, model_options=case.options, progress=False, resume=True)
    return {"accuracy": 100 * run["accuracy"]["test"], "seconds": run["seconds"]}


def with_arg_max(path: Path, folder: Path) -> Path:
    """The model of a network, (1, classes) scores, with the number of the highest one (1,) instead of them."""
    model = onnx.load(path)
    (scores,) = model.graph.output
    model.graph.node.append(helper.make_node("ArgMax", [scores.name], ["class"], axis=1, keepdims=0))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("class", TensorProto.INT64, [1]))
    made = folder / "classifier.onnx"
    onnx.save(model, made)
    return made


def hardware(case: Case, path: Path, folder: Path, place: bool) -> dict[str, Any]:
    """Cells and cycles of a network with its arg-max, and the clock where it is placed."""
    fps = case.clock_mhz * 1e6 / case.cycles
    plan = Plan(Model.open(with_arg_max(path, folder)), BuildConfig(case.target, fps=fps, clock_mhz=case.clock_mhz))
    device: Device = plan.device
    made = plan.point.hardware
    netlist = synthesise(generate(made, device.family), device, folder)
    pace = steady_state(made)
    found: dict[str, Any] = {
        "arg_max": True,
        "cells": netlist.resources.lut,
        "ff": netlist.resources.ff,
        "bram": netlist.resources.bram,
    }
    found |= {"interval": pace.interval, "latency": pace.latency}
    if place:
        placed = place_and_route(netlist.netlist, device, folder, case.clock_mhz, seeds=(1,))
        found |= {"placed": placed.resources.lut, "fmax_mhz": placed.fmax_mhz}
    return found


def line(name: str, case: Case, results: Mapping[str, dict[str, Any]]) -> dict[str, object] | None:
    """A row of the table; None before anything was trained. In parentheses: the networks that were synthesised."""
    found = list(results.values())
    if not found:
        return None
    reached = [each["accuracy"] for each in found]
    seconds = [each["seconds"] for each in found if "seconds" in each]
    built = [each for each in found if "arg_max" in each] or [each for each in found if "cells" in each]
    placed = [each for each in built if "placed" in each]
    rate = min((case.clock_mhz, *(each["fmax_mhz"] for each in placed))) * 1e6 / built[0]["interval"] if built else 0
    cells = mean(each["placed"] for each in placed) if placed else mean(each["cells"] for each in built) if built else 0
    return {
        "case": name,
        "network": case.model,
        "seeds": f"{len(found)} of {case.seeds}",
        "test %": f"{mean(reached):.2f}" + (f" +- {stdev(reached):.2f}" if len(reached) > 1 else ""),
        "limit %": case.accuracy or "-",
        "trained in s": f"{min(seconds):.0f} to {max(seconds):.0f}" if seconds else "-",
        "arg-max": "-" if not built else "counted" if "arg_max" in built[0] else "not counted",
        "cells after Yosys": f"{mean(each['cells'] for each in built):,.0f} ({len(built)})" if built else "-",
        "placed": " ".join(f"{each['placed']:,}" for each in placed) or "-",
        "limit": case.cells or "-",
        "MHz": " ".join(f"{each['fmax_mhz']:.0f}" for each in placed) or "-",
        "of": f"{case.clock_mhz:g}",
        "cycles": f"{built[0]['interval']}, {built[0]['latency']}" if built else "-",
        "frames/s per cell": round(rate / cells) if cells else "-",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=", ".join(CASES))
    parser.add_argument("--runs", type=Path, help="folder of the trained networks (default: they are not kept)")
    parser.add_argument("--seeds", type=int, help="only this many seeds")
    parser.add_argument("--place", choices=("first", "all", "none"), default="first", help="networks that are placed")
    parser.add_argument("--table", action="store_true", help="train and build nothing")
    parser.add_argument("--images", nargs="*", metavar="BOARD", help="build these images (default: all) instead")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.cases if name not in CASES]:
        parser.error(f"no case {unknown[0]}; there are {', '.join(CASES)}")
    if arguments.images is not None:
        if arguments.runs is None:
            parser.error("--images needs --runs, a folder for the trained networks and the images")
        if unknown := sorted(set(arguments.images) - {picture.board for picture in IMAGES}):
            parser.error(f"no image for {unknown[0]}; there are {', '.join(picture.board for picture in IMAGES)}")
        build_images(arguments.runs, arguments.images)
        return
    lines: dict[Convention, list[tuple[Convention, dict[str, object]]]] = {}
    for name in arguments.cases or CASES:
        case, path = CASES[name], RESULTS / f"{name}.json"
        results: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
        for seed in () if arguments.table else range(min(case.seeds, arguments.seeds or case.seeds)):
            place = arguments.place == "all" or (arguments.place == "first" and seed == 0)
            found = results.get(str(seed), {})
            if ("placed" if place else "cells") in found and "arg_max" in found:
                continue
            with TemporaryDirectory() as scratch:
                run = (arguments.runs or Path(scratch)) / f"{name}-{seed}"
                found = train(case, seed, run)  # a run that is there is not trained again
                found |= hardware(case, run / "model.onnx", Path(scratch), place)
            results[str(seed)] = found
            _keep(path, results)
            print(f"{name} {seed}: {found}", flush=True)
        if made := line(name, case, results):
            lines.setdefault(case.convention, []).append((case.convention, made))
    for rows in lines.values():
        report.show(*table("Lookup networks, and others", rows))
    show_images()


def build_images(runs: Path, boards: Sequence[str]) -> None:
    """Build the images for some boards or for all, and keep what they take."""
    for picture in IMAGES:
        if boards and picture.board not in boards:
            continue
        run, clock = runs / f"{picture.case}-0", picture.clock_mhz
        train(CASES[picture.case], 0, run)  # a run that is there is not trained again
        folder = runs / "images" / picture.board
        model = with_arg_max(run / "model.onnx", run)
        found = board_images.build_image(model, picture.board, folder, fps=clock * 1e6, clock_mhz=clock)
        results = json.loads(IMAGES_FILE.read_text()) if IMAGES_FILE.exists() else {}
        _keep(IMAGES_FILE, results | {picture.board: found})
    show_images()


def show_images() -> None:
    """Print the table of each board."""
    results = json.loads(IMAGES_FILE.read_text()) if IMAGES_FILE.exists() else {}
    for picture in IMAGES:
        if found := results.get(picture.board):
            case = CASES[picture.case]
            convention = Convention(case.data, case.encoder, f"{picture.board}, placed, with the board's shell")
            line = board_images.row(f"{picture.case}: {case.model}", found)
            report.show(*table("Images", [(convention, line)]))


def _keep(path: Path, results: Mapping[str, dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(partial, path)


if __name__ == "__main__":
    main()
