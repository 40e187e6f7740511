"""Line buffers and weight memories of CNV-w1a1 on the ULX3S-85F against the bits that they must hold.

A line buffer must hold the span of a window, from its first position to its last. The rest of what it keeps comes in
while the last windows of a frame go out, so that those of the next one follow without a gap.

A weight memory must hold its bits, and give a word a cycle: no block gives more than its widest shape.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import cnv, report
from flows.config import BuildConfig
from flows.planner import Plan
from hw.fabric.family import Family
from hw.ir.graph import Node
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.model import Model
from hw.passes.fold import apply_folding
from hw.passes.lanes import connected

ALLOWED = 0.10


def span(window: SlidingWindow) -> int:
    """Input beats from the first position of a window to the last."""
    extents = [d * (k - 1) for k, d in zip(window.kernel, window.spread, strict=True)]
    pitches = (window.shape[-2], 1)[-len(extents) :]
    positions = sum(e * p for e, p in zip(extents, pitches, strict=True)) + 1
    stream = window.inputs()[0]
    return min(stream.beats, positions * (window.channels // stream.lanes))


def line_buffer(node: Node, family: Family) -> dict[str, int | str]:
    """Beats that are kept and a window's span, as bits and as blocks (0 where lookup tables hold them)."""
    window: SlidingWindow = node.kernel  # type: ignore[assignment]
    width, places, needed = window.inputs()[0].width, window.buffer.places, span(window)
    return {
        "name": node.name,
        "places": places,
        "width": width,
        "kept": places * width,
        "bits": needed * width,
        "blocks": window.banks * family.blocks(places // window.banks, width) if window.block else 0,
        "least": -(-needed * width // family.bram_bits) if window.block else 0,
    }


def weight_memory(node: Node, family: Family) -> dict[str, int | str]:
    """Bits of the weights, the blocks that they take (0: lookup tables), and the fewest that could hold them."""
    layer: MatrixVector = node.kernel  # type: ignore[assignment]
    depth, width = layer.memory.depth, layer.memory.width
    bits, block = layer.weights.size * layer.weight_dtype.bitwidth(), layer.memory.style(family) == "block"
    by_bits, by_width = -(-bits // family.bram_bits), -(-width // max(w for _, w in family.bram_shapes))
    return {
        "name": node.name,
        "places": depth,
        "width": width,
        "kept": depth * width,
        "bits": bits,
        "blocks": layer.memory.resources(family).bram,
        "least": by_bits if block else 0,
        "least at this width": max(by_bits, by_width) if block else 0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fps", type=float, default=3400, help="frames/s at 100 MHz")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        plan = Plan(Model.open(cnv.make(Path(folder))), BuildConfig(target="ulx3s-85f", fps=options.fps))
        graph, family = connected(apply_folding(plan.graph, plan.point.folding)), plan.device.family
    buffers = [line_buffer(node, family) for node in graph if node.kernel.op == "sliding_window"]
    weights = [weight_memory(node, family) for node in graph if node.kernel.op == "matrix_vector"]
    for title, rows in (("line buffers", buffers), ("weight memories", weights)):
        columns = [column for column in rows[0] if column != "name"]
        totals = [sum(int(row[c]) for row in rows) if c not in ("places", "width") else "" for c in columns]
        report.show(
            f"CNV-w1a1, {title}",
            ["layer", *columns],
            [*([row["name"], *(row[c] for c in columns)] for row in rows), ["all", *totals]],
        )
    every = [*buffers, *weights]
    taken = sum(int(row["blocks"]) for row in every)
    results: dict[str, object] = {"fps": options.fps, "line_buffers": buffers, "weights": weights, "blocks": taken}
    for what, column in (("the bits alone", "least"), ("bits and width", "least at this width")):
        least = sum(int(row.get(column, row["least"])) for row in every)
        over = taken / least - 1
        print(
            f"{taken} blocks, {least} for {what}: {over:.1%} more, {'within' if over <= ALLOWED else 'NOT within'} 10 %"
        )
        results[f"over {what}"] = over
    report.save("memory_bits", results)


if __name__ == "__main__":
    main()
