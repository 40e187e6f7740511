from math import inf

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.families.ecp5 import ECP5
from hw.families.xc7 import XC7
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.stream import smallest_dtype
from hw.kernels.add.kernel import Add
from hw.kernels.concat.kernel import Concat
from hw.kernels.fork.kernel import Fork
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.upsample.kernel import Upsample
from hw.passes.fifos import insert_fifos
from hw.passes.lanes import insert_width_converters
from hw.timing import cycles, fifo_sizing
from hw.timing.fifo_sizing import size_fifos
from tests.kernels.kernel_bench import alone, check, check_resources, random_frames

DTYPES = ["BIPOLAR", "TERNARY", "UINT1", "UINT2", "INT3", "UINT8", "INT8", "INT16", "UINT20"]
INT8, BIPOLAR = DataType["INT8"], DataType["BIPOLAR"]
dtypes = st.sampled_from(DTYPES).map(lambda name: DataType[name])
coefficients = st.sampled_from([1, 1, -1, 2, 3, -5, 7, 100, -12345])
shapes = st.sampled_from([(), (2,), (2, 3)])


def check_alone(kernel, seed):
    """RTL against model, a few frames."""
    rng = np.random.default_rng(seed)
    check(alone(kernel), {f"in{i}": random_frames(s, 4, rng) for i, s in enumerate(kernel.inputs())}, rng)


@settings(max_examples=60, deadline=None)
@given(dtypes, dtypes, coefficients, coefficients, shapes, st.integers(0, 2**32))
def test_add_is_exact(a, b, ca, cb, prefix, seed):
    kernel = Add((*prefix, 5), (a, b), (ca, cb))
    rng = np.random.default_rng(seed)
    frames = [random_frames(stream, 4, rng) for stream in kernel.inputs()]
    (y,) = kernel.execute(*frames)
    np.testing.assert_array_equal(y, ca * frames[0].astype(object) + cb * frames[1].astype(object))
    ends = [[int(d.min()), int(d.max())][:: 1 if c > 0 else -1] for d, c in zip((a, b), (ca, cb), strict=True)]
    reached = [kernel.execute(*(np.full((1, *prefix, 5), x[i]) for x in ends))[0].flat[0] for i in (0, 1)]
    assert kernel.output_range() == tuple(reached)
    assert kernel.output_dtype == smallest_dtype(*map(int, reached))


def test_add_of_narrow_ranges():
    kernel = Add((3,), (DataType["INT8"], DataType["UINT8"]), (1, -2), input_ranges=((0, 4), (0, 3)))
    assert kernel.output_range() == (-6, 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(dtypes, st.integers(1, 5)), min_size=2, max_size=4), shapes, st.integers(0, 2**32))
def test_concat_is_exact(inputs, prefix, seed):
    kernel = Concat(tuple((*prefix, n) for _, n in inputs), tuple(dtype for dtype, _ in inputs))
    rng = np.random.default_rng(seed)
    frames = [random_frames(stream, 4, rng) for stream in kernel.inputs()]
    (y,) = kernel.execute(*frames)
    np.testing.assert_array_equal(y, np.concatenate([x.astype(object) for x in frames], axis=-1))
    assert y.shape[1:] == kernel.outputs()[0].shape
    low, high = int(kernel.output_dtype.min()), int(kernel.output_dtype.max())
    assert all(low <= int(d.min()) <= int(d.max()) <= high for d in kernel.dtypes)
    if len(set(kernel.dtypes)) == 1:
        assert kernel.output_dtype == kernel.dtypes[0]


