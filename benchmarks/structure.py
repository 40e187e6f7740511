"""Smaller layers: accuracy and hardware by method, a table for each section of the survey of Cheng et al.
``python -m benchmarks.structure [SECTION ...]`` trains what is missing and prints the tables; ``--table`` only prints.

Every row is trained with three seeds that are fixed here, and nothing is chosen on test frames. A method that starts
from the dense network has its epochs and some more to tune, with those of a penalty between; rows from new weights
have as many as both. Half of the channels goes, by lut as many as save half of what all of them save; ties and low
rank leave about as many values or fewer. The baselines are the dense network, the same layers from new weights, and a
uniformly narrower network.

Hardware is estimated for the ECP5-85F at 75 MHz, for the network of the first seed. The results are kept in
``benchmarks/structure/``, and ``STRUCTURE.md`` is made from them. MNIST and Fashion-MNIST need ``$BITFABRIC_DATA``;
trainings there are short: 6 epochs and 3 to tune, 3 of the convolutional network.
"""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import report
from benchmarks.conventions import Convention, table
from flows.config import BuildConfig
from flows.cost import HardwareCost
from flows.planner import Plan
from hw.folding.choose import estimate_resources
from hw.model import Model
from hw.timing.cycles import steady_state
from quant import TrainConfig, compress_run, train_run
from quant.training.config import Tying

RESULTS = Path(__file__).parent / "structure"
PAGE = RESULTS.parent / "STRUCTURE.md"
SEEDS = (0, 1, 2)
DEVICE, CLOCK_MHZ = "lfe5u-85f", 75.0


@dataclass(frozen=True)
class Setting:
    """How long networks are trained on a data set, and the rate at which their hardware is estimated."""

    epochs: int
    tuning: int
    penalty: int
    cycles: int  # one frame in as many cycles
    pixels: int = 8  # bits


SETTINGS = {
    ("digits", "tfc-w4a4"): Setting(60, 20, 10, 256, 4),
    ("digits", "vgg-small-w4a4"): Setting(25, 0, 0, 1024, 4),
    ("mnist", "tfc-w4a4"): Setting(6, 3, 2, 1024),
    ("mnist", "vgg-small-w4a4"): Setting(3, 0, 0, 16_384),
    ("fashion-mnist", "tfc-w4a4"): Setting(6, 3, 2, 1024),
    ("fashion-mnist", "vgg-small-w4a4"): Setting(3, 0, 0, 16_384),
}
DATA = tuple(dict.fromkeys(data for data, _ in SETTINGS))


@dataclass(frozen=True)
class Step:
    """A compression, and the training that follows."""

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    fraction: float | None = None
    trains: bool = True


@dataclass(frozen=True)
class Row:
    """A network that is trained, and the steps of compression that follow."""

    name: str
    model: str = "tfc-w4a4"
    options: dict[str, Any] = field(default_factory=dict)
    tie: str | None = None
    steps: tuple[Step, ...] = ()


def _slim(criterion: str, trains: bool = True, **options: Any) -> Step:
    return Step("slim", {"criterion": criterion, **options}, 0.5, trains)


PENALTIES = ("slimming", "less-is-more", "structured", "neurons")
SCRATCH = Step("scratch")
NARROWER = Row("uniformly narrower", steps=(_slim("uniform", trains=False), SCRATCH))
VGG, WIDTH = "vgg-small-w4a4", 1 / 16
SECTIONS: dict[str, tuple[Row, ...]] = {
    "filters and neurons": (
        Row("dense"),
        *(
            Row(name, steps=(_slim(name),))
            for name in ("l1", "slimming", "less-is-more", "structured", "neurons", "lasso")
        ),
        *(Row(f"{name}, by lut", steps=(_slim(name, by="lut"),)) for name in ("l1", "slimming")),
        Row("widths of slimming by lut, new weights", steps=(_slim("slimming", trains=False, by="lut"), SCRATCH)),
        NARROWER,
    ),
    "structured matrices": (
        Row("dense"),
        Row("circulant:4, from new weights", tie="circulant:4"),
        Row("circulant:8, from new weights", tie="circulant:8"),
        Row("circulant:8, of the dense one", steps=(Step("tie", {"structure": "circulant:8"}),)),
        NARROWER,
    ),
    "low rank": (
        Row("dense"),
        Row("half of the weights", steps=(Step("low-rank", {}, 0.5),)),
        Row("half, in two groups", steps=(Step("low-rank", {"form": "grouped"}, 0.5),)),
        Row("half, BatchNorm between", steps=(Step("low-rank", {"norm": True}, 0.5),)),
        Row(
            "half, BatchNorm between, new weights",
            steps=(Step("low-rank", {"norm": True}, 0.5, trains=False), SCRATCH),
        ),
        NARROWER,
    ),
    "filters": (
        Row("plain", VGG, {"width": WIDTH}),
        Row("crelu", VGG, {"width": WIDTH, "activation": "crelu"}),
        Row("mba", VGG, {"width": WIDTH, "activation": "mba"}),
        Row("maxout:2", VGG, {"width": WIDTH, "activation": "maxout:2"}),
        Row("rotated filters (p4)", VGG, {"width": WIDTH}, tie="p4"),
        Row("narrower", VGG, {"width": WIDTH * 3 / 4}),
    ),
}
"""The rows of each table. Low rank and ties keep about the weights of a network of half of the width."""


