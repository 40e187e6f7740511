"""An early exit beside its own first head alone, the whole network, and a uniformly smaller one of as many LUT.

``OMP_NUM_THREADS=1 python -m benchmarks.early_exit [ROW ...] [--seed K]`` trains the networks on Fashion-MNIST (needs
``$BITFABRIC_DATA``) and estimates their hardware at one rate; a row and seed that is in ``benchmarks/early_exit/`` is
not measured again. ``--table`` only prints the tables. ``--hardware`` trains nothing: it estimates new networks, their
exits at each share, and the width with about as many LUT, which says what an exit has to be better than.

The network with an early exit is trained once; its threshold is then chosen on validation frames for several shares of
frames that go on, and its hardware is folded for that share, with the rate as a mean. The others are folded for the
same rate, which they guarantee. The smaller network has the largest width, in steps of a twentieth, that is estimated
to take at most the LUT of the early exit of the share EQUAL. Trainings are short: the images and epochs of a row, one
tenth of the images for validation, which also keeps the best epoch. Accuracies are those of all 10,000 test images;
cycles those of the cycle model with the verdicts of FRAMES of them.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from flows import build
from flows.estimates import estimate_build
from quant import DataSet, Exits, Network, TrainConfig, create_model, export, fit, load_data
from quant.data import stratified
from quant.models.network import model_inputs
from quant.models.staged import StagedNetwork
from quant.training.exits import choose_thresholds, measure_exits

RESULTS = Path(__file__).parent / "early_exit"
SEEDS = (0, 1, 2)
TARGET, CLOCK = "ulx3s-85f", 100.0
SHARES = (0.5, 0.25, 0.1)
EQUAL = 0.25
FRAMES = 400
VALIDATION = 0.1


@dataclass(frozen=True)
class Row:
    """A network of a width, the block in front of its exit, the rate of its hardware, and its training."""

    model: str
    after: int
    fps: float
    images: int
    epochs: int
    width: float = 1.0


ROWS = {
    "lenet5-w4a4": Row("lenet5-w4a4", 1, 50_000, images=20_000, epochs=8),
    "lenet5-caffe-w4a4": Row("lenet5-caffe-w4a4", 1, 20_000, images=20_000, epochs=8),
    "vgg-small-w1a1-eighth": Row("vgg-small-w1a1", 2, 50_000, images=12_000, epochs=6, width=1 / 8),
}


class Ended(Network):
    """A network that ends at a head of another one: its first blocks and the layers of that head."""

    def __init__(self, whole: StagedNetwork, after: int) -> None:
        super().__init__(f"{whole.name}, first head", whole.scheme, whole.input_shape, whole.classes, whole.in_range)
        self.input, self.blocks = whole.input, torch.nn.Sequential(*list(whole.stages())[:after])  # type: ignore[call-overload]
        self.head, self.options = whole.heads[str(after)], {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.blocks(self.input(x)))
        return result


def data_of(row: Row) -> DataSet:
    data = load_data("fashion-mnist")
    chosen = torch.randperm(len(data.x_train), generator=torch.Generator().manual_seed(0))[: row.images].numpy()
    return replace(data, x_train=data.x_train[chosen], y_train=data.y_train[chosen])


def network(row: Row, data: DataSet, seed: int, **options: Any) -> Any:
    torch.manual_seed(seed)
    width = row.width * options.pop("width", 1.0)
    return create_model(row.model, **data.options, **options, width=width)


def trained(model: Network, row: Row, data: DataSet, seed: int) -> float:
    """Trains a network in place; returns its accuracy on the test set."""
    result = fit(model, data, TrainConfig(epochs=row.epochs, seed=seed, validation=VALIDATION), progress=False)
    assert result.test_accuracy is not None
    print(f"  {model.name}: {result.test_accuracy:.2%}, {result.seconds:.0f} s", flush=True)
    return result.test_accuracy


def hardware(model: Network, row: Row, data: DataSet, share: float = 1.0) -> dict[str, Any]:
    """The estimated hardware of a network at the row's rate, which is a mean one for a share below 1."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(model, path, model_inputs(model, data.x_test[:64]))
        made = estimate_build(path, TARGET, fps=row.fps, clock_mhz=CLOCK, exit_share=share)
    return {
        "lut": made["resources"]["lut"]["estimated"],
        "bram": made["resources"]["bram"]["estimated"],
        "interval": made["cycles"]["interval"],
    }


