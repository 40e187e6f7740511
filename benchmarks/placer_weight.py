"""Fmax on ECP5 by the weight that nextpnr's placer gives to timing (``--placer-heap-timingweight``), over some seeds.

``python -m benchmarks.placer_weight [NETWORK ...]`` places networks of ``tests.measured.clocks``, as "tfc-w1a1 1000"
(cycles a frame), out of context; or ``jsc-mlp-w3a3``, the network of ``benchmarks.jsc``, which takes hours. The option
has effect in designs of many cells only (``Toolchain.large_options``); here every weight is tried whatever their size.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from unittest.mock import patch

from benchmarks import jsc, report
from hw.families import find_device
from hw.ir.graph import Graph
from hw.lowering.lower import lower
from hw.rtl.design import generate
from hw.synth import nextpnr
from hw.synth.yosys import synthesise
from tests.measured import clocks, networks

DEVICE = "lfe5u-85f"
WEIGHTS = (10, 30)
SEEDS = (1, 2, 3, 4, 5)
CASES = {f"{case.network} {case.cycles}": case for case in clocks.CASES if case.target == DEVICE}
SHOWN = ("tfc-w1a1 1000", "tfc-w1a1 100", "tfc-w2a2 64")


def hardware(name: str, folder: Path) -> Graph:
    """A network with its FIFOs, in the folding that its clock was measured with."""
    if name == jsc.NETWORK:
        return jsc.hardware(lower(networks.make(name, folder)), find_device(DEVICE), 150.0)
    case = CASES[name]
    made, _ = clocks.folded(case, clocks.whole_networks().rows.get((DEVICE, name)), folder)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="*", default=SHOWN, help=f"default: {', '.join(SHOWN)}")
    options = parser.parse_args()
    if unknown := [name for name in options.network if name not in (*CASES, jsc.NETWORK)]:
        parser.error(f"no network {unknown[0]!r}; there are {', '.join((*CASES, jsc.NETWORK))}")
    device = find_device(DEVICE)
    usual, clock = nextpnr.toolchain(device), {jsc.NETWORK: 150.0}
    rows: list[list[object]] = []
    for name in options.network:
        with TemporaryDirectory() as folder:
            netlist = synthesise(generate(hardware(name, Path(folder)), device.family), device, Path(folder))
            for weight in WEIGHTS:
                tools = replace(usual, large_options=(0, ("--placer-heap-timingweight", str(weight))))
                with patch.object(nextpnr, "toolchain", return_value=tools):
                    tried = [
                        nextpnr.place_and_route(
                            netlist.netlist, device, Path(folder), clock.get(name, device.clock_mhz), seeds=(seed,)
                        ).fmax_mhz
                        for seed in SEEDS
                    ]  # fmt: skip
                cells = sum(netlist.cells.values())
                rows.append([name, f"{cells:,}", weight, *(f"{mhz:.1f}" for mhz in tried), f"{median(tried):.1f}"])
    columns = ["network", "cells", "weight", *(f"seed {seed}" for seed in SEEDS), "median MHz"]
    report.show(f"Fmax on the {DEVICE} by the placer's weight of timing", columns, rows)


if __name__ == "__main__":
    main()
