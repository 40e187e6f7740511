"""A whole jet tagger, unrolled: jsc-mlp-w3a3 (16-64-32-32-5) at one frame a cycle, beside its limits.

Prints the lookup tables after synthesis for xc7; the cycles as estimated and as Verilator simulates them, with the
integers compared; and Fmax on an ECP5-85F, placed out of context, over three seeds. The weights are random, which is
the dense case; BatchNorm's statistics are taken from random frames.

On ECP5 a setting is made by hand, as a folding file can: the small last layer has LAST adders between its registers
(the flow chooses 1 for this clock), which makes up for the cycles that the large layers have for their long wires.
"""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import report
from hw.fabric.devices import Device
from hw.families import find_device
from hw.folding import choose
from hw.folding.search import Search
from hw.ir.graph import Graph
from hw.lowering.lower import lower
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import connected
from hw.rtl.design import generate
from hw.simulation import verilator
from hw.synth.nextpnr import place_and_route
from hw.synth.yosys import synthesise
from hw.timing.cycles import steady_state
from hw.timing.fifo_sizing import size_fifos
from tests.measured import networks

NETWORK = "jsc-mlp-w3a3"
FRAMES = 64
LUTS, CYCLES = 16_000, 20
"""Limits: lookup tables of xc7, and cycles of latency."""
CLOCKS = {20: 120, 30: 150}
"""Limits on an ECP5-85F: cycles of latency -> the median Fmax of the seeds in MHz; one of them must be reached."""
SEEDS = (1, 2, 3)
LAST = 2
"""Adders between registers of the last layer on ECP5."""


def hardware(graph: Graph, device: Device, clock_mhz: float) -> Graph:
    """The network at one frame a cycle, for a clock."""
    search = Search(graph, device.family, device.capacity, clock_mhz=clock_mhz)
    table = dict(choose.for_rate(search, 1).folding)
    if device.family.name == "ecp5":
        last = list(table)[-1]
        table[last] = replace(table[last], adders_per_stage=LAST)
    folded = connected(apply_folding(graph, table))
    return insert_fifos(folded, size_fifos(folded))


def simulated(graph: Graph, device: Device) -> tuple[int, int]:
    """Interval and latency of the RTL in cycles, as ``steady_state`` counts them.

    Raises AssertionError where an integer differs from the emulator's.
    """
    design = generate(graph, device.family)
    (port,), (edge,) = graph.inputs, graph.output_edges
    stream = graph.edges[port.edge]
    rng = np.random.default_rng(0)
    frames = rng.integers(int(stream.dtype.min()), int(stream.dtype.max()), (FRAMES, *stream.shape), endpoint=True)
    (taken,), (given,) = design.inputs, design.outputs
    result = verilator.build(design).run({taken: frames})
    np.testing.assert_array_equal(result.outputs[given], graph.execute({port.edge: frames})[edge])
    ends = result.taken[given]
    return int(ends[-1] - ends[-2]), int(ends[0] - result.taken[taken][0]) + 1


def placed(netlist: Path, device: Device, out: Path, clock_mhz: float) -> dict[int, float]:
    """Fmax with each seed, whether or not one reaches the clock; as many at a time as there are processors."""

    def one(seed: int) -> dict[int, float]:
        return place_and_route(netlist, device, out / str(seed), clock_mhz, seeds=(seed,)).tried

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return {seed: mhz for tried in pool.map(one, SEEDS) for seed, mhz in tried.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", type=float, default=150.0, help="the clock in MHz that the adders are pipelined for")
    parser.add_argument("--no-place", action="store_true", help="leave place and route out")
    options = parser.parse_args()
    rows, results = [], []
    with TemporaryDirectory() as name:
        folder = Path(name)
        graph = lower(networks.make(NETWORK, folder))
        for target in ("xc7z045", "lfe5u-85f"):
            device = find_device(target)
            made = hardware(graph, device, options.clock)
            steady, estimated = steady_state(made), choose.estimate_resources(made, device.family)
            cycles = simulated(made, device)
            netlist = synthesise(generate(made, device.family), device, folder / target)
            tried: dict[int, float] = {}
            if device.routable and not options.no_place:
                tried = placed(netlist.netlist, device, folder / target, options.clock)
            limit = (
                f"{LUTS:,} LUT at {CYCLES}"
                if device.family.name == "xc7"
                else " or ".join(f"{mhz} MHz at {most}" for most, mhz in CLOCKS.items())
            )
            rows.append([
                target, netlist.resources.lut, estimated.lut, netlist.resources.ff,
                f"{steady.interval}, {steady.latency}", f"{cycles[0]}, {cycles[1]}",
                " ".join(f"{mhz:.0f}" for mhz in tried.values()) or "-", limit,
            ])  # fmt: skip
            results.append({
                "target": target, "lut": netlist.resources.lut, "estimated_lut": estimated.lut,
                "ff": netlist.resources.ff, "interval": cycles[0], "latency": cycles[1],
                "estimated_latency": steady.latency, "fmax_mhz": list(tried.values()),
                "median_mhz": median(tried.values()) if tried else None,
                "layers": {name: vars(used) for name, used in netlist.instances.items()},
            })  # fmt: skip
    columns = ["target", "LUT", "estimated", "FF", "interval, latency", "simulated", "Fmax of seeds", "limit"]
    report.show(f"{NETWORK} at one frame a cycle", columns, rows)
    report.save("jsc", {"network": NETWORK, "clock_mhz": options.clock, "targets": results})


if __name__ == "__main__":
    main()
