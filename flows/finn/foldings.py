"""Foldings that FINN supports, of our kernels."""

import numpy as np

from hw.ir.graph import Graph
from hw.ir.kernel import Folding
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.shared.pool import Pool
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.passes.fold import apply_folding


def fastest(graph: Graph) -> tuple[int, str]:
    """The minimum interval, in cycles, of foldings with one pixel per beat, and the layer that limits it."""
    return max(
        (min(node.kernel.fold(f).schedule().interval for f in node.kernel.foldings() if f.pixels == 1), node.title)
        for node in graph
    )


def supported(graph: Graph) -> Graph:
    """The graph with foldings of sliding windows that FINN supports.

    Before a depthwise layer or a pool, a sliding window has the parallelism of that layer. Elsewhere it has at most all
    channels of one pixel, or the whole window.
    """
    readers = {edge: node for node in graph for edge in node.inputs}
    table = {}
    for node in graph:
        kernel = node.kernel
        if not isinstance(kernel, SlidingWindow):
            continue
        reader = readers.get(node.outputs[0])
        whole = kernel.channels * int(np.prod(kernel.kernel))
        if reader is not None and isinstance(reader.kernel, Depthwise | Pool):
            table[node.name] = Folding(1, reader.kernel.folding.pe)
        elif kernel.channels < kernel.simd != whole:
            table[node.name] = Folding(1, kernel.channels)
    return apply_folding(graph, table)
