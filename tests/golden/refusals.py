"""Networks that are refused in lowering, by what is wrong with them."""

import numpy as np
import onnx

from tests.golden.networks import Drawing

WEIGHTS = np.random.default_rng(0).integers(-7, 8, (12, 5)).astype(np.float32)


def weights(b: Drawing, *shape: int) -> str:
    return b.ints(*shape)


def conv(b: Drawing, x: str, w, size=(3, 3), pad=0) -> str:
    return b.node("Conv", x, w, kernel_shape=list(size), pads=[pad] * 2 * len(size))


def integers(b: Drawing, *values: int) -> str:
    return b.constant(values, np.int64)


def pointwise(b: Drawing, x: str) -> str:
    return conv(b, x, b.quant(b.rng.integers(-(2**15), 2**15, (2, 2, 1, 1)) * 2.0**-15, 2.0**-15, 16), (1, 1))


def branches(b: Drawing, x: str, scale) -> str:
    first, second = (conv(b, x, weights(b, 2, 2, 1, 1), (1, 1)) for _ in range(2))
    return b.node("Add", b.quant(first, 0.5, 4), b.quant(second, scale, 4))


FEATURES = {
    "weights that are not quantized": (lambda b, x: b.node("MatMul", x, WEIGHTS / 3)),
    "no quantizer before a layer": (
        lambda b, x: b.node(
            "MatMul", b.node("Sigmoid", b.node("MatMul", x, b.quant(WEIGHTS, 1.0, 4))), b.quant(WEIGHTS[:5], 1.0, 4)
        )),
    "unequal scales": (
        lambda b, x: b.node("MatMul", b.quant(x, np.linspace(0.1, 0.2, 12), 4), b.quant(WEIGHTS, 1.0, 4))),
    "an unknown operator": (lambda b, x: b.node("Hardmax", b.node("MatMul", x, WEIGHTS))),
    "a rounding mode": (
        lambda b, x: b.quant(b.node("MatMul", x, WEIGHTS), 1.0, 4, rounding_mode="STOCHASTIC")),
    "a scale of zero": (lambda b, x: b.quant(b.node("MatMul", x, WEIGHTS), 0.0, 4)),
    "a bias of NaN": (lambda b, x: b.node("Add", b.node("MatMul", x, WEIGHTS), np.nan)),
    "a product of data": (
        lambda b, x: b.node("Mul", *[b.node("MatMul", x, w) for w in (WEIGHTS, -WEIGHTS)])),
    "16 bits of a sigmoid": (
        lambda b, x: b.node(
            "MatMul", b.quant(b.node("Sigmoid", b.node("MatMul", x, 15 * WEIGHTS)), 2.0**-16, 16, signed=0), np.eye(5)
        )),
}  # fmt: skip

IMAGES = {
    "weights that are not quantized": (
        lambda b, x: conv(b, x, np.full((2, 2, 1, 1), 0.3), (1, 1))),
    "padding of an offset": (
        lambda b, x: conv(b, b.node("Add", x, 0.3), weights(b, 2, 2, 3, 3), pad=1)),
    "scales without a ratio": (
        lambda b, x: branches(b, x, 0.3)),
    "scales of channels without a ratio": (
        lambda b, x: branches(b, x, np.float32([0.5, 1.0]).reshape(1, 2, 1, 1))),
    "broadcast sum": (
        lambda b, x: b.node("Add", x, b.node("GlobalMaxPool", x))),
    "linear interpolation": (
        lambda b, x: b.node("Resize", x, "", np.float32([1, 1, 2, 2]), mode="linear")),
    "no whole factor": (
        lambda b, x: b.node("Resize", x, "", np.float32([1, 1, 1.5, 1.5]), mode="nearest", nearest_mode="floor",
                            coordinate_transformation_mode="asymmetric")),
    "another neighbour": (
        lambda b, x: b.node("Resize", x, "", np.float32([1, 1, 2, 2]), mode="nearest", nearest_mode="ceil",
                            coordinate_transformation_mode="asymmetric")),
    "sums too wide for a layer": (
        lambda b, x: pointwise(b, pointwise(b, pointwise(b, x)))),
    "maximum of what turns": (
        lambda b, x: b.node("MaxPool", b.node("Abs", x), kernel_shape=[2, 2])),
    "reflections of more than an image": (
        lambda b, x: b.node("Pad", x, integers(b, 0, 0, 4, 1, 0, 0, 1, 1), mode="reflect")),
    "padded channels": (
        lambda b, x: b.node("Pad", x, integers(b, 0, 1, 0, 0, 0, 0, 0, 0), np.float32(0.5))),
    "mean over all axes": (
        lambda b, x: b.node("ReduceMean", x, axes=[1, 2, 3])),
    "three axes": (
        lambda b, x: conv(b, b.node("Reshape", x, integers(b, 1, 2, 4, 2, 2)), weights(b, 2, 2, 1, 1, 1), (1, 1, 1))),
    "columns in no regular order": (
        lambda b, x: conv(
            b, b.node("Gather", b.quant(pointwise(b, x), 1.0, 4), integers(b, 0, 3, 1, 2), axis=3),
            weights(b, 2, 2, 3, 3),
        )),
    "strides beyond the kernel": (
        lambda b, x: b.node("MaxPool", x, kernel_shape=[1, 1], strides=[4, 4], auto_pad="SAME_UPPER")),
    "an image along the batch": (lambda b, x: b.node("Concat", x, x, axis=0)),
    "transposed convolution": (
        lambda b, x: b.node("ConvTranspose", x, weights(b, 2, 2, 2, 2), output_padding=[1, 0])),
}  # fmt: skip


def networks() -> dict[str, onnx.ModelProto]:
    """All of them."""
    result = {}
    for bodies, shape in ((FEATURES, (1, 12)), (IMAGES, (1, 2, 4, 4))):
        for name, body in bodies.items():
            b = Drawing(shape, 0)
            result[name] = b.model((body(b, b.quant("x", 0.25, 4)), (1, 5) if shape == (1, 12) else (1, 2)))
    return result
