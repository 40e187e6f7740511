"""Directed frames, and every layer driven at its own input."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.host.errors import BitfabricError
from hw.ir.graph import Graph
from hw.lowering.lower import LoweredModel, lower_model
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.timing.fifo_sizing import size_fifos
from hw.verification.directed import directed_frames
from hw.verification.layers import Driven, check_directed, drive
from hw.verification.reference import Reference, compare_with
from tests.builders.qonnx_builder import Builder
from tests.builders.random_images import RandomImages
from tests.builders.random_models import RandomModel
from tests.golden.networks import NETWORKS

pytestmark = pytest.mark.quick

WEIGHTS = np.random.default_rng(0).integers(-7, 8, (12, 5)).astype(np.float32)


def opened(model) -> tuple[LoweredModel, Reference]:
    reference = Reference(model)
    return lower_model(reference.model), reference


def driven(model, change=lambda graph: graph) -> Driven:
    lowering, reference = opened(model)
    return drive(change(lowering.graph), lowering, reference)


@pytest.mark.parametrize(("bits", "signed", "zero_point"), [(1, 0, 0.0), (4, 0, 3.0), (4, 1, 0.0), (8, 1, 0.0)])
def test_frames_lie_on_both_sides_of_the_edge_of_every_code(bits, signed, zero_point):
    b = Builder((1, 3, 2, 2))
    x = b.node("Mul", "x", np.array([0.3, -1.0, 2.0]).reshape(3, 1, 1))
    x = b.quant(x, 0.25, bits, zero_point, signed)
    x = b.node("Conv", x, b.quant(np.ones((1, 3, 1, 1)), 1.0, 4), kernel_shape=[1, 1])
    lowering, reference = opened(b.model((x, (1, 1, 2, 2))))
    graph = lowering.graph
    (frames,) = directed_frames(graph).values()
    codes = graph.enter(graph.check(frames))[graph.inputs[0].edge].reshape(-1, 12)
    stream = graph.edges[graph.inputs[0].edge]
    low, high = int(stream.dtype.min()), int(stream.dtype.max())
    assert (codes.min(axis=0) == low).all()
    assert (codes.max(axis=0) == high).all()
    assert np.abs(frames).max() > 1e18
    for channel in codes.reshape(-1, 2, 2, 3).T:
        assert set(channel.ravel()) == set(range(low, high + 1))
    # The next float32 number after the last one of a code has the next code.
    after = graph.enter(graph.check(np.nextafter(frames, np.float32(np.inf))))[graph.inputs[0].edge].reshape(-1, 12)
    steps = np.abs(after.astype(int) - codes)
    assert steps.max() == 1
    assert steps.sum() >= 12 * 15 or bits == 1
    compared = compare_with(graph, lowering, reference, directed_frames(graph))
    assert compared.mismatches == compared.explained


@pytest.mark.parametrize("dtype", ["BIPOLAR", "INT3", "UINT8"])
def test_frames_of_integers_have_every_value(dtype):
    b = Builder((1, 12))
    b.annotate("x", dtype)
    lowering, _ = opened(b.model((b.node("MatMul", "x", b.quant(WEIGHTS, 1.0, 4)), (1, 5))))
    port = lowering.graph.inputs[0]
    frames = port.check(directed_frames(lowering.graph)["x"])
    values = lowering.graph.edges[port.edge].dtype
    every = {-1, 1} if dtype == "BIPOLAR" else set(range(int(values.min()), int(values.max()) + 1))
    assert set(np.unique(frames)) == every
    assert {int(end) for end in (values.min(), values.max())} <= {int(f[0]) for f in frames if (f == f[0]).all()}


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), dyadic=st.booleans(), wide=st.booleans(), image=st.booleans())
def test_right_layers_are_right(seed, dyadic, wide, image):
    rng = np.random.default_rng(seed)
    network = RandomImages(rng, dyadic) if image else RandomModel(rng, dyadic, wide)
    try:
        lowering, reference = opened(network.model())
    except BitfabricError:
        return  # It has no exact form.
    result = drive(lowering.graph, lowering, reference)
    assert not result.wrong
    assert not result.left_out
    assert result.covered == result.decision_points or (wide and 0 < result.covered < result.decision_points)


@pytest.mark.parametrize("name", ["ternary", "branches", "depthwise", "signal"])
def test_the_layers_of_the_hardware_graph_are_driven_whatever_its_folding(name, tmp_path):
    NETWORKS[name].make(tmp_path / "model.onnx")
    lowering, reference = opened(tmp_path / "model.onnx")
    rng = np.random.default_rng(1)
    folded = apply_folding(lowering.graph, {n.name: rng.choice(n.kernel.foldings()) for n in lowering.graph})
    hardware = insert_width_converters(folded)
    hardware = insert_fifos(hardware, size_fifos(hardware))
    plain, built = drive(lowering.graph, lowering, reference), drive(hardware, lowering, reference)
    assert plain.layers == built.layers == len(lowering.tensors) + len(lowering.computed) - 1
    assert not built.wrong
    assert vars(plain) == vars(built)


def test_a_wrong_threshold_names_its_layer():
    b = Builder((1, 12))
    x = b.quant(b.node("MatMul", b.quant("x", 0.25, 4), b.quant(WEIGHTS, 0.25, 4)), 0.25, 4)
    model = b.model((b.node("MatMul", x, b.quant(WEIGHTS[:5], 0.25, 4)), (1, 5)))

    def change(graph: Graph) -> Graph:
        kernel = graph.node("fc0_threshold").kernel
        table = kernel.thresholds.copy()
        table[2, 7] += 1
        return graph.with_kernels({"fc0_threshold": replace(kernel, thresholds=table)})

    lowering, reference = opened(model)
    wrong = change(lowering.graph)
    result = drive(wrong, lowering, reference)
    assert list(result.wrong) == ["fc0_threshold"]
    assert "element [2]" in result.wrong["fc0_threshold"]
    with pytest.raises(
        BitfabricError, match=r"in layer fc0_threshold \(.*\) at inputs of its own: frame .* element \[2\]"
    ):
        check_directed(wrong, lowering, reference)
    counts = check_directed(lowering.graph, lowering, reference)
    assert counts.layers == 3
    assert counts.covered == counts.decision_points == 5 * 15
    assert counts.summary.startswith("3 layers at ")


def test_wrong_connections_and_pools_are_found():
    b = Builder((1, 2, 4, 4))
    x, y = b.quant("x", 1.0, 4), b.node("Conv", b.quant("x", 1.0, 4), b.quant(np.eye(2).reshape(2, 2, 1, 1), 1.0, 4))
    less = b.node("Sub", b.quant(y, 1.0, 4), x)
    pooled = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    model = b.model((less, (1, 2, 4, 4)), (b.node("Concat", pooled, pooled, axis=1), (1, 4, 2, 2)))

    def swapped(graph: Graph) -> Graph:
        nodes = (replace(n, inputs=n.inputs[::-1]) if n.kernel.op == "add" else n for n in graph)
        return replace(graph, nodes=tuple(nodes))

    assert driven(model).wrong == {}
    assert list(driven(model, swapped).wrong) == ["add0"]
    lowering, reference = opened(model)
    pool = lowering.graph.node("pool0").kernel

    class Minimum(type(pool)):
        ufunc = np.minimum

    least = Minimum(**{name: getattr(pool, name) for name in ("shape", "kernel", "dtype", "pe", "windows", "pixels")})
    assert list(drive(lowering.graph.with_kernels({"pool0": least}), lowering, reference).wrong) == ["pool0"]


def test_a_graph_of_another_model_is_refused():
    b = Builder((1, 12))
    model = b.model((b.node("MatMul", b.quant("x", 0.25, 4), b.quant(WEIGHTS, 0.25, 4)), (1, 5)))
    lowering, reference = opened(model)
    other = replace(lowering.graph, nodes=(replace(lowering.graph.nodes[0], name="other"),))
    with pytest.raises(BitfabricError, match="no layer fc0"):
        drive(other, lowering, reference)
