"""Searches against networks of one width for all layers, on MNIST, with no more of the hardware.

``python -m benchmarks.explore_front`` first trains ``tfc`` with the uniform widths w1a1, w2a2, w4a4 and w8a8. For each
of them searches (``flows.explore``) follow at the same rate (SEARCHES): one has its estimated lookup tables, block RAMs
and DSPs as limits, one its lookup tables alone, and one as well, trained longer. For a uniform network with DSPs
another one follows, in which neither has any (``--max-dsp 0``), so that all products are in lookup tables. The searches
choose among the widths of the weights of each layer and of each activation, the bits of the pixels, and the sizes of
the hidden layers, with some trainings of few epochs; the last one only among the bits of pixels and the sizes, of
networks with 4 bits.
All trainings shift their images at random (AUGMENT): without that the small networks, too, learn their training frames
by heart, and those with more weights are worth no more. The scheme is the same everywhere.

The FINALISTS of a search with the best accuracy on validation frames, and the uniform networks, are trained with SEEDS
seeds, for as many epochs; in the last two searches these are more. Of the finalists that are
within the limits and have as many epochs, that with the best mean on validation frames is held against a uniform
network. Test frames choose nothing. Ends with status 1 where a uniform network is not beaten by more than the spread
with no more lookup tables, be it with DSPs or without. An interrupted call goes on where it was, in ``--out``, and a
search whose results are kept in ``benchmarks/explore/mnist.json`` is not repeated; ``--table`` only prints them. Needs
``$BITFABRIC_DATA``.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import report
from flows.config import STEPS
from flows.explore.finish import Finished
from flows.explore.first import UNIFORM
from flows.explore.space import Space
from flows.explore.study import Study, explore
from flows.explore.trial import Trials
from flows.explore.tried import Tried
from hw.host.errors import UsageError

FILE = Path(__file__).with_name("explore") / "mnist.json"
MODEL, DATA, TARGET, FPS = "tfc-w4a4", "mnist", "ulx3s-85f", 100_000
WIDTHS = Space(bits=(1, 2, 4, 8), acts=(1, 2, 4, 8))
"""Of these networks only the uniform ones are trained, with which each search of so few trials begins."""
HIDDEN: tuple[Any, ...] = ([128, 64, 64], [64, 64, 64], [96, 64, 64], [128, 128, 128], [192, 64, 64])
WIDER: tuple[Any, ...] = (*HIDDEN, [128, 128, 64], [160, 64, 64], [256, 64, 64], [256, 128, 64])
WIDEST: tuple[Any, ...] = (
    [128, 64, 64], [160, 64, 64], [128, 128, 64], [256, 64, 64], [256, 128, 64], [256, 256, 64], [512, 64, 64],
)  # fmt: skip
SMALLER: tuple[Any, ...] = ([128, 64, 64], [128, 64], [160, 64])
KINDS = ("lut", "bram", "dsp")
EPOCHS, FINALISTS, SEEDS = 10, 2, 3


@dataclass(frozen=True)
class Search:
    """A search: the kinds of resources of which a network may have no more than the uniform one, the trainings and
    their epochs, the space, the epochs in full, and what both networks are limited to."""

    kinds: tuple[str, ...]
    trials: int
    first: int
    space: Space
    epochs: int = EPOCHS
    limits: Mapping[str, int] = field(default_factory=dict)

    def concerns(self, uniform: Mapping[str, Any]) -> bool:
        """Whether the limits exclude the uniform network as it is, or there are none."""
        return not self.limits or any(uniform[kind] > most for kind, most in self.limits.items())


SEARCHES = {
    "no more LUT, block RAM and DSPs": Search(
        KINDS, 16, 2, Space(bits=(1, 2, 4), acts=(2, 4), options={"in_bits": (4, 2, 1), "hidden": HIDDEN})
    ),
    "no more LUT": Search(
        ("lut",), 60, 2, Space(bits=(1, 2, 4, 8), acts=(2, 4, 8), options={"in_bits": (8, 4, 2, 1), "hidden": WIDER})
    ),
    "no more LUT, trained longer": Search(
        ("lut",), 16, 5, Space(bits=(2, 4), acts=(2, 4), options={"in_bits": (2,), "hidden": SMALLER}), 30
    ),
    "no DSPs, no more LUT": Search(
        ("lut", "dsp"), 24, 5, Space(options={"in_bits": (4, 2, 1), "hidden": WIDEST}), 30, {"dsp": 0}
    ),
}
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


def finished(study: Study, networks: list[Tried], epochs: int) -> list[dict[str, Any]]:
    """Trains networks with all seeds, and describes them."""
    made = study.finish(
        [each.number for each in networks], seeds=SEEDS, epochs=epochs, stop_after=STEPS[0], told=print
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


def limited(study: Study, network: Tried, limits: Mapping[str, int]) -> dict[str, float]:
    """The hardware of a trained network of a study with the folding that is the cheapest within limits."""
    assert network.folder is not None, "a trained network"
    found = Trials(replace(study.settings, limits=dict(limits))).measured(network.folder, network.accuracy or 0.0)
    if found.excess:
        sys.exit(f"number {network.number} does not fit: {found.why}")
    return {kind: found.hardware[kind] for kind in KINDS}


def measure(out: Path) -> None:
    """Measures what is missing, and keeps the results after each search."""
    settings = {
        "model": MODEL, "data": DATA, "target": TARGET, "fps": FPS, "augment": AUGMENT, "seeds": SEEDS,
    }  # fmt: skip
    kept: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    if any(kept.get(name) != value for name, value in settings.items()):
        kept = {}
    results = {**settings, "spaces": {}, "rows": {}, **kept}
    study, uniform = uniform_networks(out / "uniform")
    for name, each in uniform.items():
        if name not in results["rows"]:
            (made,) = finished(study, [each], EPOCHS)
            results["rows"][name] = {"uniform": made, "searches": {}}
    for equal, search in SEARCHES.items():
        space = search.space.to_json()
        for name, each in reversed(uniform.items()):
            row = results["rows"][name]
            known = equal in row["searches"] and results["spaces"].get(equal) == space
            if known or not search.concerns(row["uniform"]):
                continue
            found: dict[str, Any] = {"uniform": row["uniform"], "epochs": search.epochs, "finalists": []}
            if search.epochs != EPOCHS:
                (found["uniform"],) = finished(study, [each], search.epochs)
            if search.limits:
                found["uniform"] = found["uniform"] | limited(study, each, search.limits)
            limits = {kind: int(found["uniform"][kind]) for kind in search.kinds}
            try:
                tried = explore(
                    MODEL, TARGET, out / f"{name}-{equal.replace(',', '').replace(' ', '-')}", search.space, data=DATA,
                    fps=FPS, trials=search.trials, epochs=(search.first,), augment=AUGMENT, limits=limits,
                )  # fmt: skip
            except UsageError as error:  # none of those that it tried fits
                print(f"{name}, {equal}: {error}")
                found["trials"] = str(error)
            else:
                trained = [one for one in tried.trials if one.state == "trained"]
                best = sorted(trained, key=lambda one: (-(one.accuracy or 0.0), one.number))[:FINALISTS]
                states = [one.state for one in tried.trials]
                found["finalists"] = finished(tried, best, search.epochs)
                found["trials"] = {state: states.count(state) for state in sorted(set(states))}
            row["searches"][equal] = found
            FILE.parent.mkdir(exist_ok=True)
            FILE.write_text(f"{json.dumps(results, indent=1)}\n")
        results["spaces"][equal] = space
        FILE.write_text(f"{json.dumps(results, indent=1)}\n")


def show(results: dict[str, Any]) -> bool:
    """Prints the comparisons; returns whether every uniform network is beaten by more than the spread with no more
    lookup tables, be it with DSPs or without."""
    columns = ["uniform", "LUT, BRAM, DSP", "test %", "searched", "LUT, BRAM, DSP", "test %", "more", "> spread"]
    every = [search for row in results["rows"].values() for search in row["searches"].values()]
    beaten = set()
    for equal, search in SEARCHES.items():
        rows = []
        for name, row in results["rows"].items():
            if (found := row["searches"].get(equal)) is None:
                continue
            uniform = found["uniform"]
            finalists = [each for one in every if one["epochs"] == search.epochs for each in one["finalists"]]
            within = [each for each in finalists if all(each[kind] <= uniform[kind] for kind in search.kinds)]
            best = max(within, key=lambda each: each["validation"], default=None)
            cells = [name, used(uniform), percent(uniform)]
            if best is None:
                rows.append([*cells, "-", "-", "-", "-", "no network is as small"])
                continue
            more, noise = best["mean"] - uniform["mean"], max(best["spread"], uniform["spread"])
            if more > noise and "bram" not in search.kinds:
                beaten.add(name)
            verdict = "yes" if more > noise else "no"
            rows.append([*cells, network(best["params"]), used(best), percent(best), f"{100 * more:+.2f}", verdict])
        report.show(
            f"{results['model'].partition('-')[0]}, {results['data']}, {results['target']} at {results['fps']:,} "
            f"frames/s (hardware estimated), {results['seeds']} seeds of {search.epochs} epochs; {equal}",
            columns,
            rows,
        )
    return beaten == set(results["rows"])


def network(params: dict[str, Any]) -> str:
    kinds = {kind: " ".join(str(value) for name, value in params.items() if name.startswith(f"{kind}."))
             for kind in ("bits", "acts")}  # fmt: skip
    widths = f"weights {kinds['bits']}, activations {kinds['acts']}" if kinds["bits"] else MODEL.partition("-")[2]
    return f"{params['option.hidden']}, {params['option.in_bits']}-bit pixels, {widths}"


def used(each: Mapping[str, Any]) -> str:
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
