"""Lowering of images, signals and branches, layer by layer: names, types, placement of forks, and refusals."""

import numpy as np
import pytest
from onnx import TensorProto

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from tests.builders.qonnx_builder import Builder
from tests.lowering.test_lower import check

RNG = np.random.default_rng(0)


def weights(b, *shape, scale=0.25, bits=4):
    return b.quant(RNG.integers(-7, 8, shape) * scale, scale, bits)


def signs(b, *shape, scale=0.5):
    return b.node("BipolarQuant", RNG.normal(size=shape), scale)


def conv(b, x, w, size=(3, 3), pad=0, **attributes):
    return b.node("Conv", x, w, kernel_shape=list(size), pads=[pad] * 2 * len(size), **attributes)


def names(graph):
    return [node.name for node in graph]


def integers(b, *values):
    return b.constant(values, np.int64)


def test_xnor_block_pools_integers_and_keeps_filters_own_scales():
    b = Builder((1, 4, 6, 6))
    bn = ([1.0, -2.0, 0.5, 1.0], [0.5, 0, 0.25, -1], [0.5] * 4, [4.0] * 4)
    x = b.node("BipolarQuant", b.batch_norm("x", *bn), 1.0)
    x = conv(b, x, signs(b, 4, 4, 3, 3, scale=np.exp2(np.arange(-3.0, 1)).reshape(4, 1, 1, 1)), pad=1)
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("BipolarQuant", b.batch_norm(x, *bn), 1.0)
    x = conv(b, x, signs(b, 3, 4, 3, 3), pad=1)
    graph, _ = check(b.model((x, (1, 3, 3, 3))))
    assert names(graph) == ["conv0_window", "conv0", "pool0", "pool0_threshold", "conv1_window", "conv1"]
    assert graph.edges["conv0_window"].dtype.name == "TERNARY"
    assert graph.edges["input"].dtype.name == graph.edges["pool0_threshold"].dtype.name == "BIPOLAR"
    assert graph.node("conv0").kernel.weight_dtype.name == "BIPOLAR"


def test_hwgq_block():
    b = Builder((1, 3, 6, 6))
    steps = np.array([[2.0**-20, 0.75, 1.25]])

    def activation(x):
        return b.node("Mul", b.node("MultiThreshold", x, steps, out_dtype="UINT2", data_layout="NCHW"), 0.5)

    x = conv(b, activation("x"), signs(b, 4, 3, 3, 3), pad=1)
    x = activation(b.batch_norm(x, [0.5] * 4, [0.25, 0, 0, 1], [0] * 4, [1] * 4))
    x = b.node("Flatten", conv(b, x, signs(b, 4, 4, 3, 3), strides=[2, 2]))
    x = b.node("MatMul", b.quant(x, 0.5, 2), weights(b, 16, 5))
    graph, _ = check(b.model((x, (1, 5))))
    assert graph.edges["conv0_threshold"].dtype.name == "UINT2"
    assert graph.node("fc0").kernel.inputs()[0].shape == (16,)


@pytest.mark.parametrize(("scale", "factors"), [(0.5, (1, 1)), (1.0, (1, 2)), (1.5, (1, 3))])
def test_sums_of_paths_with_one_fork_behind_the_shared_quantizer(scale, factors):
    b = Builder((1, 3, 5, 5))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 4, 3, 1, 1), (1, 1)), 0.5, 4)
    y = b.quant(conv(b, x, weights(b, 4, 4, 3, 3), pad=1), scale, 4)
    x = b.node("Relu", b.node("Add", x, y))
    graph, _ = check(b.model((conv(b, b.quant(x, 1.0, 4), weights(b, 2, 4, 3, 3)), (1, 2, 3, 3))))
    assert names(graph) == [
        "conv0", "conv0_threshold", "conv0_threshold_fork", "conv1_window", "conv1", "conv1_threshold", "add0",
        "add0_threshold", "conv2_window", "conv2",
    ]  # fmt: skip
    assert graph.node("add0").kernel.coefficients == factors