def with_exit(model: StagedNetwork, row: Row, data: DataSet, share: float) -> dict[str, Any]:
    """The network with the early exit of a share: its accuracy, hardware and cycles."""
    x = torch.from_numpy(model_inputs(model, data.x_test))
    figures = measure_exits(model, x, torch.tensor(data.y_test))
    with tempfile.TemporaryDirectory() as folder:
        path, frames = Path(folder) / "model.onnx", Path(folder) / "x.npy"
        export(model, path, x[:256].numpy())
        np.save(frames, x[:FRAMES].numpy())
        report = build(
            path, target=TARGET, out=Path(folder) / "build", fps=row.fps, clock_mhz=CLOCK, exit_share=share,
            frames=frames, stop_after="emulate",
        ).report  # fmt: skip
    assert report.exits is not None
    assert report.exits.measured is not None
    assert report.verified["emulator"].mismatches == 0
    measured = report.exits.measured
    return {
        "share": share,
        **asdict(figures),
        "lut": report.resources.lut.estimated,
        "bram": report.resources.bram.estimated,
        "interval": report.cycles.interval.estimated,
        "mean_interval": measured.interval,
        "mean_latency": measured.mean,
        "frames_of_cycles": measured.frames,
    }


def untrained(row: Row, data: DataSet, **options: Any) -> Any:
    """A new network, whose quantizers have scales and whose exit has a threshold."""
    model = network(row, data, 0, **options)
    model(torch.from_numpy(data.x_train[:32]).float().reshape(-1, *model.input_shape))
    if "early_exit" in options:
        model.exits.thresholds.fill_(1e-3)  # the least margin
    return model.eval()


def estimated(name: str) -> list[str]:
    """The lines of a row's table without training."""
    row, data = ROWS[name], data_of(ROWS[name])
    lines = [f"{name}, {row.fps:,.0f} frames/s, untrained", ""]
    lines += ["| network | LUT | BRAM | width with at most as many LUT |", "|---|---:|---:|---:|"]
    whole = hardware(untrained(row, data), row, data)
    lines.append(f"| whole | {whole['lut']:,} | {whole['bram']} | |")
    exiting = untrained(row, data, early_exit=row.after)
    for share in SHARES:
        made = hardware(exiting, row, data, share)
        width = smaller(row, data, made["lut"])
        small = hardware(untrained(row, data, width=width), row, data)
        lines.append(f"| share {share:g} | {made['lut']:,} | {made['bram']} | {width:g} ({small['lut']:,}) |")
    return [*lines, ""]


def smaller(row: Row, data: DataSet, lut: int) -> float:
    """The largest width with which the network is estimated to take at most so many LUT, tried from the top: what PE
    and SIMD can divide makes some narrower networks larger."""
    for width in (each / 20 for each in range(19, 1, -1)):
        if hardware(untrained(row, data, width=width), row, data)["lut"] <= lut:
            return width
    return 1 / 20


