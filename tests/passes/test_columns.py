"""Convolutions without unused elements: the same function in every form; search, FINN, files, verification."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw import finn, graph_file
from hw.fabric.resources import Resources
from hw.families.ecp5 import ECP5
from hw.folding import choose
from hw.folding.search import Search
from hw.host.errors import BitfabricError, UsageError
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Folding
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.sparse_window.kernel import SparseWindow
from hw.kernels.threshold.kernel import Threshold
from hw.model import Model
from hw.passes.columns import forms, with_whole_windows
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding, current_folding
from hw.passes.lanes import insert_width_converters
from hw.passes.removal.remove import remove_channels
from hw.timing import cycles
from hw.timing.fifo_sizing import size_fifos
from hw.verification.removal import check_removal
from tests.builders.qonnx_builder import Builder

DEVICE = Resources(83640, 83640, 208, 156)


def convolution(
    rng: np.random.Generator, keep: np.ndarray, dtype: str = "UINT4", size: int = 6, pad: int = 1, outputs: int = 4
) -> Graph:
    """A 3 x 3 convolution; ``keep`` (9, C): the elements of a window that it uses."""
    channels = keep.shape[1]
    window = SlidingWindow((size, size, channels), (3, 3), DataType[dtype], pad=((pad, pad), (pad, pad)))
    weights = rng.integers(-7, 8, (outputs, 9 * channels)) * keep.ravel()
    out = window.out_spatial
    product = MatrixVector(weights, DataType["INT4"], window.out_dtype, out)
    return Graph(
        (Node("window", window, ("x",), ("w",)), Node("conv", product, ("w",), ("y",))),
        (Port("x", "x", window.shape, dtype),),
        (Port("y", "y", (*out, outputs), "int64"),),
    )


def sparse(lanes: int) -> dict[str, Folding]:
    return {"window": Folding(1, lanes, implementation="sparse_window")}


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([1, 2, 4, 6]),
    st.floats(0, 1),
    st.booleans(),
    st.sampled_from(["UINT4", "BIPOLAR"]),
    st.integers(0, 2**32),
)
def test_every_form_is_the_same_function(channels, density, positions, dtype, seed):
    rng = np.random.default_rng(seed)
    keep = rng.random((9, 1 if positions else channels)) < density
    graph = convolution(rng, np.broadcast_to(keep, (9, channels)), dtype)
    window, product = (node.kernel for node in graph)
    used = (product.weights != 0).any(axis=0).reshape(9, channels)
    x = (
        rng.integers(0, 2, (2, *window.shape)) * 2 - 1
        if dtype == "BIPOLAR"
        else rng.integers(0, 16, (2, *window.shape))
    )
    (expected,) = graph.execute({"x": x}).values()
    known = forms(window, product)
    for lanes in (each for each in (1, 2, 3, 4, 6) if channels % each == 0):
        fullest = max(1, used.reshape(-1, lanes).sum(axis=0).max())
        assert (lanes in known) == (used.mean() <= 7 / 8 and fullest * lanes <= 7 / 8 * used.size)
    for lanes in known:
        made = apply_folding(graph, sparse(lanes))
        assert made.edges["w"].shape[-1] % lanes == 0
        assert made.edges["y"].dtype == graph.edges["y"].dtype
        np.testing.assert_array_equal(made.execute({"x": x})["y"], expected)
        assert current_folding(made)["window"] == Folding(1, lanes, implementation="sparse_window")
        back = apply_folding(made, {"window": Folding(1, channels, implementation="sliding_window")})
        np.testing.assert_array_equal(back.nodes[1].kernel.weights, product.weights)
        assert back.nodes[0].kernel.folding == Folding(1, channels)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 2, 4]), st.booleans(), st.integers(0, 2**32))
def test_a_form_of_a_network_without_channels_is_compared_with_the_one_that_has_them(lanes, channel, seed):
    """Pruning leaves both: neurons and channels that do nothing, and elements that no filter uses."""
    rng = np.random.default_rng(seed)
    keep = rng.random((9, 4)) < 0.5
    keep[:, 0] &= channel  # a channel that no filter reads
    whole = convolution(rng, keep, "UINT2", pad=0)
    first = MatrixVector(np.array([[1, 1], [0, 0], [2, -1], [1, 2]]), DataType["INT4"], DataType["UINT2"], (6, 6))
    bounds = np.array([[1, 2, 5], [0, 0, 5], [-1, 2, 3], [1, 5, 7]])  # the second channel is 2
    act = Threshold(bounds, np.zeros(4, bool), first.outputs()[0].dtype, DataType["UINT2"], (6, 6))
    port = Port("in", "in", (6, 6, 2), "UINT2")
    graph = Graph(
        (Node("first", first, ("in",), ("sums",)), Node("act", act, ("sums",), ("x",)), *whole.nodes),
        (port,), whole.outputs,
    )  # fmt: skip
    removal = remove_channels(graph, 1)
    assert removal.layers
    if lanes not in forms(*(node.kernel for node in removal.graph.nodes[2:])):
        return
    made = apply_folding(removal.graph, sparse(lanes))
    frames = rng.integers(0, 4, (5, *graph.inputs[0].shape))
    assert check_removal(removal, made, frames).layers == 4
    product = made.nodes[3].kernel
    wrong = product.weights.copy()
    wrong[0, 0] += 1 if wrong[0, 0] < 7 else -1
    with pytest.raises(BitfabricError, match="differs from the original in layer conv"):
        check_removal(removal, made.with_kernels({"conv": replace(product, weights=wrong)}), frames)


def test_half_of_the_columns_take_half_of_the_beats():
    rng = np.random.default_rng(1)
    keep = np.zeros((9, 4), bool)
    for channel in range(4):
        keep[rng.permutation(9)[: (4, 5)[channel % 2]], channel] = True
    graph = convolution(rng, keep, size=8, outputs=8)
    whole = apply_folding(graph, {"window": Folding(1, 1), "conv": Folding(8, 1)})
    half = apply_folding(graph, sparse(1) | {"conv": Folding(8, 1)})
    assert [node.kernel.interval for node in whole] == [64 * 36, 64 * 36]
    assert [node.kernel.interval for node in half] == [64 * 18, 64 * 18]


def test_nothing_is_left_but_one_element():
    graph = convolution(np.random.default_rng(2), np.zeros((9, 2), bool))
    made = apply_folding(graph, sparse(1))
    assert made.edges["w"].shape[-1] == 1
    x = np.random.default_rng(3).integers(0, 16, (2, 6, 6, 2))
    assert not made.execute({"x": x})["y"].any()


def test_the_search_takes_both_kernels_of_a_form():
    rng = np.random.default_rng(4)
    keep = np.zeros((9, 8), bool)
    keep[[1, 3, 4, 5, 7]] = True
    graph = convolution(rng, keep, size=8, outputs=8)
    search = Search(graph, ECP5, DEVICE)
    chosen = set()
    for interval in search.intervals:
        choice = search.cheapest(interval)
        made = apply_folding(graph, choice.folding)
        connected = insert_width_converters(made)
        assert choose.estimate_resources(connected, ECP5) == choice.used
        assert max(node.kernel.interval for node in made) == choice.interval
        chosen.add(made.nodes[0].kernel.op)
        tight = Resources(choice.used.lut + 50, choice.used.ff + 50, choice.used.bram, choice.used.dsp)
        assert search.cheapest(interval, tight).folding == choice.folding
        assert search.cheapest(interval, Resources(choice.used.lut // 4, 10, 0, 0)) is None
    assert chosen == {"sliding_window", "sparse_window"}
    fast, slow = search.cheapest(search.intervals[0]), search.cheapest(64 * 5 * 8)
    assert "implementation" not in fast.folding["window"].attributes
    assert slow.folding["window"].implementation == "sparse_window"


def test_the_cycle_model_knows_it():
    rng = np.random.default_rng(5)
    keep = rng.random((9, 4)) < 0.4
    graph = apply_folding(convolution(rng, keep), sparse(2) | {"conv": Folding(2, 2, implementation="matrix_vector")})
    connected = insert_width_converters(graph)
    hardware = insert_fifos(connected, size_fifos(connected))
    found = cycles.steady(hardware)
    assert cycles.steady_state(hardware) == cycles.SteadyState(found.interval, found.latency)


def test_lanes_without_a_form_are_refused():
    rng = np.random.default_rng(6)
    keep = np.ones((9, 4), bool)
    keep[:, 0] = False
    keep[:6, 1] = False
    graph = convolution(rng, keep)
    with pytest.raises(UsageError, match=r"^layer window: no sparse_window with SIMD 4; legal: 1, 2$"):
        apply_folding(graph, sparse(4))
    with pytest.raises(UsageError, match=r"^layer window: no sparse_window with SIMD 1; too few of its elements are"):
        apply_folding(convolution(rng, np.ones((9, 4), bool)), sparse(1))
    with pytest.raises(BitfabricError, match=r"^sparse_window: picks 0\.\.18 of a window of 18 elements$"):
        SparseWindow((6, 6, 2), (3, 3), DataType["UINT4"], picks=np.array([0, 18]))
    with pytest.raises(BitfabricError, match="it needs a list of one or more integers"):
        SparseWindow((6, 6, 2), (3, 3), DataType["UINT4"])


def test_finn_and_files(tmp_path):
    rng = np.random.default_rng(7)
    graph = convolution(rng, rng.random((9, 4)) < 0.4)
    made = apply_folding(graph, sparse(2))
    graph_file.write(made, tmp_path)
    back = graph_file.read(tmp_path)
    x = {"x": rng.integers(0, 16, (2, 6, 6, 4))}
    np.testing.assert_array_equal(back.execute(x)["y"], graph.execute(x)["y"])
    assert str(back) == str(made)
    np.testing.assert_array_equal(with_whole_windows(back).nodes[1].kernel.weights, graph.nodes[1].kernel.weights)
    written = finn.read(finn.write(finn.adapted(back)))
    assert {node.kernel.op for node in written} == {"sliding_window", "matrix_vector"}
    with pytest.raises(BitfabricError, match="window: FINN has no form for sparse_window; use the open back end"):
        finn.write(back)


def test_the_reference_is_met_layer_by_layer(tmp_path):
    rng = np.random.default_rng(8)
    builder = Builder((1, 2, 6, 6))
    weights = rng.integers(-7, 8, (4, 2, 3, 3)) * (rng.random((1, 2, 3, 3)) < 0.4)
    taken = builder.quant("x", 1.0, 4, signed=0)
    made = builder.node("Conv", taken, builder.quant(weights, 1.0, 4), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    made = builder.quant(made, 8.0, 4)
    onnx.save(builder.model((made, (1, 4, 6, 6))), tmp_path / "model.onnx")
    model = Model.open(tmp_path / "model.onnx")
    window = next(node.name for node in model.graph if isinstance(node.kernel, SlidingWindow))
    graph = apply_folding(model.graph, {window: Folding(1, 1, implementation="sparse_window")})
    assert graph.node(window).kernel.op == "sparse_window"
    frames = rng.integers(0, 16, (4, 2, 6, 6)).astype(np.float32)
    agreement = model.frontend.compare(graph, {"x": frames})
    assert agreement.mismatches == 0
    assert agreement.elements > 0