def test_a_fork_is_before_quantizers_that_differ():
    b = Builder((1, 3, 5, 5))
    x = conv(b, b.quant("x", 0.25, 4), weights(b, 4, 3, 1, 1), (1, 1))
    a = conv(b, b.quant(x, 0.5, 4), weights(b, 2, 4, 1, 1), (1, 1))
    c = conv(b, b.quant(x, 1.0, 2), weights(b, 2, 4, 1, 1), (1, 1))
    graph, _ = check(b.model((b.node("Sub", b.quant(a, 1.0, 3), b.quant(c, 1.0, 3)), (1, 2, 5, 5))))
    assert names(graph)[:4] == ["conv0", "conv0_fork", "conv0_threshold", "conv1"]
    assert graph.node("add0").kernel.coefficients == (1, -1)


def test_equal_quantizers_and_an_output_share_what_they_read():
    b = Builder((1, 2, 4, 4))
    x = conv(b, b.quant("x", 0.25, 4), weights(b, 3, 2, 1, 1), (1, 1))
    first, second = b.quant(x, 0.5, 4), b.quant(x, 0.5, 4)
    y = b.node("Add", conv(b, first, weights(b, 3, 3, 1, 1), (1, 1)), second)
    model = b.model((b.quant(y, 1.0, 4), (1, 3, 4, 4)), (first, (1, 3, 4, 4)))
    graph = lower(model)
    assert [name for name in names(graph) if name.endswith("threshold")] == ["conv0_threshold", "add0_threshold"]
    assert graph.node("conv0_threshold_fork").kernel.copies == 3


def test_the_input_may_part_too():
    for annotated in (False, True):
        b = Builder((1, 2, 4, 4))
        if annotated:
            b.annotate("x", "INT4")
        x = "x" if annotated else b.quant("x", 0.25, 4)
        y = b.quant(conv(b, x, weights(b, 2, 2, 3, 3), pad=1), 0.25, 4)
        graph, _ = check(b.model((b.node("Add", x, y), (1, 2, 4, 4))))
        assert graph.nodes[0].name == "input_fork"
        assert graph.edges["input"].shape == (4, 4, 2)


def test_concatenation_keeps_scales_and_upsampling_passes_codes():
    b = Builder((1, 2, 4, 4))
    x = b.quant("x", 0.25, 4)
    small = b.quant(conv(b, x, weights(b, 3, 2, 2, 2), (2, 2), strides=[2, 2]), 0.5, 3)
    large = b.node("Resize", small, "", np.float32([1, 1, 2, 2]), mode="nearest", nearest_mode="floor",
                   coordinate_transformation_mode="asymmetric")  # fmt: skip
    x = b.node("Concat", x, large, axis=1)
    graph, _ = check(b.model((conv(b, x, weights(b, 2, 5, 3, 3), pad=1), (1, 2, 4, 4))))
    assert graph.edges["concat0"].shape == (4, 4, 5)
    assert graph.edges["upsample0"].dtype.name == "INT3"


@pytest.mark.parametrize("op", ["GlobalAveragePool", "ReduceMean", "AveragePool"])
def test_averages_are_sums_with_a_scale(op):
    b = Builder((1, 3, 4, 4))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 4, 3, 1, 1), (1, 1)), 0.5, 4)
    settings = {"ReduceMean": {"axes": [2, 3], "keepdims": 0}, "AveragePool": {"kernel_shape": [4, 4]}}
    x = b.node(op, x, **settings.get(op, {}))
    x = x if op == "ReduceMean" else b.node("Squeeze", x, integers(b, 2, 3))
    graph, _ = check(b.model((b.node("MatMul", b.quant(x, 0.25, 6), weights(b, 4, 5)), (1, 5))))
    assert names(graph) == ["conv0", "conv0_threshold", "pool0", "pool0_threshold", "fc0"]
    assert graph.edges["pool0"].dtype.name == "INT8"


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax"])
def test_reductions_over_all_axes_but_one_are_pools(op):
    b = Builder((1, 3, 4, 4))
    x = b.node(op, b.quant("x", 0.25, 4), b.constant([2, 3], np.int64), keepdims=0)
    graph, _ = check(b.model((b.node("MatMul", b.quant(x, 0.25, 8), weights(b, 3, 5)), (1, 5)), opset=20))
    assert names(graph)[0] == "pool0"
    assert graph.edges["pool0"].dtype.name == {"ReduceSum": "INT8", "ReduceMax": "INT4"}[op]


