"""Random networks of kernels for the tests of what joins them."""

from itertools import pairwise

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.kernels.add.kernel import Add
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.concat.kernel import Concat
from hw.kernels.fork.kernel import Fork
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.upsample.kernel import Upsample
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters


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
        low, high = (int(v) for v in (accumulators[0].min(), accumulators[0].max()))
        values = np.sort(rng.integers(-9, 10, (channels, 3)), axis=1).clip(low, high + 1)
        return Threshold(values, rng.random(channels) < 0.3, accumulators[0], DataType["UINT2"], prefix)

    add = Add((*prefix, channels), (DataType["UINT2"], DataType["UINT2"]), (1, 2))
    last = product(channels, 2, add.outputs()[0].dtype)
    nodes = (
        Node("fc0", first, ("x",), ("fc0",)),
        Node("fork", Fork((*prefix, channels), accumulators[0]), ("fc0",), ("a", "b")),
        Node("act0", threshold(), ("a",), ("act0",)),
        Node("act1", threshold(), ("b",), ("act1",)),
        Node("add", add, ("act0", "act1"), ("add",)),
        Node("fc1", last, ("add",), ("fc1",)),
    )
    x = first.inputs()[0]
    return Graph(nodes, (Port("x", "x", x.shape, "UINT2"),), (Port("y", "fc1", last.outputs()[0].shape, "int"),))


def random_graph(rng: np.random.Generator, steps: int = 6, sides: tuple[int, int] = (2, 4)) -> Graph:
    """Convolutions, thresholds, forks, sums and concatenations in random order on images with sides from the first to
    the second of ``sides``, each with a random folding and with width converters between; no FIFOs. One output or two.
    """
    size = tuple(int(n) for n in rng.integers(*sides, 2, endpoint=True))
    channels, dtype = int(rng.choice([2, 4])), DataType["UINT2"]
    nodes: list[Node] = []
    tails = ["x"]

    def add(kernel: Kernel, *inputs: str) -> list[str]:
        name = f"{kernel.op}{len(nodes)}"
        outputs = tuple(f"{name}_{i}" for i in range(len(kernel.outputs())))
        nodes.append(Node(name, kernel, inputs, outputs))
        return list(outputs)

    def activate(edge: str, have: BaseDataType) -> str:
        """Back to the type of all tails."""
        values = np.sort(rng.integers(int(have.min()), int(have.max()), (channels, 3), endpoint=True), axis=1)
        return add(Threshold(values, rng.random(channels) < 0.3, have, dtype, size), edge)[0]

    def multiply(edge: str, inputs: int) -> str:
        kernel = MatrixVector(random_weights(rng, "INT2", (channels, inputs)), DataType["INT2"], dtype, size)
        return activate(add(kernel, edge)[0], kernel.outputs()[0].dtype)

    def pick() -> str:
        return tails.pop(int(rng.integers(len(tails))))

    def join() -> None:
        one, other = pick(), pick()
        if rng.random() < 0.5:
            kernel: Kernel = Add((*size, channels), (dtype, dtype), (1, int(rng.choice([-1, 2]))))
            tails.append(activate(add(kernel, one, other)[0], kernel.outputs()[0].dtype))
        else:
            kernel = Concat(((*size, channels),) * 2, (dtype, dtype))
            tails.append(multiply(add(kernel, one, other)[0], 2 * channels))

    for _ in range(steps):
        choice = rng.random()
        if choice < 0.35 and len(tails) < 4:
            tails += add(Fork((*size, channels), dtype, int(rng.integers(2, 4))), pick())
        elif choice < 0.6 and len(tails) > 1:
            join()
        elif choice < 0.8:
            window = SlidingWindow((*size, channels), (3, 3), dtype, pad=((1, 1), (1, 1)))
            tails.append(multiply(add(window, pick())[0], 9 * channels))
        else:
            tails.append(multiply(pick(), channels))
    while len(tails) > (2 if rng.random() < 0.3 else 1):
        join()
    shape = (*size, channels)
    ends = tuple(Port(edge, edge, shape, "UINT2") for edge in tails)
    graph = Graph(tuple(nodes), (Port("x", "x", shape, "UINT2"),), ends)
    return insert_width_converters(
        apply_folding(graph, {node.name: rng.choice(node.kernel.foldings()) for node in graph})
    )


def tall_graph(rng: np.random.Generator, rows: int) -> Graph:
    """Convolutions on two levels of an image of ``rows`` rows, as in a U-Net, and a classifier of a pool of all rows;
    with a random folding of one position a beat, and with width converters between; no FIFOs."""
    columns, channels, dtype = int(rng.choice([4, 6])), int(rng.choice([2, 4])), DataType["UINT2"]
    nodes: list[Node] = []

    def add(kernel: Kernel, *inputs: str) -> str:
        name = f"{kernel.op}{len(nodes)}"
        outputs = tuple(f"{name}_{i}" for i in range(len(kernel.outputs())))
        nodes.append(Node(name, kernel, inputs, outputs))
        return outputs[0]

    def layer(edge: str, size: tuple[int, int], inputs: int, side: int = 3) -> str:
        if side > 1:
            edge = add(SlidingWindow((*size, inputs), (side, side), dtype, pad=((side // 2,) * 2,) * 2), edge)
        product = MatrixVector(
            random_weights(rng, "INT2", (channels, side * side * inputs)), DataType["INT2"], dtype, size
        )
        have = product.outputs()[0].dtype
        values = np.sort(rng.integers(int(have.min()), int(have.max()), (channels, 3), endpoint=True), axis=1)
        return add(Threshold(values, np.zeros(channels, bool), have, dtype, size), add(product, edge))

    large, small = (rows, columns), (rows // 2, columns // 2)
    add(Fork((*large, channels), dtype), layer("x", large, channels, int(rng.choice([1, 3]))))
    beside, down = nodes[-1].outputs
    edge = add(MaxPool((*large, channels), (2, 2), dtype), down)
    for _ in range(int(rng.integers(1, 3))):
        edge = layer(edge, small, channels, int(rng.choice([1, 3])))
    up = add(Upsample((*small, channels), (2, 2), dtype), edge)
    edge = layer(add(Concat(((*large, channels),) * 2, (dtype, dtype)), up, beside), large, 2 * channels, 3)
    edge = add(MaxPool((*large, channels), large, dtype), edge)
    last = MatrixVector(random_weights(rng, "INT2", (3, channels)), DataType["INT2"], dtype)
    edge = add(last, edge)
    shape = (*large, channels)
    graph = Graph(tuple(nodes), (Port("x", "x", shape, "UINT2"),), (Port("y", edge, (3,), "int"),))
    folding = {node.name: rng.choice([each for each in node.kernel.foldings() if each.pixels == 1]) for node in graph}
    return insert_width_converters(apply_folding(graph, folding))
