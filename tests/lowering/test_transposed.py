"""Transposed convolutions: their phases, their integers, and what is refused."""

import re

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower, lower_model
from hw.lowering.transposed import cheapest, phases
from hw.simulation.emulator import Emulator
from hw.verification.layers import drive
from hw.verification.reference import Reference
from hw.verification.transposed import transposed_convolution
from tests.builders.qonnx_builder import Builder
from tests.lowering.operators.right import result


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int, int, int, int, int]:
    """Inputs, kernel, stride, dilation, pads before and after, output padding, so that something is left."""
    inputs, kernel, stride, dilation = (draw(st.integers(1, most)) for most in (5, 5, 4, 2))
    whole = stride * (inputs - 1) + (kernel - 1) * dilation + 1
    before = draw(st.integers(0, min(4, whole - 1)))
    after = draw(st.integers(0, min(4, whole - 1 - before)))
    return inputs, kernel, stride, dilation, before, after, draw(st.integers(0, stride - 1))


def size(inputs, kernel, stride, dilation, before, after, more) -> int:
    return stride * (inputs - 1) + more + (kernel - 1) * dilation + 1 - before - after


@pytest.mark.quick
@settings(max_examples=200, deadline=None)
@given(axis=axes())
def test_phases_are_the_definition(axis):
    """Whatever the first output's phase; and the chosen ones have the fewest products, none with an inserted zero."""
    inputs, kernel, stride, dilation, before, _, _ = axis
    x, weights = np.arange(1, inputs + 1), 2 ** np.arange(kernel)
    outputs = size(*axis)
    right = np.zeros(stride * inputs + kernel * dilation + outputs, int)
    for i in range(inputs):
        for tap in range(kernel):
            right[stride * i + dilation * tap] += x[i] * weights[tap]
    right = right[before : before + outputs]
    counts = []
    for shift in range(stride):
        made = phases(inputs, outputs, kernel, stride, dilation, before, shift)
        assert made.before >= 0
        assert made.after >= 0
        padded = np.pad(x, (made.before, made.after))
        windows = np.stack([padded[np.arange(made.kernel) * made.dilation + block] for block in range(made.blocks)])
        matrix = np.where(made.taps < 0, 0, weights[made.taps])
        found = (windows @ matrix).ravel()[shift : shift + outputs]
        np.testing.assert_array_equal(found, right)
        counts.append(made.blocks * made.kernel)
    best = cheapest(inputs, outputs, kernel, stride, dilation, before, False)
    assert best.blocks * best.kernel == min(counts)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "more", "blocks", "taps", "cropped"),
    [
        (2, 2, 0, 0, 16, 1, False),
        (3, 3, 0, 0, 16, 1, False),
        (4, 2, 1, 0, 17, 2, True),
        (3, 2, 1, 1, 16, 2, False),
        (5, 2, 2, 1, 16, 3, False),
        (3, 1, 1, 0, 16, 3, False),
    ],
)
def test_products_of_usual_layers(kernel, stride, pad, more, blocks, taps, cropped):
    """Of 16 inputs along an axis: a convolution behind inserted zeros has ``outputs * kernel`` of them."""
    outputs = size(16, kernel, stride, 1, pad, pad, more)
    best = cheapest(16, outputs, kernel, stride, 1, pad, False)
    assert (best.blocks, best.kernel, best.cropped) == (blocks, taps, cropped)
    assert best.blocks * best.kernel * stride <= outputs * kernel
    assert not cheapest(16, outputs, kernel, stride, 1, pad, True).cropped


