"""Random networks of kernels for the tests of what joins them."""

from itertools import pairwise

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.folding import apply, connect
from hw.graph import Graph, Node, Port
from hw.kernels.add import Add
from hw.kernels.arg_max import ArgMax
from hw.kernels.concat import Concat
from hw.kernels.fork import Fork
from hw.kernels.kernel import Kernel
from hw.kernels.matrix_vector import MatrixVector
from hw.kernels.sliding_window import SlidingWindow
from hw.kernels.threshold import Threshold


def random_weights(rng: np.random.Generator, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Uniform weights of a data type."""
    dtype = DataType[name]
    if name == "BIPOLAR":
        return rng.choice([-1, 1], shape)
    return rng.integers(int(dtype.min()), int(dtype.max()), shape, endpoint=True)


def perceptron(
    rng: np.random.Generator, sizes: list[int], types: list[tuple[str, str]], arg_max: bool = False
) -> Graph:
    """A chain of ``matrix_vector`` and ``threshold``: ``sizes`` of the layers, (input, weight) types of each.

    The last layer gives its accumulators, or their arg-max.
    """
    nodes: list[Node] = []
    edge = "x"

    def add(name: str, kernel: Kernel) -> None:
        nonlocal edge
        nodes.append(Node(name, kernel, (edge,), (name,)))
        edge = name

    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        taken, weight = types[i]
        layer = MatrixVector(random_weights(rng, weight, (outputs, inputs)), DataType[weight], DataType[taken])
        add(f"fc{i}", layer)
        if i + 2 < len(sizes):
            given, have = DataType[types[i + 1][0]], layer.outputs()[0].dtype
            steps = 1 if given.name == "BIPOLAR" else int(given.max() - given.min())
            low, high = (int(v) for v in (have.min(), have.max()))
            values = np.sort(rng.integers(low, high + 1, (outputs, steps), endpoint=True), axis=1)
            add(f"act{i}", Threshold(values, rng.random(outputs) < 0.3, have, given))
    if arg_max:
        add("class", ArgMax(sizes[-1], nodes[-1].kernel.outputs()[0].dtype))
    last = nodes[-1].kernel.outputs()[0]
    return Graph(tuple(nodes), (Port("x", "x", (sizes[0],), types[0][0]),), (Port("y", edge, last.shape, "int"),))


def residual(rng: np.random.Generator, channels: int, prefix: tuple[int, ...] = (3,)) -> Graph:
    """A matrix product, a fork, a threshold on each of two paths, their sum, and another product."""
    accumulators = []

    def product(inputs: int, outputs: int, dtype: BaseDataType) -> MatrixVector:
        layer = MatrixVector(random_weights(rng, "INT3", (outputs, inputs)), DataType["INT3"], dtype, prefix)
        accumulators.append(layer.outputs()[0].dtype)
        return layer

    first = product(channels, channels, DataType["UINT2"])

    def threshold() -> Threshold:
