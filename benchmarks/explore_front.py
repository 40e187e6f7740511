"""The front of a search against networks of one width for all layers, on MNIST, at equal lookup tables.

``python -m benchmarks.explore_front`` searches the widths of weights and activations of each layer and a factor of the
hidden layers of ``tfc`` (``flows.explore``), with validation frames only. The uniform networks w1a1, w2a2, w4a4 and
w8a8 are the first four of the search. For each of them the most accurate network of the search (validation frames) with
no more estimated lookup tables and block RAM is chosen. Then all of these are trained with three seeds as long as in
the search, and measured on the test set, which chooses nothing. An interrupted call goes on where it was, in ``--out``.
Needs ``$BITFABRIC_DATA``. The results are kept in ``benchmarks/explore/mnist.json``; ``--table`` only prints them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import report
from flows.explore.space import Space
from flows.explore.study import UNIFORM, Study, explore
from flows.explore.tried import Tried
from hw.host.errors import UsageError

FILE = Path(__file__).with_name("explore") / "mnist.json"
MODEL, DATA, TARGET, FPS = "tfc-w4a4", "mnist", "ulx3s-85f", 100_000
SPACE = Space(bits=(1, 2, 4, 8), acts=(1, 2, 4, 8), width=(0.5, 0.75, 1.0, 1.5, 2.0))
TRIALS, EPOCHS, SEEDS = 60, 5, 3


def uniform_of(study: Study) -> dict[str, Tried]:
    """The networks of one width, by name."""
    found = {}
    for bits, acts in UNIFORM:
        for each in study.trials:
            wanted = {"bits": bits, "acts": acts, "width": 1.0}
            if all(value == wanted[name.partition(".")[0]] for name, value in each.params.items()):
                found[f"w{bits}a{acts}"] = each
    return found


def chosen_for(study: Study, uniform: Tried) -> Tried | None:
    """The most accurate network of the search, on validation frames, of no more lookup tables and block RAM."""
    try:
        return study.best(lut=uniform.hardware["lut"], bram=uniform.hardware["bram"])
    except UsageError:
        return None


def measure(out: Path) -> dict[str, Any]:
    study = explore(MODEL, TARGET, out, SPACE, data=DATA, fps=FPS, trials=TRIALS, epochs=(EPOCHS,))
    uniform = uniform_of(study)
    pairs = {name: chosen_for(study, each) for name, each in uniform.items()}
    numbers = sorted({each.number for each in (*uniform.values(), *pairs.values()) if each is not None})
    finished = {each.number: each for each in study.finish(numbers, seeds=SEEDS, stop_after="emulate", told=print)}

    def described(each: Tried) -> dict[str, Any]:
        made = finished[each.number]
        return {
            "number": each.number,
            "params": dict(each.params),
            "validation": each.accuracy,
            "lut": each.hardware["lut"],
            "bram": each.hardware["bram"],
            "test": [run.test for run in made.runs],
            "mean": made.test,
            "spread": made.spread,
            "why": made.why,
        }

    rows = {
        name: {"uniform": described(each), "searched": None if (best := pairs[name]) is None else described(best)}
        for name, each in uniform.items()
    }
    states = [each.state for each in study.trials]
    return {
        "model": MODEL, "data": DATA, "target": TARGET, "fps": FPS, "epochs": EPOCHS, "space": SPACE.to_json(),
        "trials": {state: states.count(state) for state in sorted(set(states))}, "rows": rows,
    }  # fmt: skip


def show(results: dict[str, Any]) -> None:
    rows = []
    for name, pair in results["rows"].items():
        uniform, searched = pair["uniform"], pair["searched"]
        cells = [name, f"{uniform['lut']:,.0f}, {uniform['bram']:.0f}", percent(uniform)]
        if searched is None:
            rows.append([*cells, "-", "-", "-", "no network is as small"])
            continue
        more = 100 * (searched["mean"] - uniform["mean"])
        noise = 100 * max(searched["spread"], uniform["spread"])
        verdict = "itself" if searched["number"] == uniform["number"] else "yes" if more > noise else "no"
        rows.append([*cells, f"{searched['lut']:,.0f}, {searched['bram']:.0f}", percent(searched), f"{more:+.2f}",
                     verdict])  # fmt: skip
    columns = ["uniform", "LUT, BRAM", "test %", "searched: LUT, BRAM", "test %", "more", "more than the spread"]
    title = (
        f"{results['model'].partition('-')[0]}, {results['data']}, {results['target']} at {results['fps']:,} frames/s "
        f"(estimated), {SEEDS} seeds of {results['epochs']} epochs; searched: {results['trials']}"
    )
    report.show(title, columns, rows)


def percent(each: dict[str, Any]) -> str:
    return f"{100 * each['mean']:.2f} +- {100 * each['spread']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/bench/explore_front"), help="folder of the study")
    parser.add_argument("--table", action="store_true", help="only print the results")
    options = parser.parse_args()
    if not options.table:
        results = measure(options.out)
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(f"{json.dumps(results, indent=1)}\n")
    show(json.loads(FILE.read_text()))


if __name__ == "__main__":
    main()
