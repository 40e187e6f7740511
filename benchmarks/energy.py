"""The energy that a search estimates against the transitions that netlists count.

Small networks for the digits, trained for a few epochs, each folded for a number of cycles a frame: dense and
convolutional ones, with branches, of 1 to 8 bits, pruned, from one cycle a frame to thousands. Each is synthesised for
each family, and its netlist is simulated with the first test frames, as ``bitfabric build --power`` does. By layer the
transitions of pins are counted, and compared with what ``hw.folding.energy`` estimates from the resources and cycles.

What was counted is kept in ``tests/measured/energy/counts.json``, so that an interrupted call goes on where it was;
``--count N`` counts N more at most. For each role of nodes the table has the transitions for each lookup table and
flip-flop in a cycle, from which the constants of ``hw.folding.energy`` are taken; for each family the rank correlation
and the mean error of whole networks, those that the constants were not fitted to apart.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks import report
from flows.config import BuildConfig
from flows.planner import Plan
from flows.simulation import simulate
from hw.families import families, find_family, reference_device
from hw.folding.energy import BLOCK, MULTIPLIER, RATES
from hw.model import Model
from hw.rtl.design import generate, instances
from hw.synth import activity, yosys
from tests.measured import energy as measured

FRAMES, EPOCHS = 32, 4


@dataclass(frozen=True)
class Case:
    """A network and the cycles a frame that it is folded for; ``held_out``: the model is not fitted to it."""

    model: str
    cycles: int
    options: Mapping[str, Any] = field(default_factory=dict)
    pruned: float = 0.0
    held_out: bool = False


CASES = {
    "dense w4a4, 256 cycles": Case("tfc-w4a4", 256, {"hidden": [16, 16]}),
    "dense w4a4, 16 cycles": Case("tfc-w4a4", 16, {"hidden": [16, 16]}),
    "dense w2a2, 1 cycle": Case("tfc-w2a2", 1, {"hidden": [12, 8]}),
    "dense w1a1, 64 cycles": Case("tfc-w1a1", 64, {"hidden": [32, 32]}, held_out=True),
    "dense w8a8, 64 cycles": Case("tfc-w8a8", 64, {"hidden": [16, 12]}, held_out=True),
    "dense w4a4, half zeros, 8 cycles": Case("tfc-w4a4", 8, {"hidden": [16, 12]}, 0.5),
    "convolutions w4a4, 2000 cycles": Case("vgg-small-w4a4", 2000, {"width": 0.03125}),
    "convolutions w2a2, 300 cycles": Case("vgg-small-w2a2", 300, {"width": 0.03125}),
    "dense w4a4 of mixed widths, 100 cycles": Case(
        "tfc-w4a4", 100, {"hidden": [24, 16], "weight_widths": [4, 2, 8], "activation_widths": [2, 4]}, held_out=True
    ),
    "dense ternary, 4 cycles": Case(
        "tfc-w4a4", 4, {"hidden": [16, 8], "weight_widths": ["ternary"] * 3}, held_out=True
    ),
    "branches w4a4, 1000 cycles": Case("resnet8-w4a4", 1000, {"width": 0.125}, held_out=True),
    "convolutions w1a1, 600 cycles": Case("vgg-small-w1a1", 600, {"width": 0.0625}, held_out=True),
}


def trained(case: Case, folder: Path) -> tuple[Model, Any]:
    """The network's model file and frames of the test set."""
    from quant import Pruning, TrainConfig, train_run

    prune = Pruning(case.pruned) if case.pruned else None
    train_run(
        case.model, folder, TrainConfig(epochs=EPOCHS, prune=prune), data="digits", model_options=dict(case.options),
        progress=False,
    )  # fmt: skip
    return Model.open(folder / "model.onnx"), np.load(folder / "x_test.npy")[:FRAMES]


