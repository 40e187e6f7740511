"""Layers: products, convolutions, pools, sums, and what only the host computes after the last of them."""

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from tests.builders.qonnx_builder import Builder
from tests.lowering.operators.row import CHANNELS_LAST, JOINED, ROUNDED, Build, Row

IMAGE, SIGNAL = (1, 4, 6, 6), (1, 4, 8)


def _weights(b: Builder, *shape: int) -> str:
    rng = np.random.default_rng(sum(shape))
    return b.quant(rng.integers(-7, 8, shape) / 4, 0.25, 4)


def _conv(shape: tuple[int, ...], **attributes) -> Build:
    return lambda b, x, opset: b.node("Conv", x, _weights(b, *shape), kernel_shape=list(shape[2:]), **attributes)


def _conv_transpose(shape: tuple[int, ...], **attributes) -> Build:
    return lambda b, x, opset: b.node("ConvTranspose", x, _weights(b, *shape), **attributes)


def _matmul(b: Builder, x: str, opset: int) -> str:
    return b.node("MatMul", x, _weights(b, 4, 3))


def _gemm(b: Builder, x: str, opset: int) -> str:
    return b.node("Gemm", x, _weights(b, 3, 4), np.array([0.5, -1, 0]), transB=1, alpha=1.0, beta=1.0)


def _pool(op: str, **attributes) -> Build:
    return lambda b, x, opset: b.node(op, x, **attributes)


def _reduce(op: str, axes: Sequence[int] = (2, 3), keepdims: int = 0) -> Build:
    def build(b: Builder, x: str, opset: int) -> str:
        inputs = opset >= (13 if op == "ReduceSum" else 18)
        if inputs:
            return b.node(op, x, b.constant(list(axes), np.int64), keepdims=keepdims)
        return b.node(op, x, axes=list(axes), keepdims=keepdims)

    return build


def _pad(value: float) -> Build:
    def build(b: Builder, x: str, opset: int) -> str:
        pads = [0, 0, 1, 0, 0, 0, 2, 1]
        if opset < 11:
            return b.node("Pad", x, pads=pads, value=value)
        return b.node("Pad", x, b.constant(pads, np.int64), b.constant(value))

    return build


def _resize(b: Builder, x: str, opset: int) -> str:
    scales = b.constant([1, 1, 2, 2])
    if opset < 11:
        return b.node("Resize", x, scales, mode="nearest")
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return b.node("Resize", x, "" if opset >= 13 else b.constant([]), scales, **how)


def _upsample(b: Builder, x: str, opset: int) -> str:
    if opset < 9:
        return b.node("Upsample", x, mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])
    return b.node("Upsample", x, b.constant([1, 1, 2, 2]), mode="nearest")


def _branch(b: Builder, x: str, scale: float) -> str:
    """A second tensor of a scale of its own."""
    return b.quant(b.node("Conv", x, _weights(b, 4, 4, 1, 1), kernel_shape=[1, 1]), scale, 6)


def _join(op: str, scale: float, **attributes) -> Build:
    return lambda b, x, opset: b.node(op, x, _branch(b, x, scale), **attributes)


def _three(b: Builder, x: str, opset: int) -> str:
    return b.node("Sum", x, _branch(b, x, 0.0931), _branch(b, x, 0.0711))


def _concat_conv(b: Builder, x: str, opset: int) -> str:
    y = b.node("Concat", x, _branch(b, x, 0.0931), axis=1)
    return b.node("Conv", y, _weights(b, 3, 8, 1, 1), kernel_shape=[1, 1])


def _last(op: str, **attributes) -> Build:
    return lambda b, x, opset: b.node(op, _matmul(b, x, opset), **attributes)


def _top_k(b: Builder, x: str, opset: int) -> str:
    if opset < 10:
        return b.node("TopK", _matmul(b, x, opset), k=1, axis=1, outputs=2)
    return b.node("TopK", _matmul(b, x, opset), b.constant([1], np.int64), axis=1, outputs=2)


def _early_exit(b: Builder, x: str, opset: int) -> str:
    """Two heads, of which the first decides."""
    first = b.quant(_matmul(b, x, opset), 0.25, 6)
    hidden = b.quant(b.node("MatMul", x, _weights(b, 4, 5)), 0.25, 6)
    last = b.quant(b.node("MatMul", hidden, _weights(b, 5, 3)), 0.25, 6)
    if opset < 10:
        top = b.node("TopK", first, k=2, axis=1, outputs=2)
    else:
        top = b.node("TopK", first, b.constant([2], np.int64), axis=1, outputs=2)
    one, other = (b.node("Gather", top, b.constant([at], np.int64), axis=1) for at in (0, 1))
    return b.node("Where", b.node("Less", b.node("Sub", one, other), b.constant(1.1)), last, first)


