"""Smaller layers: accuracy and hardware by method, a table for each section of the survey.
``python -m benchmarks.structure [SECTION ...]`` trains what is missing and prints the tables; ``--table`` only prints.

Every row is trained with three seeds that are fixed here, and nothing is chosen on test frames. A method that starts
from the dense network has its epochs and ``TUNING`` more, with a penalty 10 between; rows from new weights have both
together. Half of the channels goes, or as many weights as low rank and ties leave. The baselines are the dense network,
the same layers from new weights, and a uniformly narrower network. The results are kept in ``benchmarks/structure/``.

Hardware is estimated for the ECP5-85F at one frame in ``FOLD`` cycles, for the network of the first seed.
"""

import argparse
import json
import os
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
SEEDS = (0, 1, 2)
DATA, EPOCHS, TUNING = "digits", 60, 20
DEVICE, CLOCK_MHZ = "lfe5u-85f", 75.0
FOLD = {"tfc-w4a4": 256, "vgg-small-w4a4": 1024}
CONVENTION = Convention(DATA, "none: pixels of 4 bits", f"{DEVICE}, estimated by the resource model")


@dataclass(frozen=True)
class Row:
    """A network that is trained, and the steps of compression that follow, each with its epochs."""

    name: str
    model: str = "tfc-w4a4"
    options: dict[str, Any] = field(default_factory=dict)
    tie: str | None = None
    steps: tuple[tuple[str, dict[str, Any], float | None, int], ...] = ()  # method, options, fraction, epochs

    @property
    def epochs(self) -> int:
        """Of the first training: those of a network that is compressed, or all."""
        return EPOCHS if self.steps else EPOCHS + TUNING


def _slim(criterion: str, epochs: int = TUNING, **options: Any) -> tuple[str, dict[str, Any], float, int]:
    return "slim", {"criterion": criterion, **options}, 0.5, epochs


PENALTIES = ("slimming", "less-is-more", "structured", "neurons")
SCRATCH: tuple[str, dict[str, Any], None, int] = ("scratch", {}, None, EPOCHS + TUNING)
CONV = {"width": 1 / 8}
SECTIONS: dict[str, tuple[Row, ...]] = {
    "filters and neurons": (
        Row("dense"),
        *(
            Row(name, steps=(_slim(name),))
            for name in ("l1", "slimming", "less-is-more", "structured", "neurons", "lasso")
        ),
        *(Row(f"{name}, by lut", steps=(_slim(name, by="lut"),)) for name in ("l1", "slimming")),
        Row("widths of slimming by lut, new weights", steps=(_slim("slimming", 0, by="lut"), SCRATCH)),
        Row("uniformly narrower", steps=(_slim("uniform", 0), SCRATCH)),
    ),
    "structured matrices": (
        Row("dense"),
        *(Row(f"{tie}, from new weights", tie=tie) for tie in ("circulant:4", "circulant:8")),
        Row("circulant:8, of the dense one", steps=(("tie", {"structure": "circulant:8"}, None, TUNING),)),
        Row("uniformly narrower", steps=(_slim("uniform", 0), SCRATCH)),
    ),
    "low rank": (
        Row("dense"),
        Row("half of the weights", steps=(("low-rank", {}, 0.5, TUNING),)),
        Row("half, BatchNorm between", steps=(("low-rank", {"norm": True}, 0.5, TUNING),)),
        Row("half, BatchNorm between, new weights", steps=(("low-rank", {"norm": True}, 0.5, 0), SCRATCH)),
        Row("uniformly narrower", steps=(_slim("uniform", 0), SCRATCH)),
    ),
    "filters": (
        Row("plain", "vgg-small-w4a4", CONV),
        Row("crelu", "vgg-small-w4a4", {**CONV, "halves": "crelu"}),
        Row("mba", "vgg-small-w4a4", {**CONV, "halves": "mba"}),
        Row("narrower", "vgg-small-w4a4", {"width": 3 / 32}),
    ),
}
"""The rows of each table. Low rank and ties keep about the weights of a network of half of the width."""


