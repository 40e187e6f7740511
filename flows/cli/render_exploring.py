"""The terminal output of ``bitfabric sensitivity`` and ``bitfabric explore``."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.cli.console import number, out, plural, print_warnings, say, show
from flows.cli.tables import Table
from flows.explore.commands import build_command
from flows.explore.page import PROXY, title
from flows.explore.space import described
from flows.report.study import figure

if TYPE_CHECKING:
    from flows.explore.finish import Finished
    from flows.explore.study import Study


def sensitivities(result: Mapping[str, Any]) -> None:
    """Print the effects of all widths, and the front."""
    frames = "frames that the training held out" if result["held_out"] else "training frames"
    say(
        f"{result['frames']} {frames}: accuracy {result['accuracy']:.2%}, loss {result['loss']:.4f}; "
        f"{result['cost']['lut']:,} LUT estimated, the core at {result['fps']:,.0f} frames/s on {result['target']}"
    )
    if not result["held_out"]:
        print_warnings(["the run held no frames out, so what it learned is measured; train with --validation 0.1"])
    shown = Table("layer", "bits", "accuracy", "loss +", "curvature", "LUT", "BRAM")
    for each in result["effects"]:
        width = each["width"]
        shown.add_row(
            each["name"],
            f"{width}{' *' if each['present'] else ''}",
            f"{each['accuracy']:.2%}",
            f"{each['loss']:.4f}",
            f"{each['predicted']:.4f}",
            f"{each['cost']['lut']:,}",
            f"{each['cost']['bram']:,}",
        )
    show(shown)
    out.print()
    say(
        "The best widths for their cost, as estimated (the sum of the shares of LUT, FF, BRAM and DSP; * above: as "
        "trained):"
    )
    best = Table("weights", "activations", "loss +", "LUT", "BRAM", "DSP", "of the device")
    for point in result["front"]:
        cost = point["cost"]
        best.add_row(
            " ".join(map(str, point["layers"].values())),
            " ".join(map(str, point["activations"].values())),
            f"{point['loss']:.4f}",
            f"{cost['lut']:,}",
            f"{cost['bram']:,}",
            f"{cost['dsp']:,}",
            f"{cost['share']:.1%}",
        )
    show(best)


def studied(study: "Study") -> None:
    """Print the front of a study, with the command that builds each network of it."""
    settings = study.settings
    counts = Counter(each.state for each in study.trials)
    many = {"does not fit": "do not fit"}
    say(", ".join(f"{count} {state if count == 1 else many.get(state, state)}" for state, count in counts.items()))
    if failed := next((each for each in study.trials if each.state == "failed"), None):
        print_warnings([f"{plural(counts['failed'], 'network')} failed; number {failed.number}: {failed.why}"])
    front = study.front
    if not front:
        out_of = [each for each in study.trials if each.state == "does not fit"]
        nearest = min(out_of, key=lambda each: each.excess, default=None)
        said = f"; the nearest, number {nearest.number}: {nearest.why}" if nearest else ""
        say(f"no network is within the limits{said}")
        return
    energies = settings.objectives[1] == "energy"
    named = [title("energy", settings.target)] * energies
    shown = Table("number", "accuracy", "LUT", "BRAM", "DSP", "frames/s", *named, "network")
    for each in front:
        hardware = each.hardware
        shown.add_row(
            str(each.number),
            f"{each.accuracy or 0:.2%}",
            *(f"{hardware[name]:,.0f}" for name in ("lut", "bram", "dsp", "fps")),
            *([figure(hardware["energy"])] * energies),
            described(each.params),
        )
    show(shown)
    best = front[-1]
    say(
        f"hardware as estimated, frames/s of the core; accuracy on {settings.validation:.0%} of the training set, "
        "which chose these. With other seeds, on the test set, and built: "
        f"bitfabric explore --finish {min(3, len(front))} -o {study.folder}. One as it is: "
        f"{build_command(settings, best, str(best.folder))}"
    )
    if energies:
        say(PROXY)


def finished(study: "Study", networks: Sequence["Finished"]) -> None:
    """Print what finished networks were estimated to be, and what was measured."""
    done = [each for each in networks if each.runs]
    energies = study.settings.objectives[1] == "energy"
    named = [title("energy", study.settings.target), "from counted toggles"] * energies
    shown = Table("number", "estimated LUT", "LUT", "error", *named, "MHz", "validation", "test", "of the integers",
                  "mismatches", "network")  # fmt: skip
    for each in done:
        made = each.measured
        lut = made.resources["lut"] if made and made.resources else None
        guess = each.estimated["lut"]
        shown.add_row(
            str(each.number),
            f"{guess:,.0f}",
            number(lut),
            "-" if not lut else f"{guess / lut - 1:+.1%}",
            *([figure(each.estimated["energy"]), figure(made.energy if made else None)] if energies else []),
            number(made.fmax_mhz if made else None, ".1f"),
            f"{each.estimated['accuracy']:.2%}",
            f"{each.test:.2%}" + ("" if each.spread is None else f" ± {100 * each.spread:.2f}"),
            number(made.test if made else None, ".2%"),
            number(made.mismatches if made else None),
            described(each.params),
        )
    show(shown)
    print_warnings([f"number {each.number} is not finished: {each.why}" for each in networks if each.why])
    if done:
        runs = plural(len(done[0].runs), "training")
        say(
            f"estimated LUT and validation accuracy chose these networks; LUT of the synthesised core; test: mean and "
            f"standard deviation of {runs} of {plural(done[0].epochs, 'epoch')} each. Of each, the training with the "
            f"best validation accuracy is built, in {study.folder}/finished/NUMBER/build"
        )
