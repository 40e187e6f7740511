"""Searches against networks of one width for all layers, on MNIST, with no more of the hardware.

``python -m benchmarks.explore_front`` first trains ``tfc`` with the uniform widths w1a1, w2a2, w4a4 and w8a8. For each
of them two searches (``flows.explore``) follow at the same rate: one has its estimated lookup tables, block RAMs and
DSPs as limits, the other its lookup tables alone. They choose among the widths of the weights of each layer and of each
activation, the bits of the pixels, and the sizes of the hidden layers (SEARCHES), with some trainings of SEARCH epochs.
All trainings shift their images at random (AUGMENT): without that the small networks, too, learn their training frames
by heart, and those with more weights are worth no more.
The scheme is the same everywhere.

The FINALISTS with the best accuracy on validation frames, and the uniform networks, are trained with SEEDS seeds for
EPOCHS epochs. Of the finalists of all searches, that with the best mean on validation frames is held against a uniform
network, once among those with no more of any resource, and once among those with no more lookup tables. Test frames
choose nothing. Ends with status 1 where a uniform network is not beaten by more than the spread, with no more lookup
tables. An interrupted call goes on where it was, in ``--out``. Needs ``$BITFABRIC_DATA``. The results are kept in
``benchmarks/explore/mnist.json``; ``--table`` only prints them.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks import report
from flows.config import STEPS
from flows.explore.finish import Finished
from flows.explore.first import UNIFORM
from flows.explore.space import Space
from flows.explore.study import Study, explore
from flows.explore.tried import Tried
from hw.host.errors import UsageError

FILE = Path(__file__).with_name("explore") / "mnist.json"
MODEL, DATA, TARGET, FPS = "tfc-w4a4", "mnist", "ulx3s-85f", 100_000
WIDTHS = Space(bits=(1, 2, 4, 8), acts=(1, 2, 4, 8))
"""Of these networks only the uniform ones are trained, with which each search of so few trials begins."""
HIDDEN: tuple[Any, ...] = ([128, 64, 64], [64, 64, 64], [96, 64, 64], [128, 128, 128], [192, 64, 64])
WIDER: tuple[Any, ...] = (*HIDDEN, [128, 128, 64], [160, 64, 64], [256, 64, 64], [256, 128, 64])
KINDS = ("lut", "bram", "dsp")
SEARCHES: dict[str, tuple[tuple[str, ...], int, Space]] = {
    "LUT, block RAM and DSPs": (
        KINDS,
        16,
        Space(bits=(1, 2, 4), acts=(2, 4), options={"in_bits": (4, 2, 1), "hidden": HIDDEN}),
    ),
    "LUT": (
        KINDS[:1],
        60,
        Space(
            bits=(1, 2, 4, 8),
            acts=(2, 4, 8),
            options={"in_bits": (8, 4, 2, 1), "hidden": WIDER},
        ),
    ),
}
"""What a network may have no more of, and the trainings and the space of the search for it, by the comparison."""
SEARCH, EPOCHS, FINALISTS, SEEDS = 2, 10, 2, 3
AUGMENT = "shift"


def uniform_networks(out: Path) -> tuple[Study, dict[str, Tried]]:
    """The study of the networks of one width, and these by name."""
    study = explore(
        MODEL, TARGET, out, WIDTHS, data=DATA, fps=FPS, trials=len(UNIFORM), epochs=(EPOCHS,), augment=AUGMENT
    )
    found = {}
    for bits, acts in UNIFORM:
        wanted = {"bits": bits, "acts": acts}
        found[f"w{bits}a{acts}"] = next(
            each for each in study.trials
            if all(value == wanted[name.partition(".")[0]] for name, value in each.params.items())
        )  # fmt: skip
    return study, found


def finished(study: Study, networks: list[Tried]) -> list[dict[str, Any]]:
    """Trains networks with all seeds, and describes them."""
    made = study.finish(
        [each.number for each in networks], seeds=SEEDS, epochs=EPOCHS, stop_after=STEPS[0], told=print
    )  # fmt: skip
    return [described(*each) for each in zip(networks, made, strict=True)]


def described(network: Tried, made: Finished) -> dict[str, Any]:
    if made.why:
        sys.exit(f"number {network.number} could not be finished: {made.why}")
    return {
        "number": network.number,
        "params": dict(network.params),
        **{kind: network.hardware[kind] for kind in KINDS},
        "validation": statistics.mean(run.validation for run in made.runs),
        "test": [run.test for run in made.runs],
        "mean": made.test,
        "spread": made.spread,
    }


def measure(out: Path) -> None:
    """Measures all, and keeps the results after each uniform network."""
    study, uniform = uniform_networks(out / "uniform")
    rows: dict[str, Any] = {name: {"uniform": finished(study, [each])[0]} for name, each in uniform.items()}
    for name, each in reversed(uniform.items()):
        rows[name] |= {"finalists": [], "trials": {}}
        for equal, (kinds, trials, space) in SEARCHES.items():
            limits = {kind: int(each.hardware[kind]) for kind in kinds}
            try:
                search = explore(
                    MODEL, TARGET, out / f"{name}-{'-'.join(kinds)}", space, data=DATA, fps=FPS, trials=trials,
                    epochs=(SEARCH,), augment=AUGMENT, limits=limits,
                )  # fmt: skip
            except UsageError as error:  # none of those that it tried fits
                print(f"{name}, no more {equal}: {error}")
                rows[name]["trials"][equal] = str(error)
                continue
            trained = [one for one in search.trials if one.state == "trained"]
            best = sorted(trained, key=lambda one: (-(one.accuracy or 0.0), one.number))[:FINALISTS]
            states = [one.state for one in search.trials]
            rows[name]["finalists"] += finished(search, best)
            rows[name]["trials"][equal] = {state: states.count(state) for state in sorted(set(states))}
        results = {
            "model": MODEL, "data": DATA, "target": TARGET, "fps": FPS,
            "spaces": {equal: space.to_json() for equal, (_, _, space) in SEARCHES.items()},
            "search": SEARCH, "augment": AUGMENT, "epochs": EPOCHS, "seeds": SEEDS, "rows": rows,
        }  # fmt: skip
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(f"{json.dumps(results, indent=1)}\n")


def show(results: dict[str, Any]) -> bool:
    """Prints the comparisons; returns whether every uniform network is beaten by more than the spread, with no more
    lookup tables."""
    columns = ["uniform", "LUT, BRAM, DSP", "test %", "searched", "LUT, BRAM, DSP", "test %", "more", "> spread"]
    every, beaten = [each for row in results["rows"].values() for each in row.get("finalists", ())], 0
    for equal, (kinds, *_) in SEARCHES.items():
        rows, beaten = [], 0
        for name, row in results["rows"].items():
            uniform = row["uniform"]
            within = [each for each in every if all(each[kind] <= uniform[kind] for kind in kinds)]
            best = max(within, key=lambda each: each["validation"], default=None)
            cells = [name, used(uniform), percent(uniform)]
            if best is None:
                rows.append([*cells, "-", "-", "-", "-", "no network is as small"])
                continue
            more, noise = best["mean"] - uniform["mean"], max(best["spread"], uniform["spread"])
            beaten += more > noise
            verdict = "yes" if more > noise else "no"
            rows.append([*cells, network(best["params"]), used(best), percent(best), f"{100 * more:+.2f}", verdict])
        report.show(
            f"{results['model'].partition('-')[0]}, {results['data']}, {results['target']} at {results['fps']:,} "
            f"frames/s (hardware estimated), {results['seeds']} seeds of {results['epochs']} epochs; no more {equal}",
            columns,
            rows,
        )
    return beaten == len(UNIFORM)


def network(params: dict[str, Any]) -> str:
    kinds = {kind: " ".join(str(value) for name, value in params.items() if name.startswith(f"{kind}."))
             for kind in ("bits", "acts")}  # fmt: skip
    return (
        f"{params['option.hidden']}, {params['option.in_bits']}-bit pixels, weights {kinds['bits']}, "
        f"activations {kinds['acts']}"
    )


def used(each: dict[str, Any]) -> str:
    return ", ".join(f"{each[kind]:,.0f}" for kind in KINDS)


def percent(each: dict[str, Any]) -> str:
    return f"{100 * each['mean']:.2f} +- {100 * each['spread']:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/bench/explore_front"), help="folder of the studies")
    parser.add_argument("--table", action="store_true", help="only print the results")
    options = parser.parse_args()
    if not options.table:
        measure(options.out)
    return int(not show(json.loads(FILE.read_text())))


if __name__ == "__main__":
    sys.exit(main())