def counted(case: Case, family: str, model: Model, frames: Any) -> dict[str, Any]:
    """The network on a family: by layer its estimated and counted resources, cycles and transitions a frame."""
    device = reference_device(find_family(family))
    clock = device.clock_mhz
    plan = Plan(model, BuildConfig(device.name, fps=clock * 1e6 / case.cycles, clock_mhz=clock))
    hardware, graph = plan.point.hardware, plan.graph
    with TemporaryDirectory() as name:
        design = generate(hardware, device.family)
        made = yosys.synthesise(design, device, Path(name))
        below, parts = activity.design(made.netlist, device.family, design.inputs, design.outputs)
        _, result = simulate(hardware, below, graph.encode(frames))
    names, places = activity.names(parts), instances(hardware)
    layers = []
    for node in hardware:
        place = places[node]
        used = made.instances.get(place)
        part = parts.get(place)
        layers.append({
            "name": node.name, "op": node.kernel.op, "role": node.kernel.role, "cycles": node.kernel.interval,
            "estimated": list(vars(node.kernel.resources(device.family)).values()),
            "counted": list(vars(used).values()) if used else [0] * 4,
            "clocked": part.clocked if part else 0,
            **{what: (result.counters[names[place, what]] / FRAMES if part else 0.0) for what in activity.COUNTS},
        })  # fmt: skip
    rest = parts.get("")
    return {
        "family": family,
        "held_out": case.held_out,
        "interval": max(node.kernel.interval for node in hardware),
        "rest": result.counters[names["", "transitions"]] / FRAMES if rest else 0.0,
        "rest_clocked": rest.clocked if rest else 0,
        "layers": layers,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1 << 30, help="netlists that are counted at most (default: all)")
    parser.add_argument("--family", nargs="*", choices=list(families()), default=list(families()))
    options = parser.parse_args()
    known = measured.read()
    left = options.count
    for name, case in CASES.items():
        done = {each["family"] for each in known if each["case"] == name}
        missing = [family for family in options.family if family not in done][:left]
        if not missing:
            continue
        left -= len(missing)
        with TemporaryDirectory() as folder:
            model, frames = trained(case, Path(folder))
            for family in missing:
                known.append({"case": name, **counted(case, family, model, frames)})
                measured.FILE.parent.mkdir(exist_ok=True)
                measured.FILE.write_text("[\n" + ",\n".join(json.dumps(each) for each in known) + "\n]\n")
                print(name, family, flush=True)
    show(measured.networks())
    return 0


def show(networks: Sequence[measured.Network]) -> None:
    """Prints the proxy against what was counted: by network, by family, and by role of nodes."""
    rows: list[list[object]] = [
        [each.case, each.family, "no" if each.held_out else "yes", round(each.estimated), round(each.counted),
         f"{each.estimated / each.counted - 1:+.1%}"] for each in networks
    ]  # fmt: skip
    columns = ["network", "family", "fitted", "estimated", "counted", "error"]
    report.show("transitions of pins a frame, at the full rate", columns, rows)
    groups: dict[tuple[str, str], list[measured.Network]] = {}
    for each in networks:
        for name in ("all", "held out" if each.held_out else "fitted"):
            groups.setdefault((each.family, name), []).append(each)
    rows = []
    for (family, name), mine in sorted(groups.items()):
        guess, true = (np.array([getattr(each, key) for each in mine]) for key in ("estimated", "counted"))
        rank = f"{spearmanr(guess, true).statistic:.3f}" if len(mine) > 2 else "-"
        rows.append([family, name, len(mine), rank, f"{np.abs(guess / true - 1).mean():.1%}"])
    report.show("the proxy of networks", ["family", "networks", "count", "rank correlation", "mean error"], rows)
    rows = []
    for role in RATES:
        layers = [layer for each in networks for layer in each.layers if layer.part.role == role]
        if layers:
            rates = [
                (each.transitions / each.part.cycles - BLOCK * each.part.used.bram - MULTIPLIER * each.part.used.dsp)
                / max(1, each.part.used.lut + each.part.used.ff) for each in layers
            ]  # fmt: skip
            errors = [abs(each.part.transitions / each.transitions - 1) for each in layers if each.transitions]
            rows.append([role, len(layers), RATES[role], f"{np.median(rates):.2f}", f"{min(rates):.2f}",
                         f"{max(rates):.2f}", f"{np.mean(errors):.0%}"])  # fmt: skip
    columns = ["role", "nodes", "constant", "counted, median", "least", "most", "mean error of a node"]
    report.show("transitions for each lookup table and flip-flop in a cycle", columns, rows)


if __name__ == "__main__":
    sys.exit(main())
