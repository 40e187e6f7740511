"""The front of a search against networks of one width for all layers, on MNIST, at equal lookup tables.

``python -m benchmarks.explore_front`` searches the widths of weights and activations of each layer, the scheme, and a
factor of the hidden layers of ``tfc`` (``flows.explore``), with validation frames only. The uniform networks w1a1,
w2a2, w4a4 and w8a8 (scheme ``integer``) are the first four of the search. For each of them the most accurate network
of the search (validation frames) is chosen that has no more estimated lookup tables, and the most accurate that has no
more block RAM and DSPs either. Then all of these are trained with three seeds as long as in the search, and measured on
the test set, which chooses nothing. An interrupted call goes on where it was, in ``--out``. Needs ``$BITFABRIC_DATA``.
The results are kept in ``benchmarks/explore/mnist.json``; ``--table`` only prints them.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from flows.explore.first import UNIFORM
from flows.explore.space import Space
from flows.explore.study import Study, explore
from flows.explore.tried import Tried
from hw.host.errors import UsageError

FILE = Path(__file__).with_name("explore") / "mnist.json"
MODEL, DATA, TARGET, FPS = "tfc-w4a4", "mnist", "ulx3s-85f", 100_000
SPACE = Space(
    bits=(1, 2, 4, 8), acts=(1, 2, 4, 8), width=(0.5, 0.75, 1.0, 1.5, 2.0), scheme=("integer", "learned_step")
)
TRIALS, EPOCHS, SEEDS = 120, 5, 3
KINDS = ("lut", "bram", "dsp")
EQUAL = {"LUT": KINDS[:1], "LUT, BRAM and DSP": KINDS}
"""What a network of the search has no more of, by the name of the comparison."""


def uniform_of(study: Study) -> dict[str, Tried]:
    """The networks of one width, by name."""
    found = {}
    for bits, acts in UNIFORM:
        for each in study.trials:
            wanted = {"bits": bits, "acts": acts, "width": 1.0, "scheme": "integer"}
            if all(value == wanted[name.partition(".")[0]] for name, value in each.params.items()):
                found[f"w{bits}a{acts}"] = each
    return found


def chosen_for(study: Study, uniform: Tried, kinds: Sequence[str]) -> Tried | None:
    """The most accurate network of the search, on validation frames, that needs no more of these resources."""
    try:
        return study.best(**{kind: uniform.hardware[kind] for kind in kinds})
    except UsageError:
        return None


def measure(out: Path) -> dict[str, Any]:
    study = explore(MODEL, TARGET, out, SPACE, data=DATA, fps=FPS, trials=TRIALS, epochs=(EPOCHS,))
    uniform = uniform_of(study)
    pairs = {(name, equal): chosen_for(study, each, kinds) for name, each in uniform.items()
             for equal, kinds in EQUAL.items()}  # fmt: skip
    numbers = sorted({each.number for each in (*uniform.values(), *pairs.values()) if each is not None})
    finished = {each.number: each for each in study.finish(numbers, seeds=SEEDS, stop_after="emulate", told=print)}

    def described(each: Tried) -> dict[str, Any]:
        made = finished[each.number]
        return {
            "number": each.number,
            "params": dict(each.params),
            "validation": each.accuracy,
            **{kind: each.hardware[kind] for kind in KINDS},
            "test": [run.test for run in made.runs],
            "mean": made.test,
            "spread": made.spread,
            "why": made.why,
        }

    rows = {
        name: {
            "uniform": described(each),
            "searched": {equal: None if (best := pairs[name, equal]) is None else described(best) for equal in EQUAL},
        }
        for name, each in uniform.items()
    }
    states = [each.state for each in study.trials]
    return {
        "model": MODEL, "data": DATA, "target": TARGET, "fps": FPS, "epochs": EPOCHS, "space": SPACE.to_json(),
        "trials": {state: states.count(state) for state in sorted(set(states))}, "rows": rows,
    }  # fmt: skip


def show(results: dict[str, Any]) -> None:
    columns = ["uniform", "LUT, BRAM, DSP", "test %", "searched", "test %", "more", "more than the spread"]
    title = (
        f"{results['model'].partition('-')[0]}, {results['data']}, {results['target']} at {results['fps']:,} frames/s "
        f"(estimated), {SEEDS} seeds of {results['epochs']} epochs; searched: {results['trials']}; at equal "
    )
    uniforms = {pair["uniform"]["number"] for pair in results["rows"].values()}
    for equal in EQUAL:
        rows = []
        for name, pair in results["rows"].items():
            uniform, searched = pair["uniform"], pair["searched"][equal]
            cells = [name, used(uniform), percent(uniform)]
            if searched is None:
                rows.append([*cells, "-", "-", "-", "no network is as small"])
                continue
            more = 100 * (searched["mean"] - uniform["mean"])
            noise = 100 * max(searched["spread"], uniform["spread"])
            verdict = "yes" if more > noise else "no"
            if searched["number"] in uniforms:
                verdict = "itself" if searched["number"] == uniform["number"] else f"{verdict}, a uniform one"
            rows.append([*cells, used(searched), percent(searched), f"{more:+.2f}", verdict])
        report.show(title + equal, columns, rows)


def used(each: dict[str, Any]) -> str:
    return ", ".join(f"{each[kind]:,.0f}" for kind in KINDS)


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