def _experts(b: Builder, x: str, opset: int) -> str:
    """Three matrices, of which an arg-max chooses one."""
    choice = b.node("ArgMax", b.quant(_matmul(b, x, opset), 0.25, 6), axis=1, keepdims=0)
    chosen = b.node("Gather", _weights(b, 3, 5, 4), choice, axis=0)
    if opset < 13:
        return b.node("Squeeze", b.node("MatMul", chosen, b.node("Unsqueeze", x, axes=[2])), axes=[2])
    column = b.node("Unsqueeze", x, b.constant([2], np.int64))
    return b.node("Squeeze", b.node("MatMul", chosen, column), b.constant([2], np.int64))


def _channels_last(op: str, *shape: int, **attributes) -> Build:
    def build(b: Builder, x: str, opset: int) -> str:
        operands = [_weights(b, *shape)] if shape else []
        if op == "BatchNormalization":
            operands = [b.constant(v) for v in ([1, 2, 0.5, -1], [0, 0.5, 1, -0.25], [0, 1, -1, 0.5], [1, 1, 4, 1])]
        y = b.node(op, x, *operands, **attributes)
        b.nodes[-1].domain = CHANNELS_LAST
        return y

    return build


def _pool_channels_last(b: Builder, x: str, opset: int) -> str:
    ceil = {"ceil_mode": 0} if opset >= 10 else {}
    return _channels_last("MaxPool", pads=[0] * 4, **_WINDOW, **ceil)(b, x, opset)


_WINDOW = {"kernel_shape": [2, 2], "strides": [2, 2]}
_CONV = {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "group": 1}
_CL = {"domain": CHANNELS_LAST, "shape": (1, 6, 6, 4)}


def _bits(b: Builder, x: str) -> str:
    """One bit of each of four elements."""
    return b.node("Cast", b.node("Greater", x, [[0.25, 0.0, -0.5, 0.75]]), to=TensorProto.FLOAT)


TABLES = np.random.default_rng(0).integers(0, 2, (6, 4))


def _addressed(b: Builder, x: str) -> str:
    """The addresses of six tables of two inputs."""
    wires = b.constant([[0, 1], [1, 2], [2, 3], [3, 0], [0, 2], [1, 3]], np.int64)
    return b.node("MatMul", b.node("Gather", _bits(b, x), wires, axis=1), [1.0, 2.0])


def _tables(b: Builder, x: str, opset: int) -> str:
    """A lookup layer of six tables, in one row."""
    addresses = b.node("Add", _addressed(b, x), np.arange(6) * 4)
    return b.node("Gather", TABLES.ravel(), b.node("Cast", addresses, to=TensorProto.INT64), axis=0)


def _tables_by_row(b: Builder, x: str, opset: int) -> str:
    """The same, with the number of each table and its address as indices."""
    addresses = b.node("Reshape", _addressed(b, x), b.constant([-1, 6, 1], np.int64))
    rows = b.constant(np.arange(6).reshape(1, 6, 1), np.int64)
    indices = b.node("Concat", rows, b.node("Cast", addresses, to=TensorProto.INT64), axis=2)
    return b.node("GatherND", TABLES, indices)


def _counted(b: Builder, x: str, opset: int) -> str:
    """The ones of three classes."""
    classes = b.node("Reshape", _tables(b, x, opset), b.constant([-1, 3, 2], np.int64))
    if opset >= 13:
        return b.node("ReduceSum", classes, b.constant([2], np.int64), keepdims=0)
    return b.node("ReduceSum", classes, axes=[2], keepdims=0)


