"""Moves of elements between layers: shuffles and parts of channels, crops, steps, and what the host moves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from hw.finn import adapted, read, write
from hw.host.errors import BitfabricError
from hw.host.steps import run, step
from hw.lowering.layout_ops import (
    channels_of,
    element_order,
    gather,
    inverse,
    layout_of,
    permuted_channels,
    simplified,
    strides,
    through_layout_ops,
)
from hw.lowering.lower import lower, lower_model
from hw.lowering.qonnx import load
from hw.simulation.emulator import Emulator
from hw.verification.layers import drive
from hw.verification.reference import Reference, compare, compare_with
from tests.builders.qonnx_builder import Builder
from tests.builders.random_moves import RandomMoves
from tests.lowering.test_lower_images import conv, integers, names, weights

FREE = (
    "passes",
    "different scales",
    "and their sum is too wide",
    "that their sum needs",
    "pads with zeros",
    "no ratio of small integers",
    "different positions",
)
"""What random networks may be refused for."""


def shuffle(b, x, groups, channels, *spatial):
    x = b.node("Reshape", x, integers(b, 1, groups, channels // groups, *spatial))
    x = b.node("Transpose", x, perm=[0, 2, 1, *range(3, 3 + len(spatial))])
    return b.node("Reshape", x, integers(b, 1, channels, *spatial))


def frames_of(graph, count=20):
    """Random frames of every input."""
    rng = np.random.default_rng(0)
    return {port.name: rng.normal(size=(count, *port.shape)).astype(np.float32) for port in graph.inputs}


def driven(model):
    """Check a model as a whole and every layer at its own input; returns the graph."""
    loaded = load(model)
    lowering, reference = lower_model(loaded), Reference(model, loaded)
    graph = lowering.graph
    compared = compare_with(graph, lowering, reference, frames_of(graph))
    assert compared.mismatches == 0, compared.describe()
    result = drive(graph, lowering, reference)
    assert not result.wrong
    assert not result.left_out
    return graph


@pytest.mark.quick
def test_a_shuffle_between_grouped_convolutions_needs_no_hardware():
    b = Builder((1, 8, 6, 6))
    x = b.quant(conv(b, b.quant("x", 0.25, 6), weights(b, 8, 4, 1, 1), (1, 1), group=2), 0.125, 4, signed=0)
    x = b.quant(conv(b, shuffle(b, x, 2, 8, 6, 6), weights(b, 4, 4, 3, 3), group=2), 0.5, 4)
    graph = driven(b.model((x, (1, 4, 4, 4))))
    assert names(graph) == ["conv0", "conv0_threshold", "conv1_window", "conv1", "conv1_threshold"]


@pytest.mark.quick
def test_permuted_channels_pass_depthwise_layers_pools_sums_and_joins():
    b = Builder((1, 6, 6, 6))
    first = b.quant("x", 0.25, 4)
    x = shuffle(b, first, 3, 6, 6, 6)
    x = b.quant(conv(b, x, weights(b, 6, 1, 3, 3), group=6, pad=1), 0.25, 4)
    bn = (np.arange(1, 7) / 4, np.arange(-3, 3) / 8, np.zeros(6), np.ones(6))
    y = b.quant(b.batch_norm(shuffle(b, first, 3, 6, 6, 6), *bn), 0.5, 4)
    x = b.quant(b.node("Add", x, y), 0.5, 4)
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Concat", x, shuffle(b, x, 2, 6, 3, 3), axis=1)
    x = b.quant(b.node("AveragePool", x, kernel_shape=[2, 2]), 0.25, 6)
    x = conv(b, x, weights(b, 4, 12, 1, 1), (1, 1))
    driven(b.model((b.node("GlobalAveragePool", b.quant(x, 0.25, 6)), (1, 4, 1, 1))))


def test_a_stream_is_reordered_where_the_channels_of_a_sum_differ():
    b = Builder((1, 4, 3, 3))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 4, 4, 1, 1), (1, 1)), 0.25, 4)
    x = b.quant(b.node("Add", x, shuffle(b, x, 2, 4, 3, 3)), 0.5, 4)
    graph = driven(b.model((conv(b, x, weights(b, 2, 4, 3, 3)), (1, 2, 1, 1))))
    assert graph.node("reorder0").kernel.loops == ((9, 4), (2, 1), (2, 2))
    assert graph.node("reorder0").kernel.buffer.places < 8


@pytest.mark.quick
def test_pixels_are_shuffled_between_layers():
    for mode in ("DCR", "CRD"):
        b = Builder((1, 4, 3, 3))
        x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 8, 4, 1, 1), (1, 1)), 0.25, 4)
        x = b.node("DepthToSpace", x, blocksize=2, mode=mode)
        graph = driven(b.model((b.quant(conv(b, x, weights(b, 2, 2, 3, 3)), 0.5, 4), (1, 2, 4, 4))))
        assert names(graph)[:4] == ["conv0", "conv0_threshold", "reorder0", "conv1_window"]
        assert graph.node("reorder0").kernel.out_shape == (6, 6, 2)


@pytest.mark.quick
def test_tiles_are_windows_and_their_order_goes_into_the_weights():
    """Space to depth, and patches flattened channel by channel as for a vision transformer."""
    b = Builder((1, 2, 6, 6))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 2, 2, 1, 1), (1, 1)), 0.25, 4)
    deep = b.quant(conv(b, b.node("SpaceToDepth", x, blocksize=2), weights(b, 2, 8, 2, 2), (2, 2)), 0.5, 4)
    x = b.node("Transpose", b.node("Reshape", x, integers(b, 1, 2, 2, 3, 2, 3)), perm=[0, 2, 4, 1, 3, 5])
    patches = b.node("MatMul", b.node("Reshape", x, integers(b, 1, 4, 18)), weights(b, 18, 3))
    graph = driven(b.model((deep, (1, 2, 2, 2)), (b.quant(patches, 0.5, 4), (1, 4, 3))))
    made = [node.kernel for node in graph if node.name.startswith("reorder")]
    assert [(kernel.op, kernel.kernel) for kernel in made] == [("sliding_window", (2, 2)), ("sliding_window", (3, 3))]


@pytest.mark.quick
def test_tokens_are_mixed_after_a_transpose():
    """A block of an MLP-Mixer: a layer over the tokens of each channel, then one over the channels of each token."""
    b = Builder((1, 6, 4))
    x = b.quant(b.node("MatMul", b.quant("x", 0.25, 4), weights(b, 4, 4)), 0.25, 4)
    y = b.node("MatMul", b.node("Transpose", x, perm=[0, 2, 1]), weights(b, 6, 6))
    y = b.node("Transpose", b.quant(y, 0.25, 4), perm=[0, 2, 1])
    x = b.quant(b.node("Add", x, y), 0.5, 4)
    graph = driven(b.model((b.quant(b.node("MatMul", x, weights(b, 4, 3)), 0.5, 4), (1, 6, 3))))
    assert [node.name for node in graph if node.kernel.op == "reorder"] == ["reorder0", "reorder1"]


@pytest.mark.quick
def test_images_are_transposed_flipped_and_repeated_between_layers():
    b = Builder((1, 2, 4, 5))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 3, 2, 1, 1), (1, 1)), 0.25, 4)
    flipped = b.node("Slice", x, *(integers(b, *each) for each in ((-1, 4), (-9, -9), (2, 3), (-1, -2))))
    wide = b.quant(conv(b, b.node("Transpose", x, perm=[0, 1, 3, 2]), weights(b, 2, 3, 3, 3)), 0.5, 4)
    twice = b.quant(conv(b, b.node("Tile", flipped, integers(b, 1, 2, 1, 2)), weights(b, 2, 6, 2, 3), (2, 3)), 0.5, 4)
    point = b.quant(b.node("GlobalAveragePool", x), 0.25, 4)
    spread = b.node("Concat", b.node("Expand", point, integers(b, 1, 1, 4, 5)), x, axis=1)
    spread = b.quant(conv(b, spread, weights(b, 2, 6, 1, 1), (1, 1)), 0.5, 4)
    driven(b.model((wide, (1, 2, 3, 2)), (twice, (1, 2, 3, 4)), (spread, (1, 2, 4, 5))))


@pytest.mark.quick
def test_a_layer_of_features_becomes_an_image():
    b = Builder((1, 6))
    x = b.quant(b.node("MatMul", b.quant("x", 0.25, 4), weights(b, 6, 18)), 0.5, 4)
    x = conv(b, b.node("Reshape", x, integers(b, 1, 2, 3, 3)), weights(b, 2, 2, 2, 2), (2, 2))
    graph = driven(b.model((b.quant(x, 0.5, 4), (1, 2, 2, 2))))
    assert graph.node("reorder0").kernel.loops == ((9, 1), (2, 9))


OPSETS = (8, 11, 13, 18)


def sliced(b, x, opset, starts, ends, axes, steps=None):
    if opset < 10:
        return b.node("Slice", x, starts=starts, ends=ends, axes=axes)
    given = (starts, ends, axes) if steps is None else (starts, ends, axes, steps)
    return b.node("Slice", x, *(integers(b, *values) for values in given))


def parts(b, x, opset, sizes, axis):
    """The first parts of a Split; the names of the others end in _1, _2, ..."""
    given = {"split": sizes} if opset < 13 else {}
    inputs = () if opset < 13 else (integers(b, *sizes),)
    return b.node("Split", x, *inputs, outputs=len(sizes), axis=axis, **given)


MOVED = {
    "crop": lambda b, x, opset: (sliced(b, x, opset, [1, -3], [3, 1 << 40], [2, -1]), (4, 2, 3)),
    "channels": lambda b, x, opset: (sliced(b, x, opset, [1], [3], [1]), (2, 4, 5)),
    "whole batch": lambda b, x, opset: (sliced(b, x, opset, [0, 2], [9, 4], [0, 3]), (4, 4, 2)),
    "split": lambda b, x, opset: (f"{parts(b, x, opset, [1, 2, 1], 1)}_1", (2, 4, 5)),
    "columns": lambda b, x, opset: (parts(b, x, opset, [2, 3], -1), (4, 4, 2)),
    "halves": lambda b, x, opset: (
        b.node("Split", x, outputs=2, axis=2, **({"num_outputs": 2} if opset >= 18 else {})), (4, 2, 5)),
    "gather": lambda b, x, opset: (b.node("Gather", x, integers(b, 3, 0, -2), axis=1), (3, 4, 5)),
    "one row": lambda b, x, opset: (b.node("Gather", x, b.constant(-1, np.int64), axis=2), (4, 5)),
    "table": lambda b, x, opset: (b.node("Gather", x, b.constant([[0, 2], [3, 1]], np.int64), axis=3), (4, 4, 2, 2)),
    "depth to space": lambda b, x, opset: (b.node("DepthToSpace", x, blocksize=2), (1, 8, 10)),
    "no tiles": lambda b, x, opset: (b.node("Tile", x, integers(b, 1, 1, 1, 1)), (4, 4, 5)),
    "same shape": lambda b, x, opset: (b.node("Expand", x, integers(b, 1, 5)), (4, 4, 5)),
    "space to depth": lambda b, x, opset: (b.node("SpaceToDepth", sliced(b, x, opset, [0], [4], [3]), blocksize=2),
                                           (16, 2, 2)),
}  # fmt: skip
"""Name -> a move of a tensor (1, 4, 4, 5) in an operator set, and the shape of the result without the batch."""
LATER = {
    "steps": (10, lambda b, x, opset: (sliced(b, x, opset, [0, 4], [9, -9], [2, 3], [2, -2]), (4, 2, 3))),
    "flip": (10, lambda b, x, opset: (sliced(b, x, opset, [-1], [-9], [3], [-1]), (4, 4, 5))),
    "rounded up": (18, lambda b, x, opset: (
        f"{b.node('Split', x, outputs=2, axis=3, num_outputs=2)}_1", (4, 4, 2))),
    "pixel shuffle": (11, lambda b, x, opset: (b.node("DepthToSpace", x, blocksize=2, mode="CRD"), (1, 8, 10))),
}  # fmt: skip
"""The same of operators that later operator sets have: name -> the first, and the move."""


@pytest.mark.parametrize("name", [*MOVED, *LATER])
def test_every_move_is_that_of_onnx_runtime(name):
    """At an input, before and after its quantizer, and after a layer, in all operator sets."""
    first, move = LATER.get(name, (7, MOVED.get(name)))
    for opset in (opset for opset in OPSETS if opset >= first):
        b = Builder((1, 4, 4, 5))
        before = b.quant(move(b, "x", opset)[0], 0.25, 4)
        after, shape = move(b, b.quant("y", 0.25, 4), opset)
        sums = conv(b, b.quant("z", 0.25, 4), weights(b, 4, 4, 1, 1), (1, 1))
        moved = move(b, b.batch_norm(sums, [1, 0.5, -2, 1], [0, 1, 2, 3], [0] * 4, [1] * 4), opset)[0]
        for port in "yz":
            b.inputs.append(helper.make_tensor_value_info(port, TensorProto.FLOAT, (1, 4, 4, 5)))
        outputs = [(each, (1, *shape)) for each in (before, after, b.quant(moved, 0.5, 4))]
        model = b.model(*outputs, opset=opset)
        graph = lower(model)
        frames = frames_of(graph, 3)
        expected, found = Reference(model).run(frames), Emulator(graph).run(frames)
        for port, _ in outputs:
            np.testing.assert_array_equal(found[port], expected[port], err_msg=f"{port} in opset {opset}")


@pytest.mark.quick
def test_parts_of_channels_go_through_layers_of_their_own():
    """A block of a cross-stage partial network, and a unit of ShuffleNet v2 after a shuffle."""
    b = Builder((1, 8, 4, 4))
    x = b.quant("x", 0.25, 4)
    first = b.node("Split", x, outputs=2, axis=1)
    x = b.node("Concat", b.quant(conv(b, first, weights(b, 4, 4, 1, 1), (1, 1)), 0.25, 4), f"{first}_1", axis=1)
    x = shuffle(b, x, 2, 8, 4, 4)
    first = b.node("Split", x, outputs=2, axis=1)
    y = b.quant(conv(b, f"{first}_1", weights(b, 4, 1, 3, 3), group=4, pad=1), 0.25, 4)
    x = shuffle(b, b.node("Concat", first, y, axis=1), 2, 8, 4, 4)
    graph = driven(b.model((b.quant(conv(b, x, weights(b, 4, 8, 1, 1), (1, 1)), 0.5, 4), (1, 4, 4, 4))))
    kept = [node.kernel.kept[-1] for node in graph if node.kernel.op == "select"]
    assert kept == [(0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 4, 5), (2, 3, 6, 7)]


@pytest.mark.quick
def test_sums_are_selected_before_they_are_quantized():
    b = Builder((1, 4, 6, 6))
    sums = conv(b, b.quant("x", 0.25, 4), weights(b, 6, 4, 3, 3))
    sums = b.batch_norm(sums, np.arange(1, 7) / 4, np.arange(6), np.zeros(6), np.ones(6))
    x = b.quant(b.node("Slice", sums, integers(b, 1, 3), integers(b, 3, 6), integers(b, 2, 1)), 0.5, 4)
    graph = driven(b.model((x, (1, 3, 2, 4))))
    assert names(graph) == ["conv0_window", "conv0", "select0", "select0_threshold"]
    assert graph.node("select0_threshold").kernel.thresholds.shape == (3, 15)


@pytest.mark.quick
def test_the_host_crops_a_floating_point_input():
    b = Builder((1, 2, 6, 6))
    x = b.node("Slice", "x", integers(b, 1), integers(b, 5), integers(b, 2))
    graph = driven(b.model((conv(b, b.quant(x, 0.25, 4), weights(b, 2, 2, 3, 3)), (1, 2, 2, 4))))
    assert names(graph) == ["conv0_window", "conv0"]
    assert graph.inputs[0].shape == (2, 6, 6)


@pytest.mark.quick
def test_the_host_selects_after_its_own_operators():
    b = Builder((1, 4))
    x = b.node("Softmax", b.node("MatMul", b.quant("x", 0.25, 4), weights(b, 4, 6)), axis=1)
    x = b.node("Slice", x, integers(b, 4), integers(b, 0), integers(b, 1), integers(b, -2))
    model = b.model((x, (1, 2)))
    graph = lower(model)
    assert names(graph) == ["fc0"]
    assert compare(graph, model, frames_of(graph)).mismatches == 0


def gathered_by_data(b):
    b.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, (2,)))
    return b.node("Gather", b.quant("x", 0.25, 4), "i", axis=1)


REFUSED = {
    "Gather_1: Gather cannot be lowered: its input i is computed while running": gathered_by_data,
    "Gather_1: Gather cannot be lowered: it works along the batch": lambda b: b.node(
        "Gather", b.quant("x", 0.25, 4), b.constant(0, np.int64)),
    "Gather_1: Gather cannot be lowered: its indices from 0 to 4 are none of the 4 elements": lambda b: b.node(
        "Gather", b.quant("x", 0.25, 4), integers(b, 0, 4), axis=1),
    "Slice_1: Slice cannot be lowered: it works along the batch": lambda b: b.node(
        "Slice", b.quant("x", 0.25, 4), *(integers(b, n) for n in (0, 1, 0))),
    "Slice_1: Slice cannot be lowered: its starts .* do not fit": lambda b: b.node(
        "Slice", b.quant("x", 0.25, 4), *(integers(b, n) for n in (0, 1, 2, 0))),
    "Split_1: Split cannot be lowered: its axis 2 has 4 elements in 3 equal parts": lambda b: b.node(
        "Split", b.quant("x", 0.25, 4), outputs=3, axis=2),
    "Split_1: Split cannot be lowered: its axis 1 has 4 elements in parts of": lambda b: b.node(
        "Split", b.quant("x", 0.25, 4), integers(b, 1, 2), outputs=2, axis=1),
    "DepthToSpace_1: DepthToSpace cannot be lowered: its 4 channels are no blocks of 3 x 3": lambda b: b.node(
        "DepthToSpace", b.quant("x", 0.25, 4), blocksize=3),
    "SpaceToDepth_1: SpaceToDepth cannot be lowered: its input .* has no whole blocks": lambda b: b.node(
        "SpaceToDepth", b.quant("x", 0.25, 4), blocksize=3),
    "Tile_1: Tile cannot be lowered: it works along the batch": lambda b: b.node(
        "Tile", b.quant("x", 0.25, 4), integers(b, 2, 1, 1, 1)),
    "GatherND_1: GatherND cannot be lowered: it works along the batch": lambda b: b.node(
        "GatherND", b.quant("x", 0.25, 4), b.constant([[0]], np.int64)),
    "GatherND_2: GatherND cannot be lowered: its indices come before the batch .* transpose": lambda b: b.node(
        "GatherND", b.node("Transpose", b.quant("x", 0.25, 4), perm=[1, 3, 0, 2]), b.constant([[0, 1]], np.int64)),
    "GatherND_1: GatherND cannot be lowered: it has batch_dims = 1": lambda b: b.node(
        "GatherND", b.quant("x", 0.25, 4), b.constant([[0]], np.int64), batch_dims=1),
    "GatherND_2: GatherND cannot be lowered: its indices from -5 to 3 are none of the 4 elements of axis 0": lambda b:
        b.node("GatherND", b.node("Transpose", b.quant("x", 0.25, 4), perm=[1, 0, 2, 3]),
               b.constant([[3], [-5]], np.int64)),
    "ScatterND_1: ScatterND cannot be lowered: there is no kernel for it": lambda b: b.node(
        "ScatterND", b.quant("x", 0.25, 4), b.constant([[0]], np.int64), np.zeros((1, 4, 4, 4))),
}  # fmt: skip


@pytest.mark.quick
@pytest.mark.parametrize("text", REFUSED)
def test_what_a_stream_cannot_do_is_refused_with_the_reason(text):
    b = Builder((1, 4, 4, 4))
    with pytest.raises(BitfabricError, match=text) as error:
        lower(b.model((REFUSED[text](b), (1, 4, 4, 4))))
    assert "\n" not in str(error.value)


@pytest.mark.quick
def test_one_input_in_two_parts_before_its_quantizer_is_refused():
    b = Builder((1, 4))
    first = b.node("Split", "x", outputs=2, axis=1)
    parts = [b.quant(each, 0.25, 4) for each in (first, f"{first}_1")]
    with pytest.raises(BitfabricError, match="input x is quantized in several ways"):
        lower(b.model(*((each, (1, 2)) for each in parts)))


@pytest.mark.quick
def test_finn_has_no_operator_that_selects():
    b = Builder((1, 4, 4, 4))
    x = b.node("Slice", b.quant("x", 0.25, 4), *(integers(b, n) for n in (0, 2, 1)))
    with pytest.raises(BitfabricError, match=r"^select0( \(.*\))?: FINN has no form for select"):
        write(lower(b.model((conv(b, x, weights(b, 2, 2, 3, 3)), (1, 2, 2, 2)))))


@pytest.mark.quick
def test_finn_dialect_has_the_moves_of_the_host():
    """A crop of the input before its quantizer, and channels of the output in another order."""
    b = Builder((1, 4, 4, 3))
    x = b.node("Slice", "x", *(integers(b, n) for n in (0, 3, 2)))
    x = b.quant(conv(b, b.quant(x, 0.25, 4), weights(b, 4, 4, 1, 1), (1, 1)), 0.25, 4)
    graph = lower(b.model((b.node("Gather", x, integers(b, 2, 0, 3, 1), axis=1), (1, 4, 3, 3))))
    again = read(write(adapted(graph)))
    frames = frames_of(graph)
    np.testing.assert_array_equal(Emulator(again).run(frames), Emulator(graph).run(frames))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_random_moves_are_exact(seed):
    network = RandomMoves(np.random.default_rng(seed), dyadic=True)
    model, frames = network.model(), network.frames(8)
    try:
        graph = lower(model)
    except BitfabricError as error:
        if not any(text in str(error) for text in FREE):
            raise
        return
    np.testing.assert_array_equal(Emulator(graph).run(frames), Reference(model).run(frames))
    compared = compare(graph, model, frames)
    assert compared.mismatches == 0, compared.describe()


@pytest.mark.quick
@settings(deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 10**6),
)
def test_layout_operators_from_an_order(shape, seed):
    rng = np.random.default_rng(seed)
    made = [gather(axis + 1, rng.permutation(size)) for axis, size in enumerate(shape) if rng.random() < 0.5]
    made.append(step("Transpose", perm=(0, *(int(axis) + 1 for axis in rng.permutation(len(shape))))))
    made.append(step("Reshape", shape=(int(np.prod(shape)),)))
    made = made[: int(rng.integers(1, len(made) + 1))]
    order = element_order(made, shape)
    found = layout_of(order, shape)
    np.testing.assert_array_equal(element_order(found, shape), order)
    frames = rng.normal(size=(2, *shape))
    np.testing.assert_array_equal(run(inverse(found, shape), run(found, frames)), frames)
    np.testing.assert_array_equal(run(simplified(tuple(made), shape), frames), run(made, frames))
    operand = rng.normal(size=[1, *(size if rng.random() < 0.5 else 1 for size in shape)])
    whole = np.broadcast_to(through_layout_ops(operand, found, shape), (1, *order.shape))
    np.testing.assert_array_equal(whole, run(found, np.broadcast_to(operand, (1, *shape))))


@pytest.mark.quick
def test_strides_and_channels():
    assert strides(np.array([0, 3, 1, 4, 2, 5])) == ((3, 1), (2, 3))
    assert strides(np.array([3, 2, 1, 0])) == ((4, -1),)
    assert strides(np.array([0, 2, 1, 3, 4])) is None
    for axis in range(3):
        assert channels_of(permuted_channels(np.array([2, 0, 1]), 3, axis), 3).tolist() == [2, 0, 1]
