"""The figures of the README, from result files. ``python -m benchmarks.readme`` writes them, ``--check`` only compares.

Between ``<!-- NAME -->`` and ``<!-- end of NAME -->`` stand the lines that a function here makes. ``--demo`` runs
``make demo`` first, and keeps what it prints in ``benchmarks/demo.txt``, from which the transcripts of the README and
of ``docs/getting-started.md`` are.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
DEMO = HERE / "demo.txt"


def _read(name: str) -> dict[str, Any]:
    return json.loads((HERE / f"{name}.json").read_text())


def demo() -> str:
    """What ``make demo`` printed."""
    return f"```text\n{DEMO.read_text().rstrip()}\n```"


def result() -> str:
    """The lines of it that say what was reached."""
    kept = ("test accuracy", "LUT  ", "BRAM  ", "clock", "interval", "host link", "latency", "engine ", "qonnx",
            "emulator  ", "rtl ", "netlist (", "layer  ", "fc0 ", "fc3 ", "(shell)")  # fmt: skip
    whole, _, _ = DEMO.read_text().partition("FINN's estimate")
    return "\n".join(["```text", *(line for line in whole.splitlines() if line.startswith(kept)), "```"])


def measured() -> str:
    """The table of what was measured."""
    rows = [row for part in (_lookup, _constant, _pruning, _ties, _accuracy, _quantized) for row in part()]
    head = ["| what | measured | beside it, in the same run or as published | by |", "|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


Row = tuple[str, str, str, str]


def _lookup() -> Iterator[Row]:
    for case, what, limits in (("digits", "digits, 1,400 tables", "97.0 %, 4,500 cells, 120 MHz"),
                               ("mnist", "MNIST, 2,100 tables", "98.1 %, 6,000 cells, 120 MHz")):  # fmt: skip
        seeds = _read(f"lookup/{case}")
        reached = [each["accuracy"] for each in seeds.values()]
        first = seeds["0"]
        yield (
            f"lookup network, {what}, a frame a cycle, ECP5-85F",
            f"{mean(reached):.2f} ± {stdev(reached):.2f} % ({len(reached)} seeds); seed 0 placed: {first['placed']:,} "
            f"cells, {first['fmax_mhz']:.0f} MHz",
            f"wanted: {limits}",
            f"`benchmarks.lookup {case}`",
        )
    image = _read("lookup/images")["icebreaker"]
    lut, bram = image["resources"]["lut"]["used"], image["resources"]["bram"]["used"]
    yield (
        "lookup network, digits, 700 tables, image for the iCEBreaker, shell included",
        f"{image['fmax_mhz']:.1f} MHz, {lut:,} LUT, {bram} block RAMs; no mismatch in the placed netlist",
        f"{image['clock_mhz']:g} MHz asked",
        "`benchmarks.lookup --images`",
    )


def _constant() -> Iterator[Row]:
    for family, name in (("xc7", "7 series"), ("ecp5", "ECP5")):
        matrices = _read("constant_matrices")["families"][family].values()
        both = [each for each in matrices if each.get("ours (a)") and each.get("alkaid (a)")]
        ours, theirs = (sum(each[key] for each in both) for key in ("ours (a)", "alkaid (a)"))
        worse = sum(each["ours (a)"] > each["alkaid (a)"] for each in both)
        yield (
            f"{len(both)} matrices in logic, {name}",
            f"{ours:,} LUT",
            f"alkaid 0.8.2: {theirs:,} LUT; fewer than ours on {worse}",
            "`benchmarks.constant_matrices`",
        )


def _pruning() -> Iterator[Row]:
    rows = _read("pruning/digits")

    def of(criterion: str, density: str) -> tuple[str, float]:
        found = [rows[f"{criterion}-{density}-{seed}"] for seed in range(3)]
        return f"{100 * mean(each['accuracy'] for each in found):.1f} %", mean(
            each["unrolled"]["lut"] for each in found
        )

    dense, pruned, narrow = of("dense", "1"), of("magnitude", "0.1"), of("narrower", "0.1")
    yield (
        "`tfc-w4a4` on the digits pruned to 10 %, a frame a cycle, ECP5-85F, estimated",
        f"{pruned[0]}, {pruned[1]:,.0f} LUT",
        f"dense: {dense[0]}, {dense[1]:,.0f} LUT; a dense network of as many weights: {narrow[0]}, "
        f"{narrow[1]:,.0f} LUT",
        "`benchmarks.pruning`",
    )


def _ties() -> Iterator[Row]:
    rows = _read("tied/mnist")

    def of(name: str) -> str:
        found = [rows[f"{name}-{seed}"] for seed in range(3)]
        bram = mean(each["folded"]["bram"] for each in found)
        return f"{100 * mean(each['accuracy'] for each in found):.1f} %, {bram:.0f} block RAMs"

    yield (
        "`tfc-w4a4` on MNIST in circulant blocks of 8, 64 cycles a frame, estimated",
        of("circulant:8"),
        f"dense: {of('dense')}; a narrower network: {of('narrower, 1/8')}",
        "`benchmarks.tied mnist`",
    )


def _accuracy() -> Iterator[Row]:
    for name in ("tfc-w1a1", "lfc-w1a1-taught"):
        run = _read(f"accuracy/{name}")
        yield (
            f"`{run['model']}` on MNIST{', taught by a float network' if run['teacher'] else ''}",
            f"{100 * run['accuracy']['test']:.2f} % (one seed)",
            f"{run['reference']} %".replace(" (", " % (").removesuffix(" %"),
            "`benchmarks.accuracy`",
        )


def _quantized() -> Iterator[Row]:
    for name, data in (("lenet5-mnist", "MNIST"), ("lenet5-fashion", "Fashion-MNIST")):
        reached = [_read(f"ptq/{name}-{seed}")["accuracy"] for seed in range(3)]

        def of(way: str, reached: list[dict[str, float]] = reached) -> str:
            return f"{100 * mean(each[way] for each in reached):.2f} %"

        yield (
            f"LeNet-5 on {data}, quantized after training (three seeds)",
            f"8 bits {of('8 bits, power-of-two')}, 4 bits {of('4 bits, power-of-two')}, trained further "
            f"{of('4 bits, power-of-two, trained')}",
            f"float {of('float')}; Brevitas's own recipe, 4 bits: {of('Brevitas, 4 bits, power-of-two')}",
            "`benchmarks.ptq`",
        )


PARTS: dict[str, Callable[[], str]] = {"demo": demo, "result": result, "measured": measured}
PAGES = (ROOT / "README.md", ROOT / "docs" / "getting-started.md")


def renewed(text: str) -> str:
    """The text of a page with its marked parts made anew."""

    def part(found: re.Match[str]) -> str:
        name = found[1]
        return f"<!-- {name} -->\n{PARTS[name]()}\n<!-- end of {name} -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end of \1 -->", part, text, flags=re.S)


def run_demo() -> None:
    """Run ``make demo`` and keep what it prints, without paths of this machine."""
    done = subprocess.run(["make", "demo"], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(done.stdout)
    DEMO.write_text(done.stdout.replace(f"{ROOT}/", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a page has other figures")
    parser.add_argument("--demo", action="store_true", help="run make demo first")
    options = parser.parse_args()
    if options.demo:
        run_demo()
    for page in PAGES:
        text = page.read_text()
        made = renewed(text)
        if made != text and options.check:
            sys.exit(f"{page.relative_to(ROOT)} is stale: make readme")
        page.write_text(made)


if __name__ == "__main__":
    main()
