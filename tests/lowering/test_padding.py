"""Windows padded with a value that is not the integer 0: exact where an integer represents it, or refused by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower, lower_model
from hw.verification.layers import LayerDriver
from hw.verification.reference import Reference, compare
from tests.builders.qonnx_builder import Builder
from tests.kernels.kernel_bench import check as check_rtl
from tests.kernels.kernel_bench import random_frames
from tests.lowering.test_lower import check
from tests.lowering.test_lower_images import conv, integers, names, weights
from tests.lowering.test_lower_rtl import folded

LAYERS = ("dense", "grouped", "depthwise", "counted", "uncounted", "ceiled", "maximum", "pad")


def padded_layer(b, x, kind, channels, size, pads, strides, dilations, rng):
    """One padded layer; its output channels are 4, or as many as its input's."""
    shape = {"kernel_shape": size, "pads": pads, "strides": strides}
    if kind in ("dense", "grouped", "depthwise"):
        groups = {"dense": 1, "grouped": 2, "depthwise": channels}[kind]
        w = b.quant(rng.integers(-7, 8, (4, channels // groups, *size)) * 0.25, 0.25, 4)
        bias = rng.integers(-40, 41, 4) * 2.0**-5
        return b.node("Conv", x, w, bias, group=groups, dilations=dilations, **shape)
    if kind == "maximum":
        return b.node("MaxPool", x, **shape)
    if kind == "pad":
        rank = len(size)
        around = [0, 0, *pads[:rank], 0, 0, *pads[rank:]]
        return b.node("Pad", x, integers(b, *around), np.float32(0.25 * rng.integers(-9, 10)))
    return b.node(
        "AveragePool", x, count_include_pad=int(kind != "uncounted"), ceil_mode=int(kind == "ceiled"), **shape
    )


@st.composite
def networks(draw, dyadic=True):
    """A quantizer with zero points, one padded layer, and a quantizer with a zero point."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind, axes = draw(st.sampled_from(LAYERS)), draw(st.integers(1, 2))
    channels = 4
    size = [draw(st.integers(2, 3)) for _ in range(axes)]
    dilations = [draw(st.integers(1, 2)) if kind in ("dense", "depthwise") else 1 for _ in range(axes)]
    pads = [draw(st.integers(0, k - 1)) for k in size * 2]
    strides = [draw(st.integers(1, 2)) for _ in range(axes)]
    spatial = [draw(st.integers(d * (k - 1) + 1, 7)) for k, d in zip(size, dilations, strict=True)]
    b = Builder((1, channels, *spatial))
    each = (1, channels, *(1,) * axes) if kind in ("depthwise", "maximum", "pad", "counted", "uncounted") else ()
    if kind == "pad" or draw(st.booleans()):
        each = ()
    bits, signed = draw(st.integers(2, 8)), draw(st.integers(0, 1))
    zero_point = np.float32(rng.integers(-20, 1 << bits, each))
    scale = np.float32(0.25 * (1 if dyadic or kind == "pad" else rng.uniform(0.6, 1.4, each)))
    x = b.quant("x", scale, bits, zero_point, signed=signed)
    x = padded_layer(b, x, kind, channels, size, pads, strides, dilations, rng)
    y = b.quant(x, 0.5, draw(st.integers(2, 6)), np.float32(rng.integers(-3, 12)), signed=0)
    return b.model((y, None), opset=19)


def wide_frames(model, count):
    """Frames that reach codes all over the range of a quantizer with a zero point."""
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    rng = np.random.default_rng(1)
    return (rng.normal(size=(count, *shape)) * rng.choice([3, 30], (count, 1, *[1] * (len(shape) - 1)))).astype(
        np.float32
    )


def check_layers(model):
    reference = Reference(model)
    lowering = lower_model(reference.model)
    driven = LayerDriver(lowering, reference).drive(lowering.graph)
    assert driven.wrong == {}
    assert driven.explained == 0


@settings(max_examples=30, deadline=None)
@given(model=networks())
def test_padding_with_zero_points_is_exact(model):
    check(model, wide_frames(model, 20))


@settings(max_examples=10, deadline=None)
@given(model=networks(dyadic=False))
def test_other_scales_differ_only_by_float32_rounding(model):
    compared = compare(lower(model), model, wide_frames(model, 20))
    assert compared.mismatches == compared.explained, compared.describe()


@settings(max_examples=8, deadline=None)
@given(model=networks())
def test_every_layer_is_driven_and_right(model):
    check_layers(model)


def test_zero_points_per_channel_pad_each_channel_with_its_own_code():
    b = Builder((1, 3, 5, 5))
    zero_points = np.float32([3, 0, 18]).reshape(1, 3, 1, 1)
    x = b.quant("x", 0.25, 4, zero_points, signed=0)
    x = conv(b, x, weights(b, 3, 1, 3, 3), pad=1, group=3)
    graph, _ = check(b.model((b.quant(x, 0.5, 4), (1, 3, 5, 5))))
    window = graph.node("conv0_window").kernel
    assert window.pad_value == (3, 0, 18)
    assert window.out_dtype.name == "UINT5"
    assert graph.node("conv0").kernel.input_range == (0, 18)


@pytest.mark.parametrize(("shift", "low", "code"), [(0.5, -8, -2), (-2.0, -8, 8), (0.5, 0, -2), (-1.75, 0, 7)])
def test_an_offset_on_the_grid_moves_the_code_of_zero(shift, low, code):
    b = Builder((1, 2, 4, 4))
    x = b.batch_norm(b.quant("x", 0.25, 4, signed=int(low < 0)), [2.0] * 2, [2 * shift] * 2, [0] * 2, [1] * 2)
    graph, _ = check(b.model((b.quant(conv(b, x, weights(b, 2, 2, 3, 3), pad=1), 0.5, 4), (1, 2, 4, 4))))
    assert graph.node("conv0_window").kernel.pad_value == code


@pytest.mark.parametrize("signed", [0, 1])
def test_zero_points_between_integers_are_exact_without_padding(signed):
    b = Builder((1, 2, 4, 4))
    x = conv(b, b.quant("x", 0.25, 4, np.float32([2.5, -0.75]).reshape(1, 2, 1, 1), signed), weights(b, 3, 2, 3, 3))
    check(b.model((b.quant(b.node("AveragePool", x, kernel_shape=[2, 2]), 0.5, 5, 3.5, signed), None)))


def test_one_bit_codes_may_hold_the_zero():
    b = Builder((1, 2, 4, 4))
    x = b.node("Mul", b.node("Add", b.node("BipolarQuant", "x", 1.0), 1.0), 0.5)
    graph, _ = check(b.model((conv(b, x, weights(b, 2, 2, 3, 3), pad=1), (1, 2, 4, 4))))
    assert graph.node("conv0_window").kernel.pad_value == -1
    assert graph.edges["conv0_window"].dtype.name == "BIPOLAR"


def test_float32_may_round_the_offset_away():
    """0.1 times 3 less 0.3 is 0 in float32, as in files that shift by a zero point after the scale."""
    b = Builder((1, 1, 4, 4))
    scale, offset = np.float32(0.1), np.float32(0.1) * np.float32(3)
    x = b.node("Sub", b.node("Mul", b.quant("x", 1.0, 4, signed=0), scale), offset)
    model = b.model((b.quant(conv(b, x, weights(b, 2, 1, 3, 3), pad=1), 0.125, 4), (1, 2, 4, 4)))
    graph = lower(model)
    assert graph.node("conv0_window").kernel.pad_value == 3
    compared = compare(graph, model, wide_frames(model, 200))
    assert compared.mismatches == compared.explained, compared.describe()


def test_averages_without_their_padding_divide_by_what_they_count():
    for options in ({}, {"ceil_mode": 1}, {"count_include_pad": 1, "ceil_mode": 1}):
        for zero_point, offset in ((0.0, 0.0), (5.0, 0.0), (5.0, 0.1)):
            b = Builder((1, 2, 6, 5))
            x = b.node("Add", b.quant("x", 0.25, 4, zero_point, signed=0), offset)
            x = b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], **options)
            model = b.model((b.quant(x, 0.125, 6), None), opset=19)
            compared = compare(lower(model), model, wide_frames(model, 50))
            assert compared.mismatches == compared.explained, compared.describe()


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_modes_that_repeat_elements_are_the_hosts_before_the_quantizer(mode):
    b = Builder((1, 2, 5, 4))
    x = b.node("Pad", "x", integers(b, 0, 0, 2, 1, 0, 0, 3, 0), mode=mode)
    x = conv(b, b.quant(x, 0.25, 4), weights(b, 2, 2, 3, 3))
    graph, _ = check(b.model((b.quant(x, 0.5, 4), None), opset=19))
    assert names(graph) == ["conv0_window", "conv0", "conv0_threshold"]


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_modes_that_repeat_elements_of_a_stream_are_joins_of_its_parts(data):
    """Any axis but the batch, before a layer or a quantizer, with a zero point."""
    shape = data.draw(st.lists(st.integers(2, 5), min_size=2, max_size=3))
    mode = data.draw(st.sampled_from(["reflect", "edge", "wrap"]))
    ends = [(data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))) for size in shape]
    b = Builder((1, *shape))
    x = b.quant("x", 0.25, 4, 3.0, signed=0)
    x = b.node("Pad", x, integers(b, 0, *[end[0] for end in ends], 0, *[end[1] for end in ends]), mode=mode)
    if data.draw(st.booleans()):
        channels = shape[0] + sum(ends[0])
        x = b.node("Conv", x, weights(b, 2, channels, *[1] * (len(shape) - 1)))
    graph, _ = check(b.model((b.quant(b.node("Relu", x), 0.75, 4), None), opset=19))
    assert "reorder" not in names(graph)


def test_parts_of_a_border_have_the_name_of_their_pad_and_tensors_of_their_own():
    b = Builder((1, 2, 5, 4))
    x = b.quant("x", 0.25, 4)
    y = b.node("Pad", x, integers(b, 0, 0, 1, 0, 0, 0, 1, 0), mode="reflect")
    z = b.quant(b.node("Conv", x, weights(b, 2, 2, 3, 3), pads=[2, 1, 2, 1]), 0.5, 4)
    model = b.model((b.quant(b.node("Add", y, z), 0.5, 4), None), opset=19)
    pad, conv = (next(node for node in model.graph.node if node.op_type == op) for op in ("Pad", "Conv"))
    quantizer = next(node for node in model.graph.node if node.input[0] == conv.output[0])
    model.graph.node.remove(pad)
    model.graph.node.insert(list(model.graph.node).index(quantizer), pad)
    conv.output[0] = quantizer.input[0] = f"{y}_2_0"
    graph, _ = check(model)
    assert {node.origin.node for node in graph if node.name.startswith(("select", "concat"))} == {pad.name}


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_borders_that_repeat_elements_in_hardware(mode):
    b = Builder((1, 2, 5, 4))
    x = b.quant(b.node("Conv", b.quant("x", 0.25, 4), weights(b, 3, 2, 1, 1)), 0.5, 4)
    x = conv(b, b.node("Pad", x, integers(b, 0, 0, 1, 1, 0, 0, 1, 1), mode=mode), weights(b, 2, 3, 3, 3))
    graph, rng = check(b.model((b.quant(x, 0.5, 4), None), opset=19))[0], np.random.default_rng(0)
    for cycles in (100, 1000):
        hardware = folded(graph, cycles)
        check_rtl(hardware, {"input": random_frames(hardware.edges["input"], 3, rng)}, rng)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_the_host_pads_before_the_quantizer(value):
    b = Builder((1, 2, 4, 3))
    x = b.node("Pad", b.node("Mul", "x", 2.0), integers(b, 0, 1, 1, 0, 0, 2, 0, 2), np.float32(value))
    x = conv(b, b.quant(b.node("Add", x, 0.25), 0.25, 4), weights(b, 2, 5, 3, 3))
    graph, _ = check(b.model((b.quant(x, 0.5, 4), None)))
    assert names(graph) == ["conv0_window", "conv0", "conv0_threshold"]


def test_more_channels_are_a_product_with_ones():
    """A shortcut of a residual network without weights: every second row and column, and channels of zeros."""
    b = Builder((1, 3, 6, 6))
    x = b.quant("x", 0.25, 4, signed=0)
    y = b.node("Slice", x, integers(b, 0, 0), integers(b, 6, 6), integers(b, 2, 3), integers(b, 2, 2))
    y = b.node("Pad", y, integers(b, 0, 2, 0, 0, 0, 1, 0, 0))
    x = b.quant(conv(b, x, weights(b, 6, 3, 3, 3), pad=1, strides=[2, 2]), 0.25, 6)
    model = b.model((b.quant(b.node("Add", x, y), 0.5, 6), None))
    graph, _ = check(model)
    check_layers(model)
    assert graph.node("pad0").kernel.op == "matrix_vector"
    assert graph.edges["pad0"].dtype.name == "UINT4"


@pytest.mark.parametrize("after", [0, 2])
def test_negative_pads_select_elements(after):
    b = Builder((1, 2, 6, 5))
    x = b.node("Pad", b.quant("x", 0.25, 4, 5.0, signed=0), integers(b, 0, 0, -2, -1, 0, 0, after, -1), np.float32(0.5))
    graph, _ = check(b.model((b.quant(conv(b, x, weights(b, 3, 2, 2, 2), (2, 2)), 0.5, 4), None)))
    assert names(graph)[: 1 + after // 2] == ["select0", "pad0_window"][: 1 + after // 2]
    assert after == 0 or graph.node("pad0_window").kernel.pad_value == 7


REFUSALS = {
    "a reflection of more than there is": (
        lambda b: b.node("Pad", b.quant("x", 0.25, 4), integers(b, 0, 0, 4, 0, 0, 0, 0, 0), mode="reflect"),
        "Pad_1: .* its mode reflect needs more than the 4 elements that there are; pad less",
    ),
    "negative pads of a reflection": (
        lambda b: b.node("Pad", b.quant("x", 0.25, 4), integers(b, 0, 0, -1, 0, 0, 0, 1, 0), mode="reflect"),
        "Pad_1: .* negative pads in the mode reflect; select elements with Slice before it",
    ),
    "pads of the batch": (
        lambda b: b.node("Pad", b.quant("x", 0.25, 4), integers(b, 1, 0, 0, 0, 0, 0, 0, 0)),
        "Pad_1: .*batch",
    ),
    "an offset between integers": (
        lambda b: conv(b, b.quant("x", 0.25, 4, 2.5), weights(b, 2, 2, 3, 3), pad=1),
        "Conv_2: .* offset of -0.625 in channel 0, and no integer represents 0: 2 and 3 represent -0.125 and 0.125; "
        "use a quantizer with an integer zero point",
    ),
    "weights with a zero point between integers": (
        lambda b: conv(b, b.quant("x", 0.25, 4), b.quant(np.ones((2, 2, 3, 3)), 0.25, 4, 0.5)),
        "Quant_1: Quant of constants with a fractional zero point; train with an integer one",
    ),
    "a BatchNorm of one channel": (
        lambda b: conv(
            b, b.batch_norm(b.quant("x", 0.25, 4), [1.0] * 2, [0, 0.1], [0] * 2, [1] * 2), weights(b, 2, 2, 3, 3), pad=1
        ),
        "Conv_3: .* offset of 0.1 in channel 1, and no integer represents 0: -1 and 0 represent -0.15 and 0.1;",
    ),
    "a constant off the grid": (
        lambda b: b.node("Pad", b.quant("x", 0.25, 4), integers(b, 0, 0, 1, 1, 0, 0, 1, 1), np.float32(0.3)),
        "Pad_1: .* it pads with 0.3, and no integer represents 0.3: 1 and 2 represent 0.25 and 0.5;",
    ),
    "a channel that is constant": (
        lambda b: conv(
            b, b.batch_norm(b.quant("x", 0.25, 4), [1, 0], [0, 0.5], [0] * 2, [1] * 2), weights(b, 2, 2, 3, 3), pad=1
        ),
        "Conv_3: .* offset of 0.5 in channel 1, and no integer represents 0: -8 and -7 represent 0.5 and 0.5;",
    ),
    "an average beyond the padding": (
        lambda b: b.node("AveragePool", b.quant("x", 0.25, 4), kernel_shape=[3, 3], pads=[0, 0, 0, 1], strides=[2, 2],
                         ceil_mode=1, count_include_pad=1),
        "AveragePool_1: .* beyond the padding .ceil_mode.*; export with opset 19",
    ),
    "a maximum of padding": (
        lambda b: b.node("MaxPool", b.quant("x", 0.25, 4), kernel_shape=[2, 2], pads=[1, 1, 1, 1], dilations=[5, 5]),
        "MaxPool_1: .* sees padding alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_padding_without_a_code_is_refused_with_the_reason(what):
    body, message = REFUSALS[what]
    b = Builder((1, 2, 4, 4))
    with pytest.raises(BitfabricError, match=message) as caught:
        lower(b.model((body(b), None)))
    assert "\n" not in str(caught.value)


def zero_points():
    """Padded layers of every kind on codes with zero points."""
    b = Builder((1, 2, 6, 6))
    x = b.quant("x", 0.25, 4, np.float32([9, -2]).reshape(1, 2, 1, 1), signed=0)
    x = conv(b, x, weights(b, 2, 1, 3, 3), pad=1, group=2)
    x = b.quant(x, 0.5, 4, 5.0, signed=0)
    x = b.quant(conv(b, x, weights(b, 4, 2, 3, 3), pad=1), 1.0, 3, 2.0, signed=0)
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1])
    x = b.node("AveragePool", b.quant(x, 1.0, 3, 2.0, signed=0), kernel_shape=[2, 2], pads=[0, 0, 1, 1])
    return b.model((b.quant(x, 0.5, 4, 6.0, signed=0), None))


@pytest.mark.slow
def test_padding_with_zero_points_in_rtl():
    rng, model = np.random.default_rng(0), zero_points()
    graph, _ = check(model, wide_frames(model, 50))
    assert names(graph)[:2] == ["conv0_window", "conv0"]
    hardware = folded(graph, 500)
    check_rtl(hardware, {"input": random_frames(hardware.edges["input"], 4, rng)}, rng)