def run(row: Row, seed: int, folder: Path) -> tuple[dict[str, Any], Path]:
    """Train a row; the runs are folders of ``folder``, and are reused."""
    tying = None if row.tie is None else Tying(row.tie)
    config = TrainConfig(epochs=row.epochs, seed=seed, tie=tying)
    name = f"{row.model}-{row.epochs}-{row.tie or ''}-{json.dumps(row.options, sort_keys=True)}-{seed}"
    place = folder / "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
    result = train_run(row.model, place, config, data=DATA, model_options=row.options, progress=False, resume=True)
    for method, options, fraction, epochs in row.steps:
        after = place / "".join(c if c.isalnum() else "-" for c in f"{method}-{json.dumps(options)}-{epochs}")
        cost = HardwareCost(DEVICE, FOLD[row.model]) if "by" in options else None
        result = compress_run(
            place, after, method,
            options=options, fraction=fraction, epochs=epochs, cost=cost, progress=False, resume=True,
        )  # fmt: skip
        place = after
    return result, place


def parameters(place: Path) -> int:
    """The trained values among the weights: one for tied ones, none for pruned ones."""
    from quant import load_checkpoint
    from quant.compression.forms import Tied
    from quant.compression.weights import compression_of, find_layers, weight_of

    layers = find_layers(load_checkpoint(place / "checkpoint.pt")).values()
    forms = [(compression_of(layer), layer) for layer in layers]
    return sum(len(form.values) if isinstance(form, Tied) else weight_of(layer).numel() for form, layer in forms)


def hardware(place: Path, cycles: int) -> dict[str, Any]:
    """Estimated resources and cycles, whether they fit the device or not."""
    plan = Plan(
        Model.open(place / "model.onnx"), BuildConfig(DEVICE, fps=CLOCK_MHZ * 1e6 / cycles, clock_mhz=CLOCK_MHZ)
    )
    design = plan.point.hardware
    pace = steady_state(design)
    used = vars(estimate_resources(design, plan.device.family))
    return {**used, "interval": pace.interval, "latency": pace.latency}


def page(rows: tuple[Row, ...], results: dict[str, Any]) -> list[tuple[Convention, dict[str, object]]]:
    """The lines of a table: mean and range of the accuracies, the hardware of the first seed."""
    lines = []
    for row in rows:
        found = [each for seed in SEEDS if (each := results.get(f"{row.name}-{seed}"))]
        if not found:
            continue
        accuracies = [100 * each["accuracy"] for each in found]
        made = found[0]["hardware"]
        line: dict[str, object] = {
            "method": row.name, "seeds": len(found), "test %": f"{mean(accuracies):.2f}",
            "from": f"{min(accuracies):.2f}", "to": f"{max(accuracies):.2f}", "parameters": found[0]["parameters"],
            "LUT": made["lut"], "BRAM": made["bram"], "interval": made["interval"], "latency": made["latency"],
        }  # fmt: skip
        lines.append((CONVENTION, line))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument("--runs", type=Path, default=Path("build/structure"), help="folder of the trained networks")
    parser.add_argument("--table", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    for section in arguments.sections:
        path = RESULTS / f"{DATA}-{section.replace(' ', '-')}.json"
        results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        for row in () if arguments.table else SECTIONS[section]:
            for seed in SEEDS:
                key = f"{row.name}-{seed}"
                if key not in results:
                    result, place = run(row, seed, arguments.runs)
                    results[key] = {"accuracy": result["accuracy"]["test"], "parameters": parameters(place)}
                    if seed == SEEDS[0]:
                        results[key]["hardware"] = hardware(place, FOLD[row.model])
                    _write(path, results)
                    print(f"{section}, {key}: {100 * results[key]['accuracy']:.2f} %", flush=True)
        if lines := page(SECTIONS[section], results):
            report.show(*table(f"{section} ({SECTIONS[section][0].model})", lines))


def _write(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(partial, path)


if __name__ == "__main__":
    main()
