"""Steady-state interval of TFC-w1a1 in RTL simulation against the bound max(NF * SF) of its folding."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import report, tfc
from hw.families import find_device
from hw.folding import choose
from hw.ir.graph import Graph
from hw.lowering.lower import lower
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.rtl.design import generate
from hw.simulation import verilator
from hw.timing.fifo_sizing import size_fifos

TARGETS = (896, 64)
FRAMES = 24
ALLOWED = 0.02


def bound(graph: Graph) -> int:
    """max(NF * SF) over the matrix-vector layers: what the folding allows."""
    return max(node.kernel.schedule().firings for node in graph if node.kernel.op == "matrix_vector")


def folded(graph: Graph, cycles: int) -> Graph:
    """The cheapest folding for ``cycles`` cycles a frame, with width converters and FIFOs."""
    ecp5 = find_device("lfe5u-85f")
    connected = insert_width_converters(
        apply_folding(graph, choose.for_cycles(graph, cycles, ecp5.family, ecp5.capacity))
    )
    return insert_fifos(connected, size_fifos(connected))


def simulated_interval(graph: Graph, count: int) -> int:
    """Cycles between the last two frames' ends in Verilator; the results are held against the kernels."""
    (port,), (out,) = graph.inputs, graph.outputs
    stream = graph.edges[port.edge]
    low, high = int(stream.dtype.min()), int(stream.dtype.max())
    frames = np.random.default_rng(0).integers(low, high, (count, *stream.shape), endpoint=True)
    if stream.dtype.name == "BIPOLAR":
        frames = np.where(frames > 0, 1, -1)
    design = generate(graph, find_device("lfe5u-85f").family)
    result = verilator.build(design).run({"s": frames})
    np.testing.assert_array_equal(result.outputs["m"], graph.execute({port.edge: frames})[out.edge])
    ends = result.taken["m"].reshape(count, -1)[:, -1]
    return int(ends[-1] - ends[-2])


def main() -> None:
    with TemporaryDirectory() as folder:
        graph = lower(tfc.make(Path(folder)))
    rows, results = [], []
    for target in TARGETS:
        hardware = folded(graph, target)
        least, measured = bound(hardware), simulated_interval(hardware, FRAMES)
        over = measured / least - 1
        results.append({"target": target, "bound": least, "measured": measured})
        rows.append([f"{target}", least, measured, f"{over:.2%}", "yes" if over <= ALLOWED else "NO"])
    report.show(
        "TFC-w1a1, steady-state interval in cycles",
        ["folded for", "max(NF * SF)", "simulated", "above the bound", f"within {ALLOWED:.0%}"],
        rows,
    )
    report.save("interval", {"frames": FRAMES, "foldings": results})


if __name__ == "__main__":
    main()