def test_averages_as_brevitas_truncates_them():
    b = Builder((1, 2, 4, 4))
    x = b.node("AveragePool", b.quant("x", 0.25, 4), kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Trunc", b.node("Mul", x, 4.0), 0.25, 0.0, 6.0, 4.0, rounding_mode="FLOOR")
    graph, _ = check(b.model((conv(b, x, weights(b, 2, 2, 2, 2), (2, 2)), (1, 2, 1, 1))))
    assert names(graph) == ["pool0", "pool0_threshold", "conv0"]
    assert graph.edges["pool0_threshold"].dtype.name == "INT4"


def test_padded_averages_that_count_the_padding():
    b = Builder((1, 2, 4, 4))
    x = b.node(
        "AveragePool", b.node("BipolarQuant", "x", 0.5), kernel_shape=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1
    )
    graph, _ = check(b.model((b.quant(x, 0.125, 4), (1, 2, 4, 4))))
    assert graph.edges["pool0_window"].dtype.name == "TERNARY"


def test_maxima_of_falling_channels_and_of_padded_signed_values():
    b = Builder((1, 2, 6, 6))
    x = conv(b, b.quant("x", 0.25, 4), weights(b, 4, 2, 1, 1), (1, 1))
    x = b.batch_norm(x, [1.0, -2.0, 0.5, -1.0], [0.5, 0, 0.25, -1], [0.5] * 4, [4.0] * 4)
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    graph, _ = check(b.model((b.quant(x, 0.5, 4), (1, 4, 3, 3))))
    assert names(graph) == ["conv0", "pool0_turn", "pool0_window", "pool0", "pool0_threshold"]
    b = Builder((1, 2, 6, 6))
    x = b.node("MaxPool", b.node("BipolarQuant", "x", 0.5), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    check(b.model((conv(b, x, weights(b, 4, 2, 3, 3)), (1, 4, 1, 1))))


def test_maxima_of_what_is_not_padded_with_windows_side_by_side_need_no_window():
    b = Builder((1, 2, 7, 6))
    x = b.quant("x", 0.25, 4)
    pooled = b.node("MaxPool", x, kernel_shape=[2, 3], strides=[2, 3])
    graph, _ = check(b.model((conv(b, pooled, weights(b, 4, 2, 1, 1), (1, 1)), (1, 4, 3, 2))))
    assert names(graph) == ["pool0", "conv0"]
    b = Builder((1, 2, 6, 6))
    x = b.node("GlobalMaxPool", b.node("MaxPool", b.quant("x", 0.25, 4), kernel_shape=[1, 1], strides=[2, 2]))
    graph, _ = check(b.model((x, (1, 2, 1, 1))))
    assert names(graph) == ["pool0_window", "pool1"]


def test_a_kernel_as_large_as_its_input_needs_no_window():
    b = Builder((1, 3, 4, 5))
    x = conv(b, b.quant("x", 0.25, 4), weights(b, 6, 3, 4, 5), (4, 5))
    x = conv(b, b.quant(x, 1.0, 4), weights(b, 2, 6, 1, 1), (1, 1))
    graph, _ = check(b.model((x, (1, 2, 1, 1))))
    assert names(graph) == ["conv0", "conv0_threshold", "conv1"]


def test_zeros_around_an_image():
    b = Builder((1, 2, 4, 5))
    x = b.node("Pad", b.node("BipolarQuant", "x", 0.5), integers(b, 0, 0, 1, 0, 0, 0, 0, 2))
    graph, _ = check(b.model((conv(b, x, signs(b, 3, 2, 3, 3), pad=1), (1, 3, 5, 7))))
    assert names(graph) == ["pad0_window", "conv0_window", "conv0"]
    assert graph.edges["pad0_window"].shape == (5, 7, 2)
    assert graph.edges["conv0_window"].dtype.name == "TERNARY"


def test_models_with_channels_last():
    b = Builder((1, 5, 4, 3))
    x = b.quant(b.node("Transpose", b.quant("x", 0.25, 4), perm=[0, 3, 1, 2]), 0.25, 3)
    x = b.node("Transpose", b.quant(conv(b, x, weights(b, 4, 3, 2, 2), (2, 2)), 0.5, 4), perm=[0, 2, 3, 1])
    x = b.node("MatMul", x, weights(b, 4, 2))
    x = b.node("ReduceMean", b.quant(x, 0.5, 4), axes=[1, 2], keepdims=1)
    graph, _ = check(b.model((x, (1, 1, 1, 2))))
    assert graph.inputs[0].shape == graph.edges["input"].shape == (5, 4, 3)
    assert [each.op for each in graph.inputs[0].steps] == ["Quant", "Mul", "Quant", "Cast"]


def test_groups_are_blocks_and_depthwise_layers_have_their_kernel():
    b = Builder((1, 4, 5, 5))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 4, 1, 3, 3), pad=1, group=4), 0.5, 4)
    x = b.quant(conv(b, x, weights(b, 6, 2, 3, 3), group=2), 0.5, 4)
    x = conv(b, x, weights(b, 12, 1, 1, 1), (1, 1), group=6)
    graph, _ = check(b.model((x, (1, 12, 3, 3))))
    assert [graph.node(f"conv{i}").kernel.op for i in range(3)] == ["depthwise", "matrix_vector", "matrix_vector"]
    blocks = graph.node("conv1").kernel.weights.reshape(6, 9, 4)
    assert not blocks[:3, :, 2:].any()
    assert not blocks[3:, :, :2].any()


