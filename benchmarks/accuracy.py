"""Accuracy of every scheme, trained here: ``python -m benchmarks.accuracy [ROW ...]`` trains these rows (default: all).

Needs ``$BITFABRIC_DATA`` with MNIST and Fashion-MNIST. The results of all rows so far are kept in
``benchmarks/accuracy/``, a file a row, and ``benchmarks/ACCURACY.md`` is made from them. One seed a row, no choice of
an epoch by the test set. Two cores take about three hours for everything.
"""

import argparse
import fnmatch
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from quant import TrainConfig, create_model, fit, load_data, schemes
from quant.models.network import Network
from quant.training.loop import FitResult

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "accuracy", HERE / "ACCURACY.md"


@dataclass(frozen=True)
class Row:
    """One training. ``reference`` is what it is held against: a published accuracy in percent, and where from;
    ``teacher`` is trained before it, and taught from."""

    group: str
    name: str
    data: str
    model: str
    scheme: str
    parameters: dict[str, Any] = field(default_factory=dict)
    epochs: int = 20
    options: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    reference: str = ""
    teacher: "Row | None" = None


def _mnist(name: str, model: str, scheme: str, reference: str, epochs: int, **settings: Any) -> Row:
    parameters = settings.pop("parameters", {})
    return Row(
        "Published networks, MNIST", name, "mnist", model, scheme, parameters, epochs, reference=reference, **settings
    )


COMMON: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("float", "float", {}),
    ("fixed_point-16", "fixed_point", {"weight_bits": 16, "act_bits": 16}),
    ("fixed_point-8", "fixed_point", {"weight_bits": 8, "act_bits": 8}),
    ("gupta-16", "gupta", {}),
    ("integer-4", "integer", {"weight_bits": 4, "act_bits": 4}),
    ("learned_step-2", "learned_step", {"weight_bits": 2, "act_bits": 2}),
    ("accumulator_aware-8", "accumulator_aware", {}),
    ("twn-a8", "twn", {"act_bits": 8}),
    ("twn-a2", "twn", {"act_bits": 2}),
    ("ternary_connect", "ternary_connect", {}),
    ("binaryconnect", "binaryconnect", {}),
    ("binaryconnect-stochastic", "binaryconnect", {"mode": "stochastic"}),
    ("bwn", "bwn", {}),
    ("lab", "lab", {}),
    ("hwgq-2", "hwgq", {"act_bits": 2}),
    ("hwgq-1", "hwgq", {"act_bits": 1}),
    ("binarynet", "binarynet", {}),
    ("xnor", "xnor", {}),
)

# Without BatchNorm the scheme's default, a rate for the digits, ends in units that are never active.
RATES: dict[str, dict[str, Any]] = {"gupta": {"learning_rate": (3e-3, 3e-4)}}


def _fashion(what: str, prefix: str, model: str, row: tuple[str, str, dict[str, Any]], epochs: int) -> Row:
    name, scheme, parameters = row
    return Row(
        f"{what}, Fashion-MNIST", f"{prefix}-{name}", "fashion-mnist", model, scheme, parameters, epochs,
        fit=RATES.get(scheme, {}),
    )  # fmt: skip


# Wide binary layers learn better from a lower rate than the scheme's default.
SLOWER: dict[str, Any] = {"learning_rate": (3e-3, 3e-6)}
SHIFTED = {**SLOWER, "augment": "shift"}

TEACHER = _mnist(
    "lfc-float", "lfc-float", "float", "", 25, options={"dropout": 0.2}, fit={**SHIFTED, "batch_size": 200}
)

