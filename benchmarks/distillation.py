"""What students learn from teachers: accuracy by term of the loss, three seeds or ten.
``python -m benchmarks.distillation [DATA]`` trains what is missing and prints the tables; ``--table`` only prints.

The teacher is a float network of the same family and twice the width, one for each seed, as the students' seed. All
have the same epochs; seeds are fixed here, and nothing is chosen on test frames. Weights of terms are the defaults of
``quant.distillation``. The results are kept in ``benchmarks/distillation/``.
"""

import argparse
import json
import os
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks import report
from quant import TrainConfig, train_run
from quant.distillation import Distillation

RESULTS = Path(__file__).parent / "distillation"
DENSE = ("labels", "soft", "logits", "hint,soft", "neurons,soft", "contrastive,soft", "posterior", "soft,pseudo 1")
CONV = ("labels", "soft", "logits", "hint,soft", "attention,soft", "selectivity,soft", "contrastive,soft")
ROWS: dict[str, dict[str, tuple[str, ...]]] = {
    "digits": {"tfc": (*DENSE, "3 teachers", "two steps"), "resnet8": CONV},
    "mnist": {"tfc": ("labels", "soft", "hint,soft", "two steps"), "lenet5": CONV},
}
"""Data set -> family -> what its students learn."""
SEEDS = {"digits": tuple(range(10)), "mnist": (0, 1, 2)}
EPOCHS = {"digits": 60, "mnist": 6}
SCHEMES = ("w1a1", "w2a2")
WIDER: dict[str, dict[str, Any]] = {
    "tfc": {"hidden": [128, 128, 128]},
    "lenet5": {"width": 2.0},
    "resnet8": {"width": 2.0},
}


def train(data: str, family: str, scheme: str, what: str, seed: int, folder: Path) -> float:
    """Returns the test accuracy of a student; runs are folders of ``folder``, and are reused."""
    config: dict[str, Any] = {"epochs": EPOCHS[data], "seed": seed}

    def teacher(number: int) -> Path:
        place = folder / f"{data}-{family}-teacher-{number}"
        train_run(
            f"{family}-float", place, TrainConfig(epochs=EPOCHS[data], seed=number),
            data=data, model_options=WIDER[family], progress=False,
        )  # fmt: skip
        return place

    terms = what.split(",")
    options: dict[str, Any] = {}
    if what == "labels":
        return _reached(f"{family}-{scheme}", folder / f"{data}-{family}-{scheme}-{what}-{seed}", config, data)
    teachers: list[Path] = [teacher(seed)]
    if what == "3 teachers":
        terms, teachers = ["soft"], [teacher(number) for number in (seed, seed + 100, seed + 200)]
    if what.endswith("pseudo 1"):
        terms, options = ["soft"], {"pseudo": 1}
    start = None
    if what == "two steps":
        # Half of the epochs with 1- or 2-bit weights and 4-bit activations, the other half as in the end.
        terms, config["epochs"] = ["soft"], EPOCHS[data] // 2
        start = folder / f"{data}-{family}-{scheme}-first-{seed}"
        _reached(
            f"{family}-{scheme[:2]}a4", start, config, data, teacher=teachers,
            distill=Distillation(("soft",)),
        )  # fmt: skip
    place = folder / f"{data}-{family}-{scheme}-{what}-{seed}".replace(" ", "_")
    distill = Distillation(tuple(terms), **options)
    return _reached(f"{family}-{scheme}", place, config, data, teacher=teachers, start=start, distill=distill)


def _reached(
    model: str, place: Path, config: dict[str, Any], data: str, distill: Distillation | None = None, **options: Any
) -> float:
    settings = TrainConfig(**config) if distill is None else TrainConfig(**config, distill=distill)
    return train_run(model, place, settings, data=data, progress=False, **options)["accuracy"]["test"]


def lines(data: str, results: dict[str, float]) -> list[dict[str, object]]:
    """The rows of a data set's table: means and deviations in percent."""
    found = []
    for family, rows in ROWS[data].items():
        for what in rows:
            line: dict[str, object] = {"network": family, "loss": what}
            for scheme in SCHEMES:
                names = [f"{family}-{scheme}-{what}-{seed}" for seed in SEEDS[data]]
                reached = [100 * results[name] for name in names if name in results]
                line[scheme] = f"{mean(reached):.2f} +- {stdev(reached):.2f}" if len(reached) > 1 else "-"
                line[f"{scheme} seeds"] = len(reached)
            found.append(line)
    return found


def main(data: str, folder: Path, table: bool) -> None:
    path = RESULTS / f"{data}.json"
    results: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    for seed in () if table else SEEDS[data]:
        for family, rows in ROWS[data].items():
            for scheme in SCHEMES:
                for what in rows:
                    name = f"{family}-{scheme}-{what}-{seed}"
                    if name not in results:
                        results[name] = train(data, family, scheme, what, seed, folder)
                        print(f"{name}: {100 * results[name]:.2f} %", flush=True)
                        RESULTS.mkdir(exist_ok=True)
                        path.write_text(json.dumps(results, indent=1) + "\n")
    page = lines(data, results)
    report.show(f"students of {data}, test accuracy in %", list(page[0]), [list(row.values()) for row in page])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distillation", description=__doc__)
    parser.add_argument("data", nargs="?", default="digits", choices=list(ROWS))
    parser.add_argument("--table", action="store_true", help="print what is kept")
    parser.add_argument("--runs", type=Path, default=Path(os.environ.get("TMPDIR", "/tmp")) / "bitfabric-distillation")
    asked = parser.parse_args()
    main(asked.data, asked.runs, asked.table)