def test_signals_with_dilation_and_a_norm_of_every_element():
    b = Builder((1, 2, 9))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 3, 2, 3), (3,), dilations=[2]), 0.5, 4)
    x = b.node("Flatten", b.node("MaxPool", x, kernel_shape=[2], strides=[2]))
    x = b.node("MatMul", b.quant(b.node("Add", x, np.arange(6) / 8), 0.5, 3), weights(b, 6, 2))
    graph, _ = check(b.model((x, (1, 2))))
    assert graph.edges["pool0"].shape == (2, 3)
    assert graph.node("pool0_threshold").kernel.inputs()[0].shape == (6,)


def test_a_two_dimensional_input_may_be_reshaped_to_an_image():
    b = Builder((1, 32))
    x = b.node("Reshape", b.quant("x", 0.25, 4), integers(b, 1, 2, 4, 4))
    graph, _ = check(b.model((conv(b, x, weights(b, 3, 2, 3, 3)), (1, 3, 2, 2))))
    assert graph.edges["input"].shape == (4, 4, 2)


def test_integer_images_go_to_the_hardware_as_they_are():
    b = Builder((1, 3, 4, 4), elem_type=TensorProto.UINT8)
    x = conv(b, b.node("Cast", "x", to=1), signs(b, 2, 3, 3, 3), pad=1)
    graph, _ = check(b.model((x, (1, 2, 4, 4))))
    assert graph.inputs[0].dtype == graph.edges["input"].dtype.name == "UINT8"
    assert graph.node("conv0").kernel.datapath == "weight_planes"


def refused(body, shape=(1, 2, 4, 4)):
    b = Builder(shape)
    x = body(b, b.quant("x", 0.25, 4))
    return b.model((x, (1, 2)))


def pointwise(b, x):
    return conv(b, x, b.quant(np.full((2, 2, 1, 1), 0.9), 2.0**-15, 16), (1, 1))


