"""The batched reference, and the comparison that tells rounding from errors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.onnx_exec import execute_onnx

from hw.host import operators
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph
from hw.ir.kernel import Folding
from hw.lowering.lower import lower
from hw.lowering.qonnx import load
from hw.passes.fifos import insert_fifos, streams
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.verification.agreement import Agreement
from hw.verification.reference import Reference, compare, random_frames
from tests.builders.qonnx_builder import Builder
from tests.builders.random_models import ROUNDING, RandomModel

pytestmark = pytest.mark.quick

WEIGHTS = np.random.default_rng(0).integers(-7, 8, (12, 5)).astype(np.float32)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_batches_equal_single_frames(seed):
    network = RandomModel(np.random.default_rng(seed), dyadic=True)
    model, frames = network.model(), network.frames(5)
    reference = Reference(model)
    reference.chunk = 2
    loaded = load(model)
    single = [next(iter(execute_onnx(loaded, {"x": frame[None]}).values())) for frame in frames]
    np.testing.assert_array_equal(reference.run(frames), np.concatenate(single))


@pytest.mark.parametrize("mode", ROUNDING)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_host_quantizers_are_qonnx_to_the_bit(mode, seed):
    from qonnx.custom_op.general.quant import quant

    rng = np.random.default_rng(seed)
    bits, signed, narrow = int(rng.integers(2, 17)), bool(rng.integers(2)), bool(rng.integers(2))
    scale, zero_point = np.float32(rng.uniform(0.01, 2)), np.float32(rng.integers(-3, 4))
    x = np.concatenate([rng.normal(size=500) * 8, rng.integers(-9, 9, 500) * scale / 2]).astype(np.float32)
    want = quant(x, scale, zero_point, np.float32(bits), signed, narrow, mode)
    codes = operators.quant(x, scale, zero_point, bits=bits, signed=signed, narrow=narrow, rounding_mode=mode)
    np.testing.assert_array_equal((codes - zero_point) * scale, want)
    low, high = operators.code_range(bits, signed, narrow)
    assert np.all((codes >= low) & (codes <= high) & (codes == np.round(codes)))


def two_layers(scale=0.25):
    b = Builder((1, 12))
    x = b.quant(b.node("MatMul", b.quant("x", scale, 4), b.quant(WEIGHTS, scale, 4)), scale, 4)
    return b.model((b.node("MatMul", x, b.quant(WEIGHTS[:5], scale, 4)), (1, 5)))


def one_threshold_more(graph):
    kernel = graph.node("fc0_threshold").kernel
    table = kernel.thresholds.copy()
    table[2, 7] += 1
    return graph.with_kernels({"fc0_threshold": replace(kernel, thresholds=table)})


def negated_weights(layer):
    def mutate(graph):
        kernel = graph.node(layer).kernel
        return graph.with_kernels({layer: replace(kernel, weights=np.minimum(-kernel.weights, 7))})

    return mutate


def built(graph):
    """The graph as hardware: folded, with width converters and FIFOs."""
    folded = apply_folding(graph, {"fc0": Folding(5, 3)})
    converted = insert_width_converters(folded)
    return insert_fifos(converted, dict.fromkeys(streams(converted), 2))


@pytest.mark.parametrize("made", [lambda graph: graph, built])
@pytest.mark.parametrize(
    ("mutate", "layer"),
    [
        (one_threshold_more, "fc0_threshold"),
        (negated_weights("fc0"), "fc0_threshold"),
        (negated_weights("fc1"), "the output"),
    ],
)
def test_an_error_in_a_layer_is_found_and_not_explained(mutate, layer, made):
    model = two_layers()
    graph = lower(model)
    layer = layer.replace("the output", graph.outputs[0].name)
    frames = random_frames(graph, 400)
    right = compare(made(graph), model, frames)
    assert right.describe() == "400 frames, no element differs from the reference"
    assert right.agreement() == Agreement(400, 400 * (12 + 5 + 5))
    compared = compare(made(mutate(graph)), model, frames)
    assert (compared.layers[layer].mismatches > 0, compared.explained) == (True, 0)
    with pytest.raises(
        BitfabricError, match=rf"in layer {layer}( \(.*\))?, frame \d+, element \[\d\]: .* instead of"
    ) as caught:
        compared.agreement()
    assert "\n" not in str(caught.value)


def test_the_graph_of_another_model_is_refused():
    model = two_layers()
    graph = lower(model)
    renamed = replace(graph.nodes[1], outputs=("t",))
    other = Graph((graph.nodes[0], renamed, replace(graph.nodes[2], inputs=("t",))), graph.inputs, graph.outputs)
    with pytest.raises(BitfabricError, match="not one of this model: it has no edge fc0_threshold;"):
        compare(other, model, random_frames(graph, 2))


def test_rounding_of_the_reference_is_explained():
    # Equal scales of 0.1: sums of products of 0.01 fall on ties in real numbers, and beside them in float32.
    model = two_layers(0.1)
    graph = lower(model)
    b = np.random.default_rng(0).integers(-8, 8, (3000, 12)).astype(np.float32) * np.float32(0.1)
    compared = compare(graph, model, b)
    assert compared.mismatches == compared.explained > 0
    assert list(compared.layers) == ["input", "fc0_threshold", graph.outputs[0].name]


def test_wrong_frames_and_random_ones():
    model = two_layers()
    with pytest.raises(BitfabricError, match=r"takes frames of shape \(N, 12\), not \(3, 11\)"):
        Reference(model).run(np.zeros((3, 11), np.float32))
    with pytest.raises(BitfabricError, match=r"the model has the inputs x; given: y"):
        Reference(model).run({"y": np.zeros((3, 12), np.float32)})
    b = Builder((1, 12))
    b.annotate("x", "BIPOLAR")
    graph = lower(b.model((b.node("MatMul", "x", b.quant(WEIGHTS, 1.0, 4)), (1, 5))))
    frames = random_frames(graph, 20, seed=3)
    assert frames.shape == (20, 12)
    assert set(np.unique(frames)) == {-1, 1}
    np.testing.assert_array_equal(frames, random_frames(graph, 20, seed=3))
