"""Cases of ``constant_network``: small chains for every check, the definition, and the measured grid."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.ir.kernel import Kernel
from hw.kernels import cases as cases_of
from hw.kernels.constant_matrix.cases import pruned
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_network.kernel import ConstantNetwork
from hw.kernels.constant_threshold.kernel import ConstantThreshold
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.chain import Layer

GRID = (
    # sizes, bits of weights and of values, share of zeros, adders per stage
    ((8, 10, 8, 4), 3, 0.6, 1), ((8, 10, 8, 4), 3, 0.6, 2), ((8, 10, 8, 4), 3, 0.6, 3), ((8, 10, 8, 4), 3, 0.6, 4),
    ((24, 16, 10), 4, 0.75, 1),
)  # fmt: skip


def named(*kernels: Kernel) -> ConstantNetwork:
    """The network of these layers."""
    return ConstantNetwork(tuple(Layer(f"layer{n}", f"edge{n}", kernel) for n, kernel in enumerate(kernels)))


def quantizer(
    rng: np.random.Generator, taken: BaseDataType, given: BaseDataType, channels: int, prefix: tuple[int, ...] = (),
    pixels: int = 1,
) -> ConstantThreshold:  # fmt: skip
    """Random thresholds over the middle of the sums' range, some channels decreasing."""
    low, high = int(taken.min()) // 4, int(taken.max()) // 4 + 1
    steps = 1 if given.name == "BIPOLAR" else int(given.max() - given.min())
    rows = np.sort(rng.integers(low, high, (channels, steps), endpoint=True), axis=1)
    return ConstantThreshold(rows, rng.random(channels) < 0.3, taken, given, prefix, channels, None, pixels)


def steps(rng: np.random.Generator, matrix: Kernel, given: BaseDataType) -> ConstantThreshold:
    """Thresholds at equal distances within the range of each row's sums, as a quantizer has them; some decrease."""
    assert isinstance(matrix, ConstantMatrix)
    product, count = matrix.product, 1 if given.name == "BIPOLAR" else int(given.max() - given.min())
    ends = np.array([matrix.plan.output_range(row) for row in range(len(matrix.offsets))])
    low, high = (ends - np.array(matrix.offsets)[:, None]).T[:, :, None]
    first, last = rng.uniform(0.25, 0.4, low.shape), rng.uniform(0.6, 0.75, low.shape)
    shares = first + (last - first) * (np.arange(count) + 0.5) / count
    rows = np.ceil(low + (high - low) * shares).astype(np.int64)
    taken, channels = matrix.outputs()[0].dtype, len(rows)
    falling = rng.random(channels) < 0.3
    return ConstantThreshold(rows, falling, taken, given, product.prefix, channels, None, matrix.pixels)


def perceptron(
    rng: np.random.Generator, sizes: Sequence[int], weight: str, data: str, zeros: float = 0.0,
    prefix: tuple[int, ...] = (), pixels: int = 1, adders: int = 2, tables: int = 4,
) -> list[Kernel]:  # fmt: skip
    """Layers of these sizes: products, and between them thresholds to the type ``data`` of all inputs."""
    made: list[Kernel] = []
    for inputs, outputs in pairwise(sizes):
        if made:
            made.append(steps(rng, made[-1], DataType[data]))
        weights = pruned(rng, weight, (outputs, inputs), zeros)
        product = MatrixVector(weights, DataType[weight], DataType[data], prefix)
        made.append(ConstantMatrix(product, pixels, adders, tables))
    return made


def cases() -> Iterator[tuple[str, ConstantNetwork]]:
    """Chains that begin and end with either kind, of all types, with one position and several in a beat."""
    rng = np.random.default_rng(4)
    yield "perceptron", named(*perceptron(rng, (6, 8, 5, 3), "INT4", "UINT3"))
    yield "six inputs", named(*perceptron(rng, (6, 8, 4), "INT3", "INT4", 0.5, (2,), 1, 1, 6))
    yield "signs", named(*perceptron(rng, (9, 7, 5), "BIPOLAR", "BIPOLAR", adders=3)[:-1])
    first = quantizer(rng, DataType["INT8"], DataType["UINT2"], 5, (2, 2), 2)
    yield "pixels", named(first, *perceptron(rng, (5, 6, 4), "INT3", "UINT2", 0.3, (2, 2), 2))
    product = Depthwise(pruned(rng, "INT4", (5, 9), 0.4), DataType["INT4"], DataType["UINT4"], (1, 3))
    depthwise = ConstantMatrix(product, 1, 2)
    sums = depthwise.outputs()[0].dtype
    yield "depthwise", named(depthwise, quantizer(rng, sums, DataType["UINT2"], 5, (3,)))
    low = MatrixVector(pruned(rng, "INT3", (2, 6), 0.0), DataType["INT3"], DataType["INT2"])
    high = MatrixVector(pruned(rng, "INT3", (7, 2), 0.0), DataType["INT3"], low.outputs()[0].dtype)
    yield "products", named(ConstantMatrix(low, 1, 4), ConstantMatrix(high, 1, 4))


def definition(kernel: ConstantNetwork, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The definitions of the layers, one after the other."""
    for each in kernel.kernels:
        (x,) = cases_of(each.op).definition(each, x.reshape(-1, *each.inputs()[0].shape))
    return (x,)


def grid() -> Iterator[tuple[str, ConstantNetwork]]:
    """The kernels that the resource model is fitted to."""
    rng = np.random.default_rng(0)
    for sizes, bits, zeros, adders in GRID:
        shape = "-".join(map(str, sizes))
        name = f"constant_network {shape} INT{bits}xUINT{bits} zeros={zeros:g} adders={adders}"
        yield name, named(*perceptron(rng, sizes, f"INT{bits}", f"UINT{bits}", zeros, adders=adders))
