"""TFC-w1a1 folded for 5 million frames a second on an ECP5-85F: placed and routed, at the Fmax that was reached."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report, tfc
from hw.families import find_device
from hw.folding import choose
from hw.lowering.lower import lower
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import connected
from hw.rtl.design import generate
from hw.synth.nextpnr import place_and_route
from hw.synth.yosys import synthesise
from hw.timing import cycles
from hw.timing.fifo_sizing import size_fifos

RATE = 5e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cycles", type=int, default=8, help="cycles per frame; the clock must then be 5 MHz times that"
    )
    options = parser.parse_args()
    ecp5 = find_device("lfe5u-85f")
    with TemporaryDirectory() as name:
        folder = Path(name)
        graph = lower(tfc.make(folder))
        table = choose.for_cycles(graph, options.cycles, ecp5.family, ecp5.capacity)
        connected_graph = connected(apply_folding(graph, table))
        hardware = insert_fifos(connected_graph, size_fifos(connected_graph))
        interval = cycles.steady(hardware).interval
        made = synthesise(generate(hardware, ecp5.family), ecp5, folder / "synth")
        placed = place_and_route(made.netlist, ecp5, folder / "place", RATE * interval / 1e6)
    print(hardware)
    rate = placed.fmax_mhz * 1e6 / interval
    used, have = placed.resources, ecp5.capacity
    report.show(
        f"TFC-w1a1 on {ecp5.name}",
        ["", "used", "available"],
        [[key.upper(), getattr(used, key), getattr(have, key)] for key in ("lut", "ff", "bram", "dsp")],
    )
    print(f"{interval} cycles a frame at {placed.fmax_mhz:.1f} MHz: {rate / 1e6:.2f} million frames/s, target 5")
    print(f"critical path {placed.describe_path()}")
    results = {"interval": interval, "fmax_mhz": placed.fmax_mhz, "fps": rate, "resources": vars(used)}
    report.save("fill_ecp5", {**results, "fits": ecp5.overflow(used) is None})


if __name__ == "__main__":
    main()