def run(data: str, row: Row, seed: int, folder: Path) -> tuple[dict[str, Any], Path]:
    """Train a row; the runs are folders of ``folder``, and are reused."""
    setting = SETTINGS[data, row.model]
    tying = None if row.tie is None else Tying(row.tie)
    total = setting.epochs + setting.tuning
    config = TrainConfig(epochs=setting.epochs if row.steps else total, seed=seed, tie=tying)
    name = f"{data}-{row.model}-{config.epochs}-{row.tie or ''}-{json.dumps(row.options, sort_keys=True)}-{seed}"
    place = folder / "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
    result = train_run(row.model, place, config, data=data, model_options=row.options, progress=False, resume=True)
    for step in row.steps:
        epochs = 0 if not step.trains else total if step.method == "scratch" else setting.tuning
        options = dict(step.options)
        if options.get("criterion") in PENALTIES:
            options["penalty_epochs"] = setting.penalty
        after = place / "".join(c if c.isalnum() else "-" for c in f"{step.method}-{json.dumps(options)}-{epochs}")
        cost = HardwareCost(DEVICE, setting.cycles) if "by" in options else None
        result = compress_run(
            place, after, step.method,
            options=options, fraction=step.fraction, epochs=epochs, cost=cost, progress=False, resume=True,
        )  # fmt: skip
        place = after
    return result, place


def parameters(place: Path) -> int:
    """The trained values among the weights: one for tied ones, none for pruned ones."""
    from quant import load_checkpoint
    from quant.compression.forms import Pruned, Tied
    from quant.compression.weights import compression_of, find_layers, weight_of

    count = 0
    for layer in find_layers(load_checkpoint(place / "checkpoint.pt")).values():
        form = compression_of(layer)
        trained = form.values if isinstance(form, Tied) else form.mask.nonzero() if isinstance(form, Pruned) else None
        count += weight_of(layer).numel() if trained is None else len(trained)
    return count


def hardware(place: Path, cycles: int) -> dict[str, Any]:
    """Estimated resources and cycles, whether they fit the device or not."""
    plan = Plan(
        Model.open(place / "model.onnx"), BuildConfig(DEVICE, fps=CLOCK_MHZ * 1e6 / cycles, clock_mhz=CLOCK_MHZ)
    )
    design = plan.point.hardware
    pace = steady_state(design)
    used = vars(estimate_resources(design, plan.device.family))
    return {**used, "interval": pace.interval, "latency": pace.latency}


def lines_of(data: str, rows: tuple[Row, ...], results: dict[str, Any]) -> list[tuple[Convention, dict[str, object]]]:
    """The lines of a table: mean and range of the accuracies, the hardware of the first seed."""
    lines = []
    for row in rows:
        found = [each for seed in SEEDS if (each := results.get(f"{row.name}-{seed}"))]
        if not found or "hardware" not in found[0]:
            continue
        setting = SETTINGS[data, row.model]
        convention = Convention(
            data, f"none: pixels of {setting.pixels} bits",
            f"{DEVICE} at one frame in {setting.cycles} cycles, estimated by the resource model",
        )  # fmt: skip
        accuracies = [100 * each["accuracy"] for each in found]
        made = found[0]["hardware"]
        line: dict[str, object] = {
            "method": row.name, "seeds": len(found), "test %": f"{mean(accuracies):.2f}",
            "from": f"{min(accuracies):.2f}", "to": f"{max(accuracies):.2f}", "parameters": found[0]["parameters"],
            "LUT": made["lut"], "BRAM": made["bram"], "interval": made["interval"], "latency": made["latency"],
        }  # fmt: skip
        lines.append((convention, line))
    return lines


def file_of(data: str, section: str) -> Path:
    """Where the results of a section on a data set are kept."""
    return RESULTS / f"{data}-{section.replace(' ', '-')}.json"


def read(data: str, section: str) -> dict[str, Any]:
    """The results so far, by ``NAME-SEED``."""
    path = file_of(data, section)
    return json.loads(path.read_text()) if path.exists() else {}


def train(data: str, section: str, seed: int, folder: Path) -> None:
    """Train the rows of a section that are missing."""
    for row in SECTIONS[section]:
        key, results = f"{row.name}-{seed}", read(data, section)
        if key in results:
            continue
        result, place = run(data, row, seed, folder)
        results[key] = {"accuracy": result["accuracy"]["test"], "parameters": parameters(place)}
        if seed == SEEDS[0]:
            results[key]["hardware"] = hardware(place, SETTINGS[data, row.model].cycles)
        _write(file_of(data, section), results)
        print(f"{data}, {section}, {key}: {100 * results[key]['accuracy']:.2f} %", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument("--data", nargs="+", default=list(DATA), help=f"data sets: {', '.join(DATA)}")
    parser.add_argument("--runs", type=Path, default=Path("build/structure"), help="folder of the trained networks")
    parser.add_argument("--table", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    for seed in () if arguments.table else SEEDS:
        for data in arguments.data:
            for section in arguments.sections:
                train(data, section, seed, arguments.runs)
    PAGE.write_text("\n".join(text()) + "\n")


def text() -> Iterator[str]:
    """All results as Markdown, after they are printed."""
    yield from ("# Smaller layers, as measured by `python -m benchmarks.structure`", "")
    for paragraph in __doc__.split("\n\n")[1:]:
        yield from (" ".join(paragraph.split()).replace("``", "`"), "")
    for section in SECTIONS:
        for data in DATA:
            rows = SECTIONS[section]
            if lines := lines_of(data, rows, read(data, section)):
                shown = table(f"{section}, {rows[0].model}", lines)
                report.show(*shown)
                yield from report.markdown(*shown)


def _write(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(partial, path)


if __name__ == "__main__":
    main()
