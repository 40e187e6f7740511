"""Several positions of an image at a time: every kernel that can, against itself with one and against its RTL."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.families.ecp5 import ECP5
from hw.folding import finn_json
from hw.folding.search import Search
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Folding
from hw.ir.stream import Stream
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.concat.kernel import Concat
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.fork.kernel import Fork
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.requant.kernel import Requant
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.upsample.kernel import Upsample
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding, current_folding
from hw.passes.lanes import insert_width_converters
from hw.timing import cycles, fifo_sizing
from hw.timing.fifo_sizing import size_fifos
from tests.builders.networks import random_weights
from tests.folding.test_folding import DEVICE, check_searches
from tests.kernels.kernel_bench import alone, check, random_frames, synthesised

TYPES = ["BIPOLAR", "TERNARY", "UINT2", "INT4", "UINT8"]
WEIGHTS = ["BIPOLAR", "TERNARY", "INT3", "INT6"]


def sliding_window(rng, shape, dtype):
    axes = len(shape) - 1
    kernel, stride, dilation = (tuple(map(int, rng.integers(1, high, axes))) for high in (4, 3, 3))
    pad = tuple((int(low), int(high)) for low, high in rng.integers(0, 3, (axes, 2))) if rng.random() < 0.5 else None
    return SlidingWindow(shape, kernel, dtype, stride, dilation, pad)


def matrix_vector(rng, shape, dtype):
    weight = str(rng.choice(WEIGHTS))
    weights = random_weights(rng, weight, (int(rng.integers(1, 5)), shape[-1]))
    return MatrixVector(weights, DataType[weight], dtype, shape[:-1])


def depthwise(rng, shape, dtype):
    weight = str(rng.choice(WEIGHTS))
    return Depthwise(
        random_weights(rng, weight, (shape[-1], int(rng.integers(1, 7)))), DataType[weight], dtype, shape[:-1]
    )


def threshold(rng, shape, dtype):
    rows = np.sort(rng.integers(int(dtype.min()), int(dtype.max()) + 1, (shape[-1], 3)), axis=1)
    return Threshold(rows, rng.random(shape[-1]) < 0.3, dtype, DataType["UINT2"], shape[:-1])


def requant(rng, shape, dtype):
    multiplier, addend = rng.integers(-9, 10, shape[-1]), rng.integers(-30, 30, shape[-1])
    return Requant(multiplier, addend, 2, "ROUND", dtype, DataType["INT6"], -32, 31, shape[:-1])


def pool(rng, shape, dtype):
    made, axes = (MaxPool, AccumulatePool)[rng.integers(2)], len(shape) - 1
    if rng.random() < 0.4:
        return made(shape, tuple(map(int, rng.integers(1, 4, axes))), dtype, windows=True)
    return made(shape, tuple(int(rng.integers(1, min(4, size) + 1)) for size in shape[:-1]), dtype)


def add(rng, shape, dtype):
    return Add(shape, (dtype, DataType[str(rng.choice(TYPES))]), (1, int(rng.choice([1, -3]))))


def fork(rng, shape, dtype):
    return Fork(shape, dtype, int(rng.integers(2, 4)))


def concat(rng, shape, dtype):
    shapes = tuple((*shape[:-1], int(channels)) for channels in rng.integers(1, 4, rng.integers(2, 4)))
    return Concat(shapes, tuple(DataType[str(rng.choice([dtype.name, *TYPES]))] for _ in shapes))


def upsample(rng, shape, dtype):
    return Upsample(shape, tuple(map(int, rng.integers(1, 4, len(shape) - 1))), dtype)


KERNELS = [sliding_window, matrix_vector, depthwise, threshold, requant, pool, add, fork, concat, upsample]


def several(kind, seed):
    """A random kernel of a kind that takes several positions at a time, and the generator for its frames."""
    rng = np.random.default_rng(seed)
    while True:
        spatial = tuple(map(int, rng.integers(1, 9, rng.integers(1, 3))))
        try:
            kernel = kind(rng, (*spatial, int(rng.integers(1, 4))), DataType[str(rng.choice(TYPES))])
        except BitfabricError:  # a kernel larger than the image, say
            continue
        if choices := [each for each in kernel.foldings() if each.pixels > 1]:
            return kernel.fold(choices[rng.integers(len(choices))]), rng


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KERNELS), st.integers(0, 2**32))
def test_nothing_changes_but_the_lanes_and_the_time(kind, seed):
    kernel, rng = several(kind, seed)
    one = kernel.fold(Folding(kernel.folding.pe, kernel.folding.simd))
    frames = [random_frames(stream, 2, rng) for stream in one.inputs()]
    for y, expected in zip(kernel.execute(*frames), one.execute(*frames), strict=True):
        np.testing.assert_array_equal(y, expected)
    for stream, before in zip(kernel.inputs(), one.inputs(), strict=True):
        position = before.shape[-1] if kind is concat else before.lanes
        assert stream == before.with_lanes(position * kernel.pixels)
    interval = max(stream.beats for stream in (*kernel.inputs(), *kernel.outputs()))
    assert kernel.schedule().interval == interval < one.schedule().interval
    assert cycles.steady(alone(kernel)).interval == interval


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(KERNELS), st.integers(0, 2**32))
@example(depthwise, 3)  # half a window at a time
def test_rtl_equals_model(kind, seed):
    kernel, rng = several(kind, seed)
    check(alone(kernel), {f"in{i}": random_frames(s, 3, rng) for i, s in enumerate(kernel.inputs())}, rng)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
@pytest.mark.parametrize("kind", KERNELS)
def test_rtl_of_every_kernel_equals_its_model(kind, seed):
    kernel, rng = several(kind, seed)
    check(alone(kernel), {f"in{i}": random_frames(s, 3, rng) for i, s in enumerate(kernel.inputs())}, rng)


@pytest.mark.parametrize("kind", KERNELS)
def test_illegal_pixels_are_refused(kind):
    kernel, _ = several(kind, 0)
    now, width = kernel.folding, max(f.pixels for f in kernel.foldings())
    with pytest.raises(BitfabricError, match=rf"^{kernel.op}: pixels={width + 1}; legal here: 1, .*{width}$"):
        kernel.fold(replace(now, pixels=width + 1))
    parts = [f for f in kernel.foldings() if (f.pe, f.simd) != (now.pe, now.simd)]
    for part in parts:
        with pytest.raises(
            BitfabricError, match=rf"^{kernel.op}: pixels={now.pixels} needs all of a position at a time"
        ):
            kernel.fold(replace(part, pixels=now.pixels))


def test_lanes_are_rows_of_channels():
    stream = Stream((4, 6, 2), DataType["INT4"])
    legal = [lanes for lanes in range(1, 49) if 48 % lanes == 0 and lanes in (1, 2, 4, 6, 12, 24, 48)]
    assert [stream.with_lanes(lanes).beats for lanes in legal] == [48 // lanes for lanes in legal]
    frames = random_frames(stream, 3, np.random.default_rng(0))
    np.testing.assert_array_equal(stream.with_lanes(6).unpack(stream.with_lanes(6).pack(frames)), frames)
    for count in (3, 8, 16):
        with pytest.raises(ValueError, match=f"{count} lanes do not divide"):
            stream.with_lanes(count)


def convolution(rng, shape=(2, 4, 1), outputs=2):
    """A padded 1x3 convolution, a threshold and a pool."""
    window = SlidingWindow(shape, (1, 3), DataType["UINT2"], pad=((0, 0), (1, 1)))
    layer = MatrixVector(rng.integers(-2, 2, (outputs, window.window)), DataType["INT2"], window.dtype, shape[:-1])
    low, high = int(layer.accumulator_dtype.min()), int(layer.accumulator_dtype.max())
    rows = np.sort(rng.integers(low, high, (outputs, 3), endpoint=True), axis=1)
    act = Threshold(rows, np.zeros(outputs, bool), layer.accumulator_dtype, DataType["UINT2"], shape[:-1])
    kernels = {
        "window": window,
        "conv": layer,
        "act": act,
        "pool": MaxPool((*shape[:-1], outputs), (1, 2), act.output_dtype),
    }
    edges = ["x", *kernels]
    nodes = tuple(Node(name, k, (edges[i],), (name,)) for i, (name, k) in enumerate(kernels.items()))
    out = kernels["pool"].outputs()[0]
    return Graph(nodes, (Port("x", "x", shape, "UINT2"),), (Port("y", "pool", out.shape, out.dtype.name),))


@pytest.mark.parametrize("seed", [0, 1])
def test_no_enumerated_folding_is_better(seed):
    graph = convolution(np.random.default_rng(seed))
    assert Search(graph, ECP5, DEVICE).min_interval[0] == 2
    check_searches(graph, seed)


@pytest.mark.parametrize(("window", "conv", "act"), [(2, 4, 2), (4, 1, 2)])
def test_converters_between_different_pixels_in_rtl(window, conv, act):
    rng = np.random.default_rng(window)
    graph = convolution(rng, (2, 8, 2), 3)
    table = {
        "window": Folding(1, 6, window),
        "conv": Folding(3, 6, conv),
        "act": Folding(3, 1, act),
        "pool": Folding(3, 1),
    }
    graph = insert_width_converters(apply_folding(graph, table))
    graph = insert_fifos(graph, size_fifos(graph))
    check(graph, {"x": random_frames(graph.edges["x"], 3, rng)}, rng)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_fifos_from_periodic_schedules(seed):
    rng = np.random.default_rng(seed)
    graph = convolution(rng, (int(rng.integers(1, 4)), 8, 2), 3)
    choices = {node.name: node.kernel.foldings() for node in graph}
    table = {name: each[rng.integers(len(each))] for name, each in choices.items()}
    graph = insert_width_converters(apply_folding(graph, table))
    best, depths = fifo_sizing.min_interval(graph), size_fifos(graph)
    assert fifo_sizing.interval(graph, depths) == best == max(node.kernel.schedule().interval for node in graph)
    for edge, depth in depths.items():
        assert fifo_sizing.interval(graph, depths | {edge: depth - 1 if depth > 2 else 0}) > best


def test_finns_m_in_files(tmp_path):
    graph = convolution(np.random.default_rng(0))
    table = {"window": Folding(1, 3, 2), "conv": Folding(2, 3, 4), "act": Folding(2, 1), "pool": Folding(1, 1)}
    finn_json.save(table, tmp_path / "f.json", graph)
    text = (tmp_path / "f.json").read_text()
    assert text.count('"M"') == 2
    assert finn_json.read(tmp_path / "f.json", graph).table == table == current_folding(apply_folding(graph, table))
    (tmp_path / "f.json").write_text('{"conv": {"PE": 1, "SIMD": 3, "M": 2}}')
    with pytest.raises(
        BitfabricError, match=r"layer conv: .*pixels=2 needs all of a position at a time, pe=2, not pe=1"
    ):
        apply_folding(graph, finn_json.read(tmp_path / "f.json", graph).table)


INT4 = random_weights(np.random.default_rng(0), "INT4", (8, 9))


def product_of(weight, data):
    weights = random_weights(np.random.default_rng(0), weight, (8, 36))
    return MatrixVector(weights, DataType[weight], DataType[data], (4, 4), 8, 36, pixels=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel",
    [
        SlidingWindow((16, 16, 4), (3, 3), DataType["UINT2"], pad=((1, 1), (1, 1)), simd=36, pixels=2),
        SlidingWindow((16, 16, 4), (2, 2), DataType["UINT4"], stride=(2, 2), simd=16, pixels=4),
        product_of("BIPOLAR", "BIPOLAR"),
        product_of("INT4", "UINT4"),
        MaxPool((16, 16, 8), (2, 2), DataType["UINT4"], 8, pixels=4),
        AccumulatePool((8, 8, 8), (8, 8), DataType["UINT4"], 8, pixels=4),
        Depthwise(INT4, DataType["INT4"], DataType["UINT4"], (4, 4), 8, pixels=9),
    ],
    ids=lambda kernel: kernel.op,
)
def test_synthesis_takes_what_the_model_says(kernel, tmp_path):
    used = synthesised(kernel, ECP5, tmp_path)
    estimate = kernel.resources(ECP5)
    assert (used.bram, used.dsp) == (estimate.bram, estimate.dsp)
    assert used.lut == pytest.approx(estimate.lut, rel=0.2, abs=10)
