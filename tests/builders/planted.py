"""Graphs with channels that do nothing, planted in the weights and constants of other graphs."""

from dataclasses import replace

import numpy as np

from hw.ir.graph import Graph
from hw.ir.kernel import Folding, Kernel
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.requant.kernel import Requant
from hw.kernels.table.kernel import Table
from hw.kernels.threshold.kernel import Threshold
from hw.passes.strip import strip


def unfolded(graph: Graph) -> Graph:
    """A graph without width converters, and without parallelism."""
    bare = strip(graph)
    return bare.with_kernels({node.name: node.kernel.fold(Folding()) for node in bare})


def planted(graph: Graph, rng: np.random.Generator) -> Graph:
    """The graph with some channels that are constant, equal or negated, and with some that are unused.

    Streams keep their types. A graph whose kernels state ranges of their inputs is returned as it is.
    """
    if any(getattr(node.kernel, name, None) for node in graph for name in ("input_range", "input_ranges")):
        return graph
    made = {node.name: _planted(node.kernel, rng) for node in graph}
    return graph.with_kernels(
        {
            node.name: made[node.name]
            for node in graph
            if [each.dtype for each in made[node.name].outputs()] == [each.dtype for each in node.kernel.outputs()]
        }
    )


def _planted(kernel: Kernel, rng: np.random.Generator) -> Kernel:
    def copied(*arrays: np.ndarray) -> None:
        """Copy some rows over others."""
        count = len(arrays[0])
        for _ in range(int(rng.integers(0, count + 1))):
            source, target = rng.integers(0, count, 2)
            for values in arrays:
                values[target] = values[source]

    match kernel:
        case MatrixVector() | Depthwise():
            weights, dtype = kernel.weights.copy(), kernel.weight_dtype
            copied(weights)
            if dtype.min() < 0:
                weights[rng.random(len(weights)) < 0.2] *= -1
            if dtype.name != "BIPOLAR":
                weights[rng.random(len(weights)) < 0.1] = 0
                weights[:, rng.random(weights.shape[1]) < 0.2] = 0
            return replace(kernel, weights=np.minimum(weights, int(dtype.max())))
        case Threshold():
            thresholds, decreasing = kernel.thresholds.copy(), kernel.decreasing.copy()
            copied(thresholds, decreasing)
            thresholds[rng.random(len(thresholds)) < 0.2] = int(kernel.input_dtype.max()) + 1
            thresholds[rng.random(len(thresholds)) < 0.1] = int(kernel.input_dtype.min())
            return replace(kernel, thresholds=thresholds, decreasing=decreasing)
        case Requant():
            multiplier, addend = kernel.multiplier.copy(), kernel.addend.copy()
            copied(multiplier, addend)
            multiplier[rng.random(len(multiplier)) < 0.2] = 0
            return replace(kernel, multiplier=multiplier, addend=addend)
        case Table():
            values = kernel.values.copy()
            copied(values)
            constant = rng.random(len(values)) < 0.2
            values[constant] = values[constant, :1]
            return replace(kernel, values=values)
    return kernel