@settings(max_examples=20, deadline=None)
@given(dtypes, st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=2), st.integers(0, 2**32))
def test_upsample_is_nearest_neighbour(dtype, axes, seed):
    kernel = Upsample((*(n for n, _ in axes), 2), tuple(f for _, f in axes), dtype)
    frames = random_frames(kernel.inputs()[0], 2, np.random.default_rng(seed))
    (y,) = kernel.execute(frames)
    assert y.shape[1:] == kernel.outputs()[0].shape
    for place in np.ndindex(*y.shape[1:-1]):
        source = tuple(p // f for p, f in zip(place, kernel.factors, strict=True))
        np.testing.assert_array_equal(y[(slice(None), *place)], frames[(slice(None), *source)])


def test_fork_copies():
    kernel = Fork((2, 6), DataType["INT8"], 3, 2)
    frames = random_frames(kernel.inputs()[0], 4, np.random.default_rng(0))
    assert len(kernel.outputs()) == 3
    for y in kernel.execute(frames):
        np.testing.assert_array_equal(y, frames)


SHAPES = [
    Add((2, 8), (DataType["INT4"], DataType["UINT8"]), (3, -7), 8),
    Add((2, 8), (INT8, INT8), pe=4),
    Fork((2, 8), INT8, 2, 8),
    Fork((2, 8), DataType["UINT2"], 4, 4),
    Concat(((4, 8), (4, 16)), (DataType["INT4"], INT8), 4),
    Concat(((4, 64), (4, 32), (4, 32)), (DataType["UINT4"],) * 3, 8),
    Upsample((8, 8, 16), (2, 2), DataType["UINT4"], 4),
    Upsample((32, 32, 16), (2, 2), INT8, 4),
]


def test_synthesis_takes_what_the_model_says(tmp_path):
    check_resources(SHAPES[0], ECP5, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", [ECP5, XC7], ids=lambda family: family.name)
@pytest.mark.parametrize("kernel", SHAPES, ids=lambda kernel: kernel.op)
def test_synthesis_of_every_kind(kernel, family, tmp_path):
    check_resources(kernel, family, tmp_path)


def branches(join, fold, rng):
    """Fork -> 1x1 convolution and threshold, and nothing -> ``join``: the smallest residual block."""
    shape, dtype = (3, 2, 8), DataType["UINT2"]
    product = MatrixVector(rng.integers(-2, 2, (8, 8)), DataType["INT2"], dtype, shape[:-1], *fold)
    low, high = int(product.accumulator_dtype.min()), int(product.accumulator_dtype.max())
    thresholds = np.sort(rng.integers(low, high, (8, 3), endpoint=True), axis=1)
    nodes = (
        Node("fork", Fork(shape, dtype), ("x",), ("long", "short")),
        Node("conv", product, ("long",), ("sums",)),
        Node(
            "act",
            Threshold(thresholds, np.zeros(8, bool), product.accumulator_dtype, dtype, shape[:-1]),
            ("sums",),
            ("y",),
        ),
        Node("join", join(shape, dtype), ("y", "short"), ("z",)),
    )
    return insert_width_converters(Graph(nodes, (Port("x", "x", shape, "UINT2"),), (Port("z", "z", shape, "INT32"),)))


JOINS = {
    "add": lambda shape, dtype: Add(shape, (dtype, dtype), (1, -3)),
    "concat": lambda shape, dtype: Concat((shape, shape), (dtype, dtype), 2),
}


@pytest.mark.parametrize(("join", "fold"), [("add", (2, 4)), ("concat", (8, 1))])
def test_branches_meet_without_a_deadlock(join, fold):
    rng = np.random.default_rng(fold[0])
    graph = branches(JOINS[join], fold, rng)
    depths = size_fifos(graph)
    bound = max(node.kernel.schedule().interval for node in graph)
    assert fifo_sizing.interval(graph, depths) == bound < fifo_sizing.interval(graph, {}) == inf
    check(insert_fifos(graph, depths), {"x": random_frames(graph.edges["x"], 4, rng)}, rng)
    for edge, depth in depths.items():
        assert fifo_sizing.interval(graph, depths | {edge: depth - 1 if depth > 2 else 0}) > bound


@pytest.mark.parametrize(
    ("kernel", "parameters", "message"),
    [
        (Fork, ((4,), INT8, 1), "two or more"),
        (Fork, ((4,), INT8, 2, 3), "PE 3 does not divide 4 channels; use one of 1, 2, 4"),
        (Add, ((4,), (INT8, DataType["FLOAT32"])), "FLOAT32"),
        (Add, ((4,), (INT8, INT8), (1, 0)), "not 0"),
        (Add, ((4,), (INT8, INT8), (1, (1 << 30) + 1)), "30 bits"),
        (Add, ((4,), (INT8, INT8), (1, 1), 1, ((0, 1), (0, 128))), "not within INT8"),
        (Concat, (((2, 4), (3, 4)), (INT8, INT8)), "only the last axis"),
        (Concat, (((2, 4),), (INT8,)), "two or more"),
        (Concat, (((2, 4), (2, 6)), (INT8, BIPOLAR), 4), "use one of 1, 2"),
        (Upsample, ((4, 4, 2), (2,), INT8), "a factor for each"),
        (Upsample, ((4, 4, 2), (2, 0), INT8), "at least 1"),
    ],
)
def test_bad_parameters(kernel, parameters, message):
    with pytest.raises(BitfabricError, match=message):
        kernel(*parameters)


@settings(max_examples=2, deadline=None)
@given(dtypes, dtypes, coefficients, coefficients, st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32))
@example(BIPOLAR, BIPOLAR, 1, 1, 2, 1, 0)
def test_add_rtl_equals_model(a, b, ca, cb, pe, beats, seed):
    check_alone(Add((2, pe * beats), (a, b), (ca, cb), pe), seed)


@settings(max_examples=2, deadline=None)
@given(st.lists(st.tuples(dtypes, st.integers(1, 3)), min_size=2, max_size=4), st.integers(1, 3), st.integers(0, 2**32))
@example([(BIPOLAR, 1), (BIPOLAR, 1)], 2, 0)
@example([(BIPOLAR, 2), (INT8, 1), (DataType["UINT8"], 5)], 1, 0)
def test_concat_rtl_equals_model(inputs, pe, seed):
    check_alone(Concat(tuple((3, pe * n) for _, n in inputs), tuple(dtype for dtype, _ in inputs), pe), seed)


@settings(max_examples=2, deadline=None)
@given(
    dtypes, st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=2), st.integers(1, 3),
    st.integers(1, 3), st.integers(0, 2**32),
)  # fmt: skip
@example(INT8, [(2, 3), (3, 2)], 2, 2, 0)
@example(BIPOLAR, [(40, 2), (70, 1)], 1, 1, 0)
def test_upsample_rtl_equals_model(dtype, axes, pe, beats, seed):
    check_alone(Upsample((*(n for n, _ in axes), pe * beats), tuple(f for _, f in axes), dtype, pe), seed)


def test_upsample_rtl_with_the_row_in_block_ram():
    kernel = Upsample((2, 80, 1), (2, 2), DataType["INT16"])
    assert kernel.rtl(ECP5).parameters["BUFFER"] == "block"
    check_alone(kernel, 0)


@pytest.mark.parametrize(
    "kernel",
    [
        Fork((2, 6), INT8, 3),
        Add((2, 6), (INT8, BIPOLAR), pe=2),
        Concat(((2, 3), (2, 1)), (INT8, BIPOLAR)),
        Upsample((2, 3, 2), (2, 3), INT8),
        Upsample((100, 3, 2), (2, 1), INT8),
        Upsample((3, 2), (3,), INT8, 2),
    ],
)
def test_a_beat_is_given_every_cycle(kernel):
    assert cycles.steady(alone(kernel)).interval == kernel.outputs()[0].beats


@pytest.mark.parametrize(("dtype", "copies", "pe"), [("BIPOLAR", 2, 1), ("INT5", 3, 2)])
def test_fork_rtl_equals_model(dtype, copies, pe):
    check_alone(Fork((3, 2 * pe), DataType[dtype], copies, pe), copies)
