"""The lookup tables that a search estimates against those of synthesis, within bands of a factor of 2.

Random networks for the digits: ``tfc`` with two hidden layers of several sizes, widths of 1, 2, ternary, 4 and 8 bits
for the weights of each layer and of 1, 2, 4 and 8 for each activation, untrained. In each band of estimates there are
CANDIDATES of them, spread evenly. Each is exported, planned as by ``bitfabric build`` for the rate, with FIFOs and
without channels that do nothing, and its core is synthesised for ECP5. Against the counted lookup tables are held the
estimate of the cost table, which a search goes by before a training (``flows.explore.cost_table``), and that of
``bitfabric estimate``.

What was synthesised is kept in ``benchmarks/explore/rank.json``, so that an interrupted call goes on where it was;
``--count N`` synthesises N more at most. Ends with status 1 where a band is complete and beyond a limit.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks import report
from flows.config import BuildConfig
from flows.explore.cost_table import CostTable
from flows.explore.variants import Variants, new_network, new_variants
from flows.planner import Plan
from hw.families import find_device
from hw.model import Model
from hw.rtl.design import generate
from hw.synth.yosys import synthesise

FILE = Path(__file__).with_name("explore") / "rank.json"
MODEL, TARGET, FPS = "tfc-w4a4", "lfe5u-25f", 100_000
HIDDEN = (8, 6), (12, 8), (16, 12), (24, 16)
WEIGHTS: tuple[Any, ...] = (1, 2, "ternary", 4, 8)
ACTIVATIONS = 1, 2, 4, 8
POOL = 400
"""Random networks of which candidates are chosen."""
BANDS = (400, 800), (900, 1800)
CANDIDATES = 15
CORRELATION, ERROR = 0.95, 0.10
"""The least rank correlation and the largest mean error of a band."""


def frames() -> np.ndarray:
    from quant import load_data

    return load_data("digits", 0).x_train[:64]


def pool(x: np.ndarray) -> Iterator[dict[str, Any]]:
    """Random networks with the estimates of the cost table."""
    drawn, table = random.Random(0), CostTable(TARGET, FPS)
    variants: dict[tuple[int, int], Variants] = {}
    for _ in range(POOL):
        hidden = drawn.choice(HIDDEN)
        if hidden not in variants:
            variants[hidden] = new_variants(MODEL, {"hidden": list(hidden)}, x, WEIGHTS)
        held = variants[hidden]
        weights: dict[str, Any] = {name: drawn.choice(WEIGHTS) for name in held.layers}
        acts = {name: drawn.choice(ACTIVATIONS) for name in held.activations}
        cost = table.cost(held.graph(weights, acts))
        if not cost.excess:
            yield {
                "hidden": list(hidden), "weight_widths": list(weights.values()),
                "activation_widths": list(acts.values()), "proxy": cost.lut,
            }  # fmt: skip


def candidates(x: np.ndarray) -> list[dict[str, Any]]:
    """The networks of all bands, spread evenly over the estimates of each."""
    every = sorted(pool(x), key=lambda each: (each["proxy"], repr(each)))
    found = []
    for low, high in BANDS:
        inside = [each for each in every if low <= each["proxy"] < high]
        places = np.linspace(0, len(inside) - 1, CANDIDATES).round().astype(int)
        found += [{"band": f"{low} to {high}", **inside[i]} for i in dict.fromkeys(places)]
    return found


def measured(case: dict[str, Any], x: np.ndarray) -> dict[str, int]:
    """The lookup tables of a network, as planned for the rate: estimated, and counted by synthesis."""
    from quant import export

    options = {name: case[name] for name in ("hidden", "weight_widths", "activation_widths")}
    with TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        export(new_network(MODEL, options, x), path)
        plan = Plan(Model.open(path), BuildConfig(TARGET, fps=FPS))
        hardware, device = plan.point.hardware, find_device(TARGET)
        made = synthesise(generate(hardware, device.family), device, Path(name) / "synthesis")
    return {"estimated": plan.estimate().resources.lut, "counted": made.resources.lut}


def show(cases: list[dict[str, Any]]) -> bool:
    """Prints the bands; returns whether those that are complete are within the limits."""
    rows, good = [], True
    for band in dict.fromkeys(each["band"] for each in cases):
        wanted = [each for each in cases if each["band"] == band]
        done = [each for each in wanted if "counted" in each]
        for name in ("proxy", "estimated") if len(done) > 2 else ():
            guess, true = (np.array([each[key] for each in done]) for key in (name, "counted"))
            rank, error = float(spearmanr(guess, true).statistic), float(np.abs(guess / true - 1).mean())
            rows.append([band, {"proxy": "cost table", "estimated": "estimate"}[name], f"{len(done)} of {len(wanted)}",
                         f"{rank:.3f}", f"{error:.1%}", f"{(guess / true - 1).mean():+.1%}"])  # fmt: skip
            good = good and (len(done) < len(wanted) or (rank >= CORRELATION and error <= ERROR))
    columns = ["LUT, estimated", "by", "networks", f"rank correlation (>= {CORRELATION})",
               f"mean error (<= {ERROR:.0%})", "bias"]  # fmt: skip
    report.show(f"{MODEL} on the digits, {TARGET} at {FPS:,} frames/s: estimates against synthesis", columns, rows)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="networks that are synthesised at most (default: all)")
    options = parser.parse_args()
    x = frames()
    cases = json.loads(FILE.read_text()) if FILE.is_file() else candidates(x)
    left = [each for each in cases if "counted" not in each]
    drawn = random.Random(1).sample(left, len(left))  # so that a part is of all bands
    for case in drawn[: options.count]:
        case |= measured(case, x)
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text("[\n" + ",\n".join(json.dumps(each) for each in cases) + "\n]\n")
        print({name: case[name] for name in ("hidden", "proxy", "estimated", "counted")}, flush=True)
    return int(not show(cases))


if __name__ == "__main__":
    sys.exit(main())
