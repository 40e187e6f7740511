"""LUTs of TFC-w1a1 and CNV-w1a1, synthesised for 7 series, against FINN's estimate for the same folding.

FINN's SetFolding chooses PE and SIMD; our layers get the same ones, thresholds the PE of the layer before them, and
windows and pools the least parallelism that keeps up. Ours is counted after synthesis by Yosys, before pairs of LUT5
are packed, with streams' width converters and FIFOs; FINN's is its formula, which has neither, and accumulators too
narrow for popcounts.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import cnv, report, tfc
from flows.finn import FinnEstimate, estimate
from hw.fabric.resources import Resources
from hw.families import find_device
from hw.folding import choose
from hw.ir.graph import Graph
from hw.ir.kernel import Folding
from hw.lowering.lower import lower
from hw.passes import fold
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import connected
from hw.rtl.design import generate, instances
from hw.synth.yosys import synthesise
from hw.timing.cycles import steady
from hw.timing.fifo_sizing import size_fifos

PART, DEVICE = "xc7z020clg400-1", "xc7z020"
NETWORKS = {"tfc": (tfc.make, 896), "cnv": (cnv.make, 150_000)}
"""Who makes a network, and the cycles a frame that FINN folds it for."""


def as_finn(graph: Graph, finn: FinnEstimate) -> fold.FoldingTable:
    """FINN's folding for our layers."""
    units = iter([layer for layer in finn.layers if layer.op.startswith("MVAU")])
    table, now = {}, Folding()
    for node in graph:
        if node.kernel.op == "matrix_vector":
            unit = next(units)
            now = Folding(unit.pe, unit.simd)
            table[node.name] = now
        elif node.kernel.op == "threshold":
            table[node.name] = Folding(now.pe)
        elif len(node.kernel.foldings()) > 1:
            table[node.name] = next(
                f for f in node.kernel.foldings() if node.kernel.fold(f).interval <= finn.max_cycles
            )
    return table


def synthesised(graph: Graph, out: Path) -> tuple[Resources, dict[str, Resources]]:
    """Resources in total, and by layer."""
    made = synthesise(generate(graph, find_device(DEVICE).family), find_device(DEVICE), out)
    layers = {node.name: made.instances.get(name, Resources()) for node, name in instances(graph).items()}
    return made.resources, layers


def measure(network: str, folder: Path) -> dict[str, object]:
    """Prints the tables of a network; its totals."""
    make, cycles = NETWORKS[network]
    path = make(folder)
    graph = lower(path)
    finn = estimate(path, PART, target_cycles=cycles)
    with_input = estimate(path, PART, target_cycles=cycles, input_quantizer=True)
    xc7 = find_device(DEVICE)
    tables = {
        "FINN's folding": as_finn(graph, finn),
        "our folding": choose.for_cycles(graph, finn.max_cycles, xc7.family, xc7.capacity),
    }
    results = {}
    for name, table in tables.items():
        made = connected(apply_folding(graph, table))
        hardware = insert_fifos(made, size_fifos(made))
        total, layers = synthesised(hardware, folder / network / name.replace(" ", "_"))
        rows = [
            [n.name, n.kernel.op, n.kernel.folding.pe, n.kernel.folding.simd, n.kernel.interval,
             n.kernel.outputs()[0].dtype.name, layers[n.name].lut, layers[n.name].bram]
            for n in hardware
        ]  # fmt: skip
        rows.append(["total", "", "", "", steady(hardware).interval, "", total.lut, total.bram])
        columns = ["layer", "kernel", "PE", "SIMD", "cycles", "output", "LUT", "RAMB18"]
        report.show(f"{network}: ours, {name}, synthesised", columns, rows)
        results[name] = vars(total)
    report.show(
        f"{network}: FINN's estimate",
        ["layer", "PE", "SIMD", "cycles", "LUT", "RAMB18"],
        [
            *([x.name, x.pe, x.simd, x.cycles, x.lut, x.bram18] for x in finn.layers),
            ["total", "", "", finn.max_cycles, finn.lut, finn.bram18],
            ["with the float input's quantizer, as FINN's flow has it", "", "", "", with_input.lut, with_input.bram18],
        ],
    )
    return {"finn_lut": finn.lut, "finn_bram18": finn.bram18, "finn_lut_with_input_quantizer": with_input.lut,
            "ours": results}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="tfc, cnv (minutes); default: both")
    options = parser.parse_args()
    if unknown := set(options.networks) - set(NETWORKS):
        parser.error(f"no network {', '.join(sorted(unknown))}; there are {', '.join(NETWORKS)}")
    with TemporaryDirectory() as folder:
        results = {name: measure(name, Path(folder)) for name in options.networks or NETWORKS}
    report.save("xc7_luts", results)


if __name__ == "__main__":
    main()