ROWS: tuple[Row, ...] = (
    TEACHER,
    _mnist("tfc-w1a1", "tfc-w1a1", "binarynet", "93.17 (Brevitas)", 60),
    _mnist("tfc-w2a2", "tfc-w2a2", "integer", "96.60 (Brevitas)", 60, parameters={"weight_bits": 2, "act_bits": 2}),
    _mnist("sfc-w1a1", "sfc-w1a1", "binarynet", "97.81 (Brevitas)", 80, fit=SHIFTED),
    _mnist("lfc-w1a1", "lfc-w1a1", "binarynet", "98.88 (Brevitas)", 50, fit=SHIFTED),
    _mnist(
        "lfc-w1a1-taught",
        "lfc-w1a1",
        "binarynet",
        "98.88 (Brevitas)",
        60,
        options={"dropout": 0.1},
        fit={**SHIFTED, "batch_size": 200},
        teacher=TEACHER,
    ),
    _mnist("binaryconnect-1024", "lfc-w1a8", "binaryconnect", "98.71 (paper)", 20, fit=SLOWER),
    _mnist(
        "binaryconnect-1024-stochastic",
        "lfc-w1a8",
        "binaryconnect",
        "98.82 (paper, real weights in use)",
        20,
        parameters={"mode": "stochastic"},
        fit=SLOWER,
    ),
    *(_fashion("One MLP", "mlp", "tfc-w1a1", row, 12) for row in COMMON),
    *(_fashion("One CNN", "cnn", "lenet5-w1a1", row, 3) for row in COMMON),
)


def train(row: Row, seed: int) -> dict[str, Any]:
    """Trains one row; its settings and what came out."""
    _, result = _fitted(row, seed)
    return {
        **asdict(row),
        "seed": seed,
        "threads": torch.get_num_threads(),
        "accuracy": {"train": result.train_accuracy, "test": result.test_accuracy},
        "seconds": round(result.seconds),
    }


def _fitted(row: Row, seed: int) -> tuple[Network, FitResult]:
    teacher = None if row.teacher is None else _fitted(row.teacher, seed)[0]
    data = load_data(row.data)
    torch.manual_seed(seed)
    model = create_model(
        row.model,
        schemes.get(row.scheme, **row.parameters),
        input_shape=data.shape,
        classes=data.classes,
        in_range=(data.low, data.high),
        **row.options,
    )
    return model, fit(model, data, TrainConfig(epochs=row.epochs, seed=seed, **row.fit), teacher=teacher)


def page(results: dict[str, dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = [
        "# Accuracy, as trained by `python -m benchmarks.accuracy`",
        "",
        "Test set, last epoch, one seed; two cores of a busy machine. `python -m benchmarks.accuracy NAME` trains a",
        "row again. The common networks are trained for few epochs: what two cores can do in a few hours.",
        "",
        "Not trained here: BinaryNet's published MLP for MNIST (three layers of 4096, 1000 epochs), about 60 hours on",
        "two cores by the time that an epoch of `lfc` takes.",
    ]
    for group in dict.fromkeys(row.group for row in ROWS):
        rows = [results[row.name] for row in ROWS if row.group == group and row.name in results]
        if not rows:
            continue
        lines += [
            "",
            f"## {group}",
            "",
            "| name | model | scheme | epochs | seed | train % | test % | held against | seconds |",
            "|---|---|---|---:|---:|---:|---:|---|---:|",
        ]
        for r in rows:
            settings = {**r["parameters"], **r["options"], **r["fit"]}
            if r["teacher"]:
                settings["teacher"] = f"{r['teacher']['model']} ({r['teacher']['epochs']} epochs)"
            scheme = " ".join([r["scheme"], *(f"{key}={value}" for key, value in settings.items())])
            train, test = (f"{100 * r['accuracy'][part]:.2f}" for part in ("train", "test"))
            model = r["model"] if group.startswith("Published") else r["model"].rpartition("-")[0]
            lines.append(
                f"| {r['name']} | {model} | {scheme} | {r['epochs']} | {r['seed']} | {train} | {test} | "
                f"{r['reference']} | {r['seconds']} |"
            )
    return "\n".join(lines) + "\n"


def keep(result: dict[str, Any]) -> None:
    """Adds one result to those that are kept, and makes the page again."""
    RESULTS.mkdir(exist_ok=True)
    _write(RESULTS / f"{result['name']}.json", json.dumps(result, indent=1) + "\n")
    _write(PAGE, page({path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}))


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    os.replace(partial, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=["*"], help="names or patterns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="names of all rows")
    arguments = parser.parse_args()
    chosen = [row for row in ROWS if any(fnmatch.fnmatch(row.name, pattern) for pattern in arguments.rows)]
    if not chosen:
        sys.exit(f"no row {' '.join(arguments.rows)}: --list names them")
    for row in chosen:
        if arguments.list:
            print(row.name)
            continue
        result = train(row, arguments.seed)
        keep(result)
        print(f"{row.name}: {100 * result['accuracy']['test']:.2f} % in {result['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
