"""Layers of experts beside plain ones of as much arithmetic, and of as many weights.

``OMP_NUM_THREADS=1 python -m benchmarks.experts [ROW ...] [--seed K]`` trains fully connected networks on Fashion-MNIST
(needs ``$BITFABRIC_DATA``) and estimates their hardware at one rate; a row and seed that is in ``benchmarks/experts/``
is not measured again. ``--table`` only prints the table.

``--hardware`` trains nothing: it estimates networks of experts and plain ones of about as many weights at two rates,
and the lookup tables that experts save. Every frame takes the same time, so the rate is also the mean one.

Trainings are short: IMAGES of the training set, EPOCHS, the last of which counts. Accuracies are those of all 10,000
test images.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from flows.estimates import estimate_build
from quant import DataSet, Network, TrainConfig, create_model, export, fit, load_data
from quant.models.network import model_inputs

RESULTS = Path(__file__).parent / "experts"
SEEDS = (0, 1, 2)
MODEL, TARGET, CLOCK, FPS = "tfc-w4a4", "ulx3s-85f", 100.0, 90_000
IMAGES, EPOCHS = 20_000, 10
ROWS: dict[str, dict[str, Any]] = {
    "64-64-64": {},
    "64-64-64, 2 experts": {"experts": 2},
    "64-64-64, 4 experts": {"experts": 4},
    "64-64-64, 8 experts": {"experts": 8},
    "64-128-128": {"hidden": [64, 128, 128]},
    "64-256-256": {"hidden": [64, 256, 256]},
}
"""Options of the network, by the name of the row."""
RATES = (FPS, 350_000)
PLAIN = {"64-64-64, 2 experts": 96, "64-64-64, 4 experts": 144, "64-64-64, 8 experts": 224}
"""The widths of the second and third hidden layer that have about as many weights as the experts (91 to 98 %): the
largest multiples of 16 with at most as many."""


def measure(row: str, seed: int) -> dict[str, Any]:
    """Returns the accuracy and the estimated hardware of a row."""
    data = load_data("fashion-mnist")
    chosen = torch.randperm(len(data.x_train), generator=torch.Generator().manual_seed(0))[:IMAGES].numpy()
    data = replace(data, x_train=data.x_train[chosen], y_train=data.y_train[chosen])
    torch.manual_seed(seed)
    model = create_model(MODEL, **data.options, **ROWS[row])
    result = fit(model, data, TrainConfig(epochs=EPOCHS, seed=seed), progress=False)
    print(f"{row}, seed {seed}: {result.test_accuracy:.2%}, {result.seconds:.0f} s", flush=True)
    return {"accuracy": result.test_accuracy, **hardware(model, data, FPS)}


def hardware(model: Network, data: DataSet, fps: float) -> dict[str, int]:
    """The estimated hardware of a network at a rate."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(model, path, model_inputs(model, data.x_test[:64]))
        made = estimate_build(path, TARGET, fps=fps, clock_mhz=CLOCK)
    used = {name: made["resources"][name]["estimated"] for name in ("lut", "bram")}
    return {**used, "interval": made["cycles"]["interval"]}


def untrained(data: DataSet, options: dict[str, Any]) -> list[dict[str, int]]:
    """The estimated hardware of a new network, whose scales are those of some frames, at each of RATES."""
    torch.manual_seed(0)
    model = create_model(MODEL, **data.options, **options)
    with torch.no_grad():
        model(torch.from_numpy(model_inputs(model, data.x_train[:256])))
    return [hardware(model.eval(), data, rate) for rate in RATES]


def saving() -> list[str]:
    """The lines of a table of experts and plain networks at each of RATES."""
    data = load_data("fashion-mnist")
    heads = [f"LUT at {rate:,} frames/s | BRAM | LUT saved" for rate in RATES]
    lines = [f"| network | {' | '.join(heads)} |", "|---" + "|---:|---:|---:" * len(RATES) + "|"]

    def line(name: str, made: list[dict[str, int]], plain: list[dict[str, int]] | None = None) -> str:
        cells = [name]
        for index, each in enumerate(made):
            part = "" if plain is None else f"{100 - 100 * each['lut'] / plain[index]['lut']:.0f} %"
            cells += [f"{each['lut']:,}", str(each["bram"]), part]
        return f"| {' | '.join(cells)} |"

    for row, width in PLAIN.items():
        plain = untrained(data, {"hidden": [64, width, width]})
        lines += [line(f"64-{width}-{width}", plain), line(row, untrained(data, ROWS[row]), plain)]
    return lines


def place(row: str, seed: int) -> Path:
    """The file of a row and seed."""
    return RESULTS / f"{row.replace(', ', '-').replace(' ', '-')}-{seed}.json"


def table() -> list[str]:
    """The lines of the table, of the seeds that are there."""
    lines = ["| network | accuracy, % | LUT, estimated | BRAM, estimated | cycles |", "|---|---|---|---|---|"]
    for row in ROWS:
        made = [json.loads(place(row, seed).read_text()) for seed in SEEDS if place(row, seed).exists()]
        if made:
            accuracy = [100 * each["accuracy"] for each in made]
            spread = f" ± {stdev(accuracy):.2f}" if len(made) > 1 else ""
            cells = [f"{mean(each[key] for each in made):,.0f}" for key in ("lut", "bram", "interval")]
            lines.append(f"| {row} | {mean(accuracy):.2f}{spread} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("rows", nargs="*", metavar="ROW", help="names of rows (default: all)")
    parser.add_argument("--seed", type=int, help=f"one of the seeds (default: {', '.join(map(str, SEEDS))})")
    parser.add_argument("--table", action="store_true", help="only print the table")
    parser.add_argument("--hardware", action="store_true", help="only estimate experts beside plain networks")
    given = parser.parse_args()
    if given.hardware:
        print("\n".join(saving()))
        return
    for row in [] if given.table else given.rows or ROWS:
        for seed in SEEDS if given.seed is None else (given.seed,):
            if not place(row, seed).exists():
                RESULTS.mkdir(exist_ok=True)
                content = measure(row, seed)
                place(row, seed).write_text(json.dumps(content, indent=1) + "\n")
    print("\n".join(table()))


if __name__ == "__main__":
    main()