ROWS = (
    Row("Gather", _tables, "of entries of constant tables, at sums of bits (lookup networks)", output=None),
    Row("GatherND", _tables_by_row, "of entries of constant tables, at sums of bits (lookup networks)", output=None),
    Row("ReduceSum", _counted, "of the bits of tables, by class", output=None),
    Row("MatMul", _matmul, "of data and quantized weights", output=(1.0, 8)),
    Row("Gemm", _gemm, "of data and quantized weights", output=(1.0, 8)),
    Row("Conv", _conv((5, 4, 3, 3), pads=[1, 1, 1, 1]), "images and signals", IMAGE, output=(1.0, 8)),
    Row("Conv", _conv((4, 1, 3, 3), group=4, strides=[2, 2]), "depthwise, strided", IMAGE, output=(1.0, 8)),
    Row("Conv", _conv((4, 2, 3), group=2, dilations=[2]), "grouped, dilated, one axis", SIGNAL, output=(1.0, 8)),
    Row(
        "ConvTranspose",
        _conv_transpose((4, 3, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1]),
        "images and signals, any stride, padding and output_padding below the stride",
        IMAGE,
        output=(1.0, 8),
    ),
    Row(
        "ConvTranspose",
        _conv_transpose((4, 2, 3), group=2, dilations=[2], strides=[3], output_padding=[1]),
        "grouped, dilated, one axis",
        SIGNAL,
        output=(1.0, 8),
    ),
    Row("MaxPool", _pool("MaxPool", **_WINDOW), "values only", IMAGE),
    Row("MaxPool", _pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), "padded", IMAGE),
    Row("AveragePool", _pool("AveragePool", **_WINDOW), "", IMAGE, output=(0.1, 8)),
    Row(
        "AveragePool",
        _pool("AveragePool", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
        "padded, with count_include_pad",
        IMAGE,
        output=(0.1, 8),
    ),
    Row(
        "AveragePool",
        _pool("AveragePool", kernel_shape=[3, 3], pads=[1] * 4),
        "without it: exact, with thresholds for every position at the border",
        IMAGE,
        output=(0.1, 8),
    ),
    Row("GlobalAveragePool", _pool("GlobalAveragePool"), "", IMAGE, output=(0.1, 6)),
    Row("GlobalMaxPool", _pool("GlobalMaxPool"), "", IMAGE),
    Row("ReduceMean", _reduce("ReduceMean"), "over any axes but the batch and one", IMAGE, output=(0.1, 6)),
    Row("ReduceMean", _reduce("ReduceMean", (3,), 0), "over any axes but the batch and one", IMAGE, output=(0.1, 6)),
    Row("ReduceSum", _reduce("ReduceSum"), "over any axes but the batch and one", IMAGE, output=(1.0, 8)),
    Row("ReduceSum", _reduce("ReduceSum", (2,), 1), "over any axes but the batch and one", IMAGE, output=(1.0, 8)),
    Row("ReduceMax", _reduce("ReduceMax"), "over any axes but the batch and one", IMAGE),
    Row("ReduceMax", _reduce("ReduceMax", (-3,), 0), "over any axes but the batch and one", IMAGE),
    Row("Pad", _pad(0.0), "height and width with a value that has a code, channels with zeros", IMAGE),
    Row("Pad", _pad(0.5), "negative pads crop; the modes reflect, edge and wrap, along any axis but the batch", IMAGE),
    Row("Resize", _resize, "nearest neighbour, by whole factors", IMAGE),
    Row("Upsample", _upsample, "nearest neighbour, by whole factors", IMAGE),
    Row("Add", _join("Add", 0.25), "of two layers", IMAGE, output=(0.25, 6)),
    Row("Add", _join("Add", 0.0931), "of two layers of any scales", IMAGE, output=(0.2173, 6), exactness=JOINED),
    Row("Sub", _join("Sub", 0.0931), "as Add", IMAGE, output=(0.2173, 6), exactness=JOINED),
    Row("Sum", _three, "of several layers", IMAGE, output=(0.2173, 6), exactness=JOINED),
    Row("Concat", _join("Concat", 0.25, axis=1), "along any axis but the batch", IMAGE),
    Row("Concat", _join("Concat", 0.0931, axis=1), "of different scales", IMAGE),
    Row("Concat", _concat_conv, "of different scales, before a layer", IMAGE, output=(1.13, 8), exactness=JOINED),
    Row("ArgMax", _last("ArgMax", axis=1), "on the last layer", output=None, elem_type=TensorProto.INT64),
    Row("ArgMax", _experts, "as the choice of [experts](experts.md)"),
    Row("TopK", _top_k, "on the last layer", output=None),
    Row("TopK", _early_exit, "of two, as the margin of an [early exit](early-exit.md)", output=None, since=9),
    Row("Where", _early_exit, "of the logits of two heads: an [early exit](early-exit.md)", output=None, since=9),
    Row("Softmax", _last("Softmax", axis=1), "on the last layer, by the host", output=None, exactness=ROUNDED),
    Row("LogSoftmax", _last("LogSoftmax", axis=1), "on the last layer, by the host", output=None, exactness=ROUNDED),
    Row(
        "Conv",
        _channels_last("Conv", 5, 3, 3, 4, pads=[1] * 4, **_CONV),
        "weights (M, kH, kW, C)",
        output=(1.0, 8),
        **_CL,
    ),
    Row("MaxPool", _pool_channels_last, **_CL),
    Row("BatchNormalization", _channels_last("BatchNormalization", epsilon=0.0), "as ONNX's", **_CL),
)