def measure(row: Row, seed: int) -> dict[str, Any]:
    """Returns the results of a row and seed."""
    data = data_of(row)
    whole = network(row, data, seed)
    found: dict[str, Any] = {"whole": {"accuracy": trained(whole, row, data, seed), **hardware(whole, row, data)}}
    ended = Ended(network(row, data, seed, early_exit=row.after), row.after)
    ended.describe_data(data.shape)
    found["first head"] = {"accuracy": trained(ended, row, data, seed), **hardware(ended, row, data)}
    exiting = network(row, data, seed, early_exit=row.after)
    trained(exiting, row, data, seed)
    labels = torch.tensor(data.y_train)
    inputs = torch.from_numpy(model_inputs(exiting, data.x_train))
    apart = torch.from_numpy(stratified(data.y_train, VALIDATION, seed))
    found["early exit"] = []
    for share in SHARES:
        choose_thresholds(exiting, Exits(share), inputs[apart], labels[apart])
        found["early exit"].append(with_exit(exiting, row, data, share))
        print(f"  {found['early exit'][-1]}", flush=True)
    lut = next(each["lut"] for each in found["early exit"] if each["share"] == EQUAL)
    width = smaller(row, data, lut)
    small = network(row, data, seed, width=width)
    found["smaller"] = {"width": width, "accuracy": trained(small, row, data, seed), **hardware(small, row, data)}
    return found


def table(name: str) -> list[str]:
    """The lines of a row's table, of the seeds that are there."""
    made = [json.loads(path.read_text())["results"] for path in sorted(RESULTS.glob(f"{name}-*.json"))]
    if not made:
        return []
    row = ROWS[name]

    def line(title: str, cells: list[dict[str, Any]]) -> str:
        accuracy = [100 * each["accuracy"] for each in cells]
        spread = f" ± {stdev(accuracy):.2f}" if len(cells) > 1 else ""
        on = f"{mean(100 * each['going_on'][0] for each in cells):.0f} %" if "going_on" in cells[0] else ""
        cycles = mean(each.get("mean_interval", each["interval"]) for each in cells)
        lut, bram = (mean(each[key] for each in cells) for key in ("lut", "bram"))
        return f"| {title} | {mean(accuracy):.2f}{spread} | {on} | {lut:,.0f} | {bram:.0f} | {cycles:,.0f} |"

    widths = sorted({each["smaller"]["width"] for each in made})
    exits = [[each["early exit"][index] for each in made] for index in range(len(SHARES))]
    heads = [mean(100 * cell["heads"][index] for cell in exits[0]) for index in (0, 1)]
    return [
        f"{row.model}, exit behind block {row.after}; {row.images:,} images, {row.epochs} epochs, {len(made)} seeds; "
        f"{row.fps:,.0f} frames/s at {CLOCK:g} MHz. Its heads alone: {heads[0]:.2f} % and {heads[1]:.2f} %.",
        "",
        "| network | accuracy, % | go on | LUT, estimated | BRAM, estimated | mean cycles |",
        "|---|---|---|---|---|---|",
        line("whole", [each["whole"] for each in made]),
        *(line(f"early exit, share {share:g}", cells) for share, cells in zip(SHARES, exits, strict=True)),
        line("first head alone", [each["first head"] for each in made]),
        line(f"width {', '.join(f'{w:g}' for w in widths)}", [each["smaller"] for each in made]),
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)} (default: all)")
    parser.add_argument("--seed", type=int, help=f"one of the seeds (default: {', '.join(map(str, SEEDS))})")
    parser.add_argument("--table", action="store_true", help="only print the tables")
    parser.add_argument("--hardware", action="store_true", help="only estimate the hardware, without training")
    given = parser.parse_args()
    if given.hardware:
        for name in given.rows or ROWS:
            print("\n".join(estimated(name)), flush=True)
        return
    for name in [] if given.table else given.rows or ROWS:
        for seed in SEEDS if given.seed is None else (given.seed,):
            path = RESULTS / f"{name}-{seed}.json"
            if path.exists():
                continue
            print(f"{name}, seed {seed}", flush=True)
            RESULTS.mkdir(exist_ok=True)
            content = {"row": vars(ROWS[name]), "seed": seed, "results": measure(ROWS[name], seed)}
            path.write_text(json.dumps(content, indent=1) + "\n")
    for name in ROWS:
        print("\n".join(table(name)))


if __name__ == "__main__":
    main()
