"""LUTs of TFC-w1a1 folded to 896 cycles, synthesised for 7 series, against FINN's estimate for the same folding.

FINN's SetFolding chooses PE and SIMD for 896 cycles; our layers get the same ones, thresholds the PE of the layer
before them. Ours is counted after synthesis by Yosys, before pairs of LUT5 are packed, with streams' width converters
and FIFOs; FINN's is its formula, which has neither, and accumulators too narrow for popcounts.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report, tfc
from flows.finn import FinnEstimate, estimate
from hw import fifo, folding, timing
from hw.graph import Graph
from hw.kernels.kernel import Folding, Resources
from hw.lower import lower
from hw.rtl import generate, instances
from hw.synth.devices import device
from hw.synth.yosys import synthesise

CYCLES, PART, DEVICE = 896, "xc7z020clg400-1", "xc7z020"


def as_finn(graph: Graph, finn: FinnEstimate) -> folding.FoldingTable:
    """FINN's folding for our layers."""
    units = iter([layer for layer in finn.layers if layer.op.startswith("MVAU")])
    table, now = {}, Folding()
    for node in graph:
        if node.kernel.op == "matrix_vector":
            unit = next(units)
            now = Folding(unit.pe, unit.simd)
            table[node.name] = now
        elif len(node.kernel.foldings()) > 1:
            table[node.name] = Folding(now.pe)
    return table


def synthesised(graph: Graph, out: Path) -> tuple[Resources, dict[str, Resources]]:
    """Resources in total, and by layer."""
    made = synthesise(generate(graph, device(DEVICE).family), device(DEVICE).family, out)
    layers = {node.name: made.instances.get(name, Resources()) for node, name in instances(graph).items()}
    return made.resources, layers


def main() -> None:
    with TemporaryDirectory() as folder:
        path = tfc.make(Path(folder))
        graph = lower(path)
        finn = estimate(path, PART, target_cycles=CYCLES)
        with_input = estimate(path, PART, target_cycles=CYCLES, input_quantizer=True)
        xc7 = device(DEVICE)
        tables = {
            "FINN's folding": as_finn(graph, finn),
            "our folding": folding.for_cycles(graph, CYCLES, xc7.family, xc7.capacity),
        }
        results = {}
        for name, table in tables.items():
            connected = folding.connect(folding.apply(graph, table))
            hardware = fifo.insert(connected, fifo.size(connected))
            total, layers = synthesised(hardware, Path(folder) / name.replace(" ", "_"))
            rows = [
                [n.name, n.kernel.op, n.kernel.folding.pe, n.kernel.folding.simd, n.kernel.schedule().actions,
                 n.kernel.outputs()[0].dtype.name, layers[n.name].lut, layers[n.name].bram]
                for n in hardware
            ]  # fmt: skip
            rows.append(["total", "", "", "", timing.steady(hardware).interval, "", total.lut, total.bram])
            columns = ["layer", "kernel", "PE", "SIMD", "cycles", "output", "LUT", "RAMB18"]
            report.show(f"ours, {name}, synthesised", columns, rows)
            results[name] = vars(total)
    report.show(
        "FINN's estimate",
        ["layer", "PE", "SIMD", "cycles", "LUT", "RAMB18"],
        [
            *([x.name, x.pe, x.simd, x.cycles, x.lut, x.bram18] for x in finn.layers),
            ["total", "", "", finn.max_cycles, finn.lut, finn.bram18],
            ["with the float input's quantizer, as FINN's flow has it", "", "", "", with_input.lut, with_input.bram18],
        ],
    )
    report.save("xc7_luts", {"finn_lut": finn.lut, "finn_lut_with_input_quantizer": with_input.lut, "ours": results})


if __name__ == "__main__":
    main()