def transposed(b: Builder, x: str, rng, channels: int, outputs: int, axis_list, groups=1, bias=True, **given) -> str:
    kernel, strides, dilations, before, after, more = zip(*(axis[1:] for axis in axis_list), strict=True)
    weights = b.quant(rng.integers(-7, 8, (channels, outputs // groups, *kernel)) / 4, 0.25, 4)
    attributes = {
        "strides": strides, "dilations": dilations, "pads": (*before, *after), "output_padding": more, "group": groups
    }  # fmt: skip
    attributes |= given
    attributes = {name: value for name, value in attributes.items() if value is not None}
    operands = [weights, *([np.arange(outputs) / 2 - 1] if bias else [])]
    return b.node("ConvTranspose", x, *operands, **attributes)


def finished(b: Builder, y: str) -> onnx.ModelProto:
    model = b.model((y, ()), opset=13)
    del model.graph.output[:]
    model.graph.output.append(helper.make_empty_tensor_value_info(y))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    model.ir_version = 10
    return model


@settings(max_examples=15, deadline=None)
@given(
    axis_list=st.lists(axes(), min_size=1, max_size=2),
    groups=st.integers(1, 2),
    counts=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    zero_point=st.sampled_from([0.0, 5.0]),
    followed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_integers_are_those_of_onnx_runtime(axis_list, groups, counts, zero_point, followed, seed):
    rng = np.random.default_rng(seed)
    channels, outputs = (count * groups for count in counts)
    b = Builder((1, channels, *(axis[0] for axis in axis_list)))
    y = transposed(b, b.quant("x", 0.125, 6, zero_point), rng, channels, outputs, axis_list, groups, seed % 2 == 0)
    y = b.quant(y, 1.0, 8)
    if followed:
        weights = b.quant(rng.integers(-7, 8, (2, outputs, *(1,) * len(axis_list))) / 4, 0.25, 4)
        y = b.quant(b.node("Conv", y, weights), 1.0, 8)
    model = finished(b, y)
    frames = (rng.normal(size=(4, channels, *(axis[0] for axis in axis_list))) * 3).astype(np.float32)
    np.testing.assert_array_equal(Emulator(lower(model)).run(frames), result(model, frames))


@pytest.mark.parametrize(
    "given",
    [
        {"auto_pad": "VALID", "pads": None},
        {"auto_pad": "SAME_UPPER", "pads": None},
        {"auto_pad": "SAME_LOWER", "pads": None},
        {"output_shape": (8, 6), "pads": None},
        {"pads": None, "strides": None, "dilations": None, "output_padding": None},
    ],
)
def test_shapes_that_follow_from_other_attributes(given):
    b, rng = Builder((1, 2, 4, 3)), np.random.default_rng(3)
    axis_list = [(4, 4, 2, 1, 0, 0, 0), (3, 4, 2, 1, 0, 0, 0)]
    y = b.quant(transposed(b, b.quant("x", 0.125, 6), rng, 2, 3, axis_list, **given), 1.0, 8)
    frames = (rng.normal(size=(4, 2, 4, 3)) * 3).astype(np.float32)
    model = finished(b, y)
    np.testing.assert_array_equal(Emulator(lower(model)).run(frames), result(model, frames))


@pytest.mark.quick
def test_a_kernel_of_the_stride_is_one_product_of_every_input():
    """A U-Net's enlargement: no window, no zero among its weights, no crop."""
    b, rng = Builder((1, 3, 4, 4)), np.random.default_rng(0)
    y = b.quant(transposed(b, b.quant("x", 0.125, 6), rng, 3, 2, [(4, 2, 2, 1, 0, 0, 0)] * 2), 1.0, 4)
    graph = lower(finished(b, y))
    assert [node.kernel.op for node in graph] == ["matrix_vector", "threshold"]
    assert graph.nodes[0].kernel.weights.shape == (2 * 2 * 2, 3)


@pytest.mark.quick
@settings(max_examples=40, deadline=None)
@given(axis_list=st.lists(axes(), min_size=1, max_size=2), groups=st.integers(1, 2), seed=st.integers(0, 99))
def test_the_exact_reference_is_torchs(axis_list, groups, seed):
    rng = np.random.default_rng(seed)
    spatial, kernel, strides, dilations, before, after, more = (list(each) for each in zip(*axis_list, strict=True))
    x, w = rng.integers(-9, 9, (2, 2, *spatial)) + 0.0, rng.integers(-9, 9, (2, 4 // groups, *kernel)) + 0.0
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], strides=strides, dilations=dilations, pads=before + after, group=groups,
        output_padding=more,
    )  # fmt: skip
    function = [torch.nn.functional.conv_transpose1d, torch.nn.functional.conv_transpose2d][len(spatial) - 1]
    right = function(
        torch.from_numpy(x), torch.from_numpy(w), stride=strides, dilation=dilations, groups=groups,
        output_padding=more,
    ).numpy()  # fmt: skip
    inside = tuple(slice(a, n - z) for a, z, n in zip(before, after, right.shape[2:], strict=True))
    np.testing.assert_array_equal(transposed_convolution(node, x, w), right[(..., *inside)])


@pytest.mark.parametrize("pad", [0, 1])
def test_every_weight_is_seen_at_inputs_of_a_layers_own(pad):
    """16-bit codes and weights, whose sums float32 cannot hold: exact sums decide."""
    b, rng = Builder((1, 2, 3, 3)), np.random.default_rng(1)
    weights = b.quant(rng.normal(size=(2, 3, 4, 4)) * 4, 2.0**-12, 16)
    y = b.node("ConvTranspose", b.quant("x", 2.0**-12, 16), weights, np.ones(3), strides=[2, 2], pads=[pad] * 4)
    reference = Reference(finished(b, b.quant(y, 2.0**-9, 16)))
    lowering = lower_model(reference.model)
    driven = drive(lowering.graph, lowering, reference)
    assert (driven.wrong, driven.left_out, driven.explained) == ({}, [], 0)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"output_padding": (2, 0)}, ("output_padding [2, 0] is not below its strides [2, 2]", "pad behind it")),
        ({"output_shape": (7, 8)}, ("output of 7 elements along axis 2", "give the pads as numbers")),
        ({"pads": (6, 0, 6, 0)}, ("leave nothing of its 10 outputs along axis 2",)),
        ({"group": 3}, ("in 3 groups do not fit its input of 2 channels",)),
        ({"kernel_shape": (3, 3)}, ("kernel_shape [3, 3] is not that of its weights, [4, 4]",)),
        ({"strides": (2,)}, ("its strides [2] do not fit 2 spatial axes",)),
        ({"output_padding": (-1, 0)}, ("output_padding [-1, 0] do not fit",)),
        ({"auto_pad": "SAME"}, ("auto_pad is 'SAME'",)),
        ({"output_shape": (11, 8)}, ("output of 11 elements",)),
    ],
)
def test_what_is_refused(given, words):
    b = Builder((1, 2, 4, 4))
    weights = b.quant(np.ones((2, 3, 4, 4)), 0.25, 4)
    y = b.node("ConvTranspose", b.quant("x", 0.125, 6), weights, **({"strides": (2, 2)} | given))
    with pytest.raises(BitfabricError, match=".*".join(map(re.escape, words))):
        lower(finished(b, b.quant(y, 1.0, 8)))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("shape", "weights", "bias", "words"),
    [
        ((1, 2, 3, 3, 3), (2, 2, 2, 2, 2), None, "3 spatial axes"),
        ((1, 2, 4), (2, 2, 2, 2), None, "do not fit its input"),
        ((1, 2, 4), (3, 2, 2), None, "do not fit its input of 2 channels"),
        ((1, 2, 4), (2, 2, 2), np.ones(3), "its bias of shape [3] does not fit 2 outputs"),
        ((1, 2, 4), (2, 2, 2), np.array([1, np.inf]), "not finite"),
    ],
)
def test_operands_that_do_not_fit(shape, weights, bias, words):
    b = Builder(shape)
    operands = [b.quant(np.ones(weights), 0.25, 4), *([] if bias is None else [bias])]
    y = b.node("ConvTranspose", b.quant("x", 0.125, 6), *operands)
    with pytest.raises(BitfabricError, match=re.escape(words)):
        lower(finished(b, b.quant(y, 1.0, 8)))
