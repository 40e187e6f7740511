"""Every kernel over a grid of parameters: what the resource model is held against (``benchmarks.resources``)."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.stream import Stream
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.concat.kernel import Concat
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.fork.kernel import Fork
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.requant.kernel import Requant
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.upsample.kernel import Upsample
from hw.kernels.width_converter.kernel import WidthConverter

PRODUCTS = (
    # weights, inputs, outputs by inputs, (PE, SIMD) ...
    ("BIPOLAR", "BIPOLAR", 64, 784, (1, 16), (4, 49), (16, 16)),
    ("BIPOLAR", "BIPOLAR", 64, 64, (2, 32), (8, 64), (64, 8), (16, 4)),
    ("BIPOLAR", "BIPOLAR", 64, 576, (4, 32), (16, 64)),
    ("BIPOLAR", "TERNARY", 32, 288, (4, 32), (8, 8)),
    ("BIPOLAR", "UINT8", 64, 27, (8, 3), (4, 27)),
    ("BIPOLAR", "UINT2", 64, 64, (4, 16), (16, 8)),
    ("TERNARY", "UINT2", 32, 96, (4, 8), (8, 24)),
    ("INT2", "UINT2", 64, 64, (2, 16), (8, 8)),
    ("INT4", "UINT4", 32, 144, (1, 4), (4, 8)),
    ("INT4", "BIPOLAR", 32, 64, (4, 8), (8, 32)),
    ("INT8", "UINT4", 16, 72, (2, 8), (4, 4)),
    ("INT8", "INT8", 64, 144, (1, 1), (2, 4), (4, 8)),
    ("INT16", "INT16", 16, 120, (1, 2), (2, 8)),
)
STEPS = (
    # input, output, channels, (PE) ...
    ("INT10", "BIPOLAR", 64, 1, 8, 64),
    ("INT12", "BIPOLAR", 512, 2, 16),
    ("INT8", "UINT2", 64, 2, 8),
    ("INT14", "UINT4", 32, 1, 4, 16),
    ("INT18", "UINT8", 32, 1, 4),
    ("INT12", "INT4", 256, 1, 8),
)
SCALES = (
    # input, output, bits of the multiplier, channels, (PE) ...
    ("INT16", "INT8", 0, 16, 1, 4),
    ("INT20", "UINT8", 12, 32, 1, 4),
    ("INT24", "INT12", 16, 64, 2),
    ("INT30", "INT16", 24, 16, 1),
    ("INT20", "INT8", 14, 600, 2),
)
POWERS = (
    # input, output, exponents of the multipliers, their signs, channels, (PE) ...
    ("INT16", "INT8", (3,), (1,), 16, 1, 4),
    ("INT20", "UINT8", (2, 3, 4, 5), (-1, 1), 32, 1, 4),
)
WINDOWS = (
    # image, kernel, type, padding, (SIMD) ...
    ((28, 28, 1), (5, 5), "UINT8", 0, 1, 5, 25),
    ((28, 28, 1), (3, 3), "UINT8", 0, 9),
    ((32, 32, 3), (3, 3), "UINT8", 1, 1, 3, 9),
    ((30, 30, 64), (3, 3), "BIPOLAR", 0, 8, 64),
    ((14, 14, 64), (3, 3), "BIPOLAR", 1, 16, 192),
    ((16, 16, 16), (3, 3), "UINT4", 1, 2, 16, 48),
    ((28, 28, 64), (3, 3), "UINT4", 0, 16),
    ((8, 8, 32), (3, 3), "INT8", 1, 4, 32),
)
DEPTHWISE = (
    # weights, inputs, channels, (PE) ...
    ("INT8", "UINT8", 32, 1, 4),
    ("INT4", "UINT4", 64, 2, 8),
    ("BIPOLAR", "UINT4", 32, 4),
    ("BIPOLAR", "BIPOLAR", 64, 16),
    ("BIPOLAR", "TERNARY", 64, 8),
)
MAX_POOLS = (
    # image, windows, type, (PE) ...
    ((24, 24, 6), (2, 2), "UINT8", 1, 6),
    ((28, 28, 64), (2, 2), "BIPOLAR", 4, 32),
    ((16, 16, 16), (2, 2), "UINT4", 4),
    ((32, 32, 64), (2, 2), "INT8", 1),
)
SUM_POOLS = (
    ((7, 7, 256), (7, 7), "UINT8", 1, 8),
    ((8, 8, 8), (8, 8), "UINT4", 1, 4),
    ((16, 16, 16), (2, 2), "INT8", 4),
)
SUMS = (
    # types, coefficients, channels, (PE) ...
    (("UINT4", "UINT4"), (1, 1), 16, 1, 8),
    (("INT4", "UINT8"), (3, -7), 16, 4),
    (("INT8", "INT8"), (1, 2), 64, 2, 16),
)
WIDTHS = (("BIPOLAR", 64, 8, 64), ("BIPOLAR", 64, 64, 4), ("UINT4", 32, 1, 8), ("UINT4", 32, 8, 2), ("INT12", 16, 4, 1),
          ("UINT8", 24, 3, 24))  # fmt: skip
QUEUES = (("BIPOLAR", 64, 32), ("UINT4", 8, 16), ("INT12", 4, 100), ("UINT4", 16, 512), ("INT16", 16, 2048))


def _weights(rng: np.random.Generator, name: str, shape: tuple[int, int]) -> np.ndarray:
    dtype = DataType[name]
    if name == "BIPOLAR":
        return rng.choice([-1, 1], shape)
    return rng.integers(int(dtype.min()), int(dtype.max()), shape, endpoint=True)


def grid() -> Iterator[tuple[str, Kernel]]:
    """Every kernel of the grid, with a name that tells its parameters."""
    rng = np.random.default_rng(0)
    for weight, data, mh, mw, *foldings in PRODUCTS:
        weights = _weights(rng, weight, (mh, mw))
        for pe, simd in foldings:
            kernel = MatrixVector(weights, DataType[weight], DataType[data], pe=pe, simd=simd)
            yield f"matrix_vector {weight}x{data} {mh}x{mw} PE={pe} SIMD={simd}", kernel
    for taken, given, channels, *lanes in STEPS:
        have, to = DataType[taken], DataType[given]
        steps = 1 if given == "BIPOLAR" else int(to.max() - to.min())
        spread = 1 << (have.bitwidth() - 2)
        rows = np.sort(rng.integers(-spread, spread, (channels, steps)), axis=1)
        for pe in lanes:
            kernel = Threshold(rows, np.zeros(channels, bool), have, to, pe=pe)
            yield f"threshold {taken}->{given} C={channels} PE={pe}", kernel
    for taken, given, bits, channels, *lanes in SCALES:
        have, to = DataType[taken], DataType[given]
        factors = rng.integers(1 << max(bits - 2, 0), 1 << max(bits - 1, 0), channels, endpoint=True)
        addends = rng.integers(-(1 << have.bitwidth()), 1 << have.bitwidth(), channels)
        shift = max(1, bits + have.bitwidth() - to.bitwidth() - 2)
        for pe in lanes:
            kernel = Requant(factors, addends, shift, "ROUND", have, to, int(to.min()), int(to.max()), pe=pe)
            yield f"requant {taken}->{given} M={bits} C={channels} PE={pe}", kernel
    for shape, size, data, pad, *lanes in WINDOWS:
        for simd in lanes:
            kernel = SlidingWindow(shape, size, DataType[data], pad=((pad, pad),) * 2, simd=simd)
            yield f"sliding_window {data} {shape} {size} pad={pad} SIMD={simd}", kernel
    for weight, data, channels, *lanes in DEPTHWISE:
        weights = _weights(rng, weight, (channels, 9))
        for pe in lanes:
            kernel = Depthwise(weights, DataType[weight], DataType[data], (4, 4), pe)
            yield f"depthwise {weight}x{data} C={channels} K=9 PE={pe}", kernel
    for shape, size, data, *lanes in MAX_POOLS:
        for pe in lanes:
            yield f"max_pool {data} {shape} {size} PE={pe}", MaxPool(shape, size, DataType[data], pe)
    for shape, size, data, *lanes in SUM_POOLS:
        for pe in lanes:
            yield f"accumulate_pool {data} {shape} {size} PE={pe}", AccumulatePool(shape, size, DataType[data], pe)
    for (a, b), times, channels, *lanes in SUMS:
        for pe in lanes:
            kernel = Add((4, channels), (DataType[a], DataType[b]), times, pe)
            yield f"add {a}+{b} {times} C={channels} PE={pe}", kernel
    for data, copies, pe in (("INT8", 2, 8), ("UINT2", 4, 4), ("UINT4", 2, 16)):
        yield f"fork {data} copies={copies} PE={pe}", Fork((4, 16), DataType[data], copies, pe)
    for data, sizes, pe in (("UINT4", (8, 16), 4), ("UINT4", (64, 32, 32), 8), ("INT8", (16, 16), 1)):
        kernel = Concat(tuple((4, size) for size in sizes), (DataType[data],) * len(sizes), pe)
        yield f"concat {data} {sizes} PE={pe}", kernel
    for shape, data, pe in (((8, 8, 16), "UINT4", 4), ((32, 32, 16), "INT8", 4)):
        yield f"upsample {data} {shape} (2, 2) PE={pe}", Upsample(shape, (2, 2), DataType[data], pe)
    for classes, data, pe in ((10, "INT12", 1), (10, "INT12", 5), (24, "INT20", 2), (100, "INT16", 1)):
        yield f"arg_max {data} classes={classes} PE={pe}", ArgMax(classes, DataType[data], (), pe)
    for data, elements, have, want in WIDTHS:
        stream = Stream((elements,), DataType[data], have)
        yield f"width_converter {data} {have}->{want}", WidthConverter(stream, want)
    for data, lanes, depth in QUEUES:
        yield f"fifo {data}x{lanes} depth={depth}", Fifo(Stream((lanes,), DataType[data], lanes), depth)
    for taken, given, exponents, signs, channels, *lanes in POWERS:
        have, to = DataType[taken], DataType[given]
        factors = rng.choice(signs, channels) << rng.choice(exponents, channels)
        addends = rng.integers(-(1 << have.bitwidth()), 1 << have.bitwidth(), channels)
        shift = max(exponents) + have.bitwidth() - to.bitwidth() - 2
        for pe in lanes:
            kernel = Requant(factors, addends, shift, "ROUND", have, to, int(to.min()), int(to.max()), pe=pe)
            yield f"requant {taken}->{given} M=2^{exponents} {signs} C={channels} PE={pe}", kernel


COMPANION = Fifo(Stream((1,), DataType["BIPOLAR"], 1), 32)
"""What a kernel of the grid is synthesised beside, which is then subtracted.

Logic mapping makes the deepest path as short as it can and saves tables where there is time. A kernel of shallow logic
alone has no deepest path but its own, and takes up to three times the tables that it takes in a network (Gowin: a fork
to four 296 for 107, of wide multiplexers). This FIFO's control is as deep as that of most kernels.
"""


def separate(*kernels: Kernel) -> Graph:
    """A graph of nodes that have nothing to do with each other."""
    nodes, inputs, outputs = [], [], []
    for n, kernel in enumerate(kernels):
        edges = []
        for side, streams, ports in (("s", kernel.inputs(), inputs), ("m", kernel.outputs(), outputs)):
            edges.append(tuple(f"{side}{n}_{i}" for i in range(len(streams))))
            named = zip(edges[-1], streams, strict=True)
            ports.extend(Port(edge, edge, stream.shape, stream.dtype.name) for edge, stream in named)
        nodes.append(Node(f"kernel{n}", kernel, *edges))
    return Graph(tuple(nodes), tuple(inputs), tuple(outputs))
