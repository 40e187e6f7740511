"""Widths that are learned in a training against widths that a search finds, in the same time, on the digits.

``python -m benchmarks.explore_learned`` trains ``tfc`` with ``train --learn-widths`` once for each strength, for its
lookup tables, and then lets ``flows.explore`` search the same widths for as much CPU time, with trainings of the same
epochs. For each seed, and for as many lookup tables as a uniform network has (``flows.explore.cost_table``), the
network with the best accuracy on validation frames is taken of either, and the test accuracies are compared. One test
frame is 0.28 points.

The results are kept in ``benchmarks/explore/learned.json``, so that an interrupted call goes on where it was;
``--table`` only prints them.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import report
from flows.cost import cost_on
from flows.explore.cost_table import CostTable
from flows.explore.first import UNIFORM
from flows.explore.space import Space
from flows.explore.study import explore
from hw.model import Model

FILE = Path(__file__).with_name("explore") / "learned.json"
MODEL, TARGET, FPS, EPOCHS, VALIDATION = "tfc-w4a4", "ulx3s-25f", 100_000, 20, 0.2
WEIGHTS, ACTIVATIONS = (1, 2, 4, 8), (2, 4, 8)
STRENGTHS = 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0
SEEDS = 3
KINDS = "learned", "searched"


def described(run: Path, table: CostTable) -> dict[str, Any]:
    """A trained network: its lookup tables, and its accuracy on validation and test frames."""
    metrics = json.loads((run / "metrics.json").read_text())
    options = metrics["learned_widths"] or metrics["model_options"]
    return {
        "widths": [options[name] for name in ("weight_widths", "activation_widths")],
        "lut": table.cost(Model.open(run / "model.onnx").graph).lut,
        "validation": metrics["fit"]["validation_accuracy"],
        "test": metrics["accuracy"]["test"],
    }


def learned(folder: Path, seed: int, table: CostTable) -> tuple[list[dict[str, Any]], float]:
    """The networks of all strengths, and the CPU seconds of their trainings."""
    from quant import TrainConfig, WidthSearch, train_run

    start = time.process_time()
    for strength in STRENGTHS:
        search = WidthSearch(WEIGHTS, ACTIVATIONS, strength=strength, by="lut")
        config = TrainConfig(epochs=EPOCHS, seed=seed, validation=VALIDATION, widths=search)
        train_run(MODEL, folder / f"{strength}", config, cost=cost_on(TARGET, FPS), progress=False)
    seconds = time.process_time() - start
    return [described(folder / f"{strength}", table) for strength in STRENGTHS], seconds


def searched(folder: Path, seed: int, table: CostTable, seconds: float) -> tuple[list[dict[str, Any]], float]:
    """The networks of a study, and its CPU seconds: about as many as given, at least those of the uniform networks."""
    start, count = time.process_time(), len(UNIFORM)
    while True:
        study = explore(
            MODEL, TARGET, folder, Space(bits=WEIGHTS, acts=(1, *ACTIVATIONS)), fps=FPS, trials=count,
            epochs=(EPOCHS,), validation=VALIDATION, seed=seed,
        )  # fmt: skip
        used = time.process_time() - start
        more = int((seconds - used) / (used / count))
        if more < 1:
            runs = [each.folder for each in study.trials if each.state == "trained" and each.folder]
            return [described(run, table) for run in runs], used
        count += more


def measure(count: int | None) -> None:
    """Measures what is missing, at most ``count`` parts of it (a seed of either), and keeps the results after each."""
    table = CostTable(TARGET, FPS)
    results: dict[str, Any] = {
        "model": MODEL, "target": TARGET, "fps": FPS, "epochs": EPOCHS, "strengths": list(STRENGTHS),
        "seeds": [{"seed": seed} for seed in range(SEEDS)],
    }  # fmt: skip
    if FILE.is_file():
        results = json.loads(FILE.read_text())
    left = [(each, kind) for each in results["seeds"] for kind in KINDS if kind not in each]
    for each, kind in left[:count]:
        with TemporaryDirectory() as name:
            if kind == "learned":
                found, seconds = learned(Path(name), each["seed"], table)
            else:
                found, seconds = searched(Path(name), each["seed"], table, each["learned"]["seconds"])
        each[kind] = {"networks": found, "seconds": seconds}
        print(f"seed {each['seed']}: {len(found)} {kind} in {seconds:.0f} CPU seconds", flush=True)
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(f"{json.dumps(results, indent=1)}\n")


def best(networks: list[dict[str, Any]], lut: int) -> dict[str, Any] | None:
    """The network with the best accuracy on validation frames, the cheapest of several, of at most so many tables."""
    fitting = [each for each in networks if each["lut"] <= lut]
    return max(fitting, key=lambda each: (each["validation"], -each["lut"]), default=None)


def show(results: dict[str, Any]) -> None:
    """Prints, for the lookup tables of each uniform network, what both have found for no more."""
    rows, seeds = [], [each for each in results["seeds"] if all(kind in each for kind in KINDS)]
    for number, (bits, acts) in enumerate(UNIFORM if seeds else ()):
        limit = seeds[0]["searched"]["networks"][number]["lut"]
        cells = [f"w{bits}a{acts}", f"{limit:,}"]
        for kind in KINDS:
            found = [each for seed in seeds if (each := best(seed[kind]["networks"], limit)) is not None]
            tests = [100 * each["test"] for each in found]
            luts = statistics.mean(each["lut"] for each in found) if found else 0
            spread = f" +- {statistics.stdev(tests):.1f}" if len(tests) > 1 else ""
            cells += [f"{statistics.mean(tests):.1f}{spread} ({len(tests)} of {len(seeds)}), {luts:,.0f} LUT"
                      if tests else "none is as small"]  # fmt: skip
        rows.append(cells)
    times, counts = (
        {kind: statistics.mean(value(each[kind]) for each in seeds) if seeds else 0 for kind in KINDS}
        for value in (lambda each: each["seconds"], lambda each: len(each["networks"]))
    )
    report.show(
        f"{results['model'].partition('-')[0]}, digits, {results['target']} at {results['fps']:,} frames/s, "
        f"{len(seeds)} seeds: learned ({times['learned']:.0f} CPU seconds, {counts['learned']:.0f} networks) against "
        f"searched ({times['searched']:.0f}, {counts['searched']:.0f})",
        ["at most", "LUT", "learned: test %", "searched: test %"],
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only print the results")
    parser.add_argument("--count", type=int, help="parts that are measured at most: a seed of either (default: all)")
    options = parser.parse_args()
    if not options.table:
        measure(options.count)
    show(json.loads(FILE.read_text()))


if __name__ == "__main__":
    main()