REFUSALS = {
    "weights that are not quantized": (
        lambda b, x: conv(b, x, np.full((2, 2, 1, 1), 0.3), (1, 1)),
        r"Conv_1: Conv .*not quantized; train with a weight quantizer",
    ),
    "padding of an offset": (
        lambda b, x: conv(b, b.node("Add", x, 0.3), weights(b, 2, 2, 3, 3), pad=1),
        r"Conv_3: Conv .*pads with zeros, but .*offset of 0.3 in channel 0, .* 0: -2 and -1 .* -0.2 and 0.05; .*zero",
    ),
    "broadcast sum": (
        lambda b, x: b.node("Add", x, b.node("GlobalMaxPool", x)),
        r"Add_2: Add .*nothing broadcasts",
    ),
    "linear interpolation": (
        lambda b, x: b.node("Resize", x, "", np.float32([1, 1, 2, 2]), mode="linear"),
        r"Resize_1: .*interpolates \(linear\); use mode nearest",
    ),
    "no whole factor": (
        lambda b, x: b.node("Resize", x, "", np.float32([1, 1, 1.5, 1.5]), mode="nearest", nearest_mode="floor",
                            coordinate_transformation_mode="asymmetric"),
        r"Resize_1: .*whole factors",
    ),
    "another neighbour": (
        lambda b, x: b.node("Resize", x, "", np.float32([1, 1, 2, 2]), mode="nearest", nearest_mode="ceil",
                            coordinate_transformation_mode="asymmetric"),
        r"Resize_1: .*asymmetric and floor",
    ),
    "sums too wide for a layer": (
        lambda b, x: pointwise(b, pointwise(b, pointwise(b, x))),
        r"Conv_6: Conv cannot be lowered: matrix_vector: input type INT",
    ),
    "maximum of what turns": (
        lambda b, x: b.node("MaxPool", b.node("Abs", x), kernel_shape=[2, 2]),
        r"MaxPool_2: .*passes Abs, which turns",
    ),
    "reflections of more than an image": (
        lambda b, x: b.node("Pad", x, integers(b, 0, 0, 4, 1, 0, 0, 1, 1), mode="reflect"),
        r"Pad_1: .*mode reflect needs more than the 4 elements that there are; pad less",
    ),
    "padded channels": (
        lambda b, x: b.node("Pad", x, integers(b, 0, 1, 0, 0, 0, 0, 0, 0), np.float32(0.5)),
        r"Pad_1: .*adds channels of 0.5 to a stream, where the integer 0 represents 0;",
    ),
    "mean over all axes": (
        lambda b, x: b.node("ReduceMean", x, axes=[1, 2, 3]), r"ReduceMean_1: .*keep the batch and another axis"
    ),
    "three axes": (
        lambda b, x: conv(b, b.node("Reshape", x, integers(b, 1, 2, 4, 2, 2)), weights(b, 2, 2, 1, 1, 1), (1, 1, 1)),
        r"Conv_3: .*3 spatial axes",
    ),
    "columns in no regular order": (
        lambda b, x: conv(
            b, b.node("Gather", b.quant(pointwise(b, x), 1.0, 4), integers(b, 0, 3, 1, 2), axis=3),
            weights(b, 2, 2, 3, 3),
        ),
        r"Conv_6: .*no nested loops count through",
    ),
    "strides beyond the kernel": (
        lambda b, x: b.node("MaxPool", x, kernel_shape=[1, 1], strides=[4, 4], auto_pad="SAME_UPPER"),
        r"MaxPool_1: .*give the pads as numbers",
    ),
    "an image along the batch": (lambda b, x: b.node("Concat", x, x, axis=0), r"Concat_1: .*along the batch"),
    "another pool": (
        lambda b, x: b.node("LpPool", x, kernel_shape=[2, 2]), r"LpPool_1: .*no kernel for it"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals_name_the_node_and_the_remedy(what):
    body, message = REFUSALS[what]
    with pytest.raises(BitfabricError, match=message) as caught:
        lower(refused(body))
    assert "\n" not in str(caught.value)


def test_an_input_that_is_quantized_in_two_ways_is_refused():
    b = Builder((1, 2, 4, 4))
    first, second = (conv(b, b.quant("x", scale, 4), weights(b, 2, 2, 1, 1), (1, 1)) for scale in (0.25, 0.5))
    model = b.model((b.node("Add", b.quant(first, 1.0, 4), b.quant(second, 1.0, 4)), (1, 2, 4, 4)))
    with pytest.raises(BitfabricError, match=r"input x is quantized in several ways, the second time by Quant_3;"):
        lower(model)


@pytest.mark.parametrize(
    ("join", "shape", "message"),
    [
        (lambda b, x: b.node("Concat", x, x, axis=2), (1, 2, 8, 4), "for the tensor, or for each index of axis 2"),
        (lambda b, x: b.node("ReduceSum", x, integers(b, 1)), (1, 1, 4, 4), "for the tensor, or for each index of"),
        (
            lambda b, x: b.node("MatMul", x, b.quant(np.eye(4)[:, :3], 1.0, 3)),
            (1, 2, 4, 3),
            "for the tensor, or for each element of its rows",
        ),
    ],
)
def test_scales_by_channel_where_other_axes_are_combined(join, shape, message):
    """They are refused, and the tensor with one scale, as the message says, is built."""

    def model(scale):
        b = Builder((1, 2, 4, 4))
        return b.model((join(b, b.quant("x", scale, 4)), shape))

    with pytest.raises(BitfabricError, match=f"scaled differently at different positions; use one scale.* {message}"):
        lower(model(np.float32([0.25, 0.5]).reshape(1, 2, 1, 1)))
    assert list(lower(model(0.25)))
