"""Small valid models that have every kind of operator between them."""

from functools import cache

import numpy as np
import onnx
from onnx import TensorProto

from hw import finn
from hw.lowering.lower import lower
from tests.builders.qonnx_builder import Builder
from tests.builders.random_images import RandomImages
from tests.builders.random_models import RandomModel


def _mixed() -> onnx.ModelProto:
    """Convolution, batch norm, a residual sum, a concatenation, resizing, pools, a computed shape, two outputs."""
    rng, b = np.random.default_rng(5), Builder((1, 2, 4, 4))
    weights = lambda *shape: b.quant(rng.integers(-7, 8, shape) / 4, 0.25, 4)  # noqa: E731
    x = b.quant("x", 0.25, 4)
    y = b.node("Conv", x, weights(2, 2, 3, 3), np.zeros(2), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    y = b.batch_norm(y, np.ones(2), np.zeros(2), np.zeros(2), np.ones(2))
    y = b.quant(b.node("Relu", y), 0.25, 4, signed=0)
    y = b.node("Concat", b.node("Add", x, y), y, axis=1)
    y = b.node("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = b.quant(b.node("Mul", y, 0.5), 0.25, 5)
    y = b.node("Resize", y, "", np.array([1, 1, 2, 2], np.float32), mode="nearest", nearest_mode="floor",
               coordinate_transformation_mode="asymmetric")  # fmt: skip
    y = b.node("MaxPool", b.node("Pad", y, b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)), kernel_shape=[2, 2])
    y = b.node("MultiThreshold", y, np.sort(rng.normal(size=(4, 3)), axis=1), out_dtype="UINT2", data_layout="NCHW")
    size = b.node("Gather", b.node("Shape", y), b.constant([0], np.int64))
    y = b.node("Reshape", y, b.node("Concat", size, b.constant([-1], np.int64), axis=0))
    sums = b.node("MatMul", y, weights(100, 3))
    return b.model(
        (b.node("Softmax", sums, axis=-1), (1, 3)), (b.node("ArgMax", sums, axis=1), (1, 1), TensorProto.INT64)
    )


def _signal() -> onnx.ModelProto:
    """Bipolar and truncated values on a signal, transposed, with a mean and TopK; annotated integers as input."""
    rng, b = np.random.default_rng(6), Builder((1, 3, 8))
    b.annotate("x", "INT6")
    x = b.node("Transpose", b.node("Transpose", "x", perm=[0, 2, 1]), perm=[0, 2, 1])
    x = b.node("Conv", x, b.node("BipolarQuant", rng.normal(size=(4, 3, 3)), 0.5), kernel_shape=[3], strides=[2])
    x = b.node("Trunc", b.quant(b.node("Clip", x, -8.0, 7.5), 0.5, 6), 0.5, 0.0, 6.0, 4.0, rounding_mode="FLOOR")
    x = b.node("ReduceMean", b.quant(b.node("PRelu", x, np.full((4, 1), 0.25)), 0.25, 6), axes=[2], keepdims=0)
    x = b.node("Gemm", b.quant(x, 0.25, 5), b.quant(rng.normal(size=(3, 4)), 0.25, 3), np.ones(3), transB=1)
    values = b.node("TopK", x, b.constant([1], np.int64), outputs=2, axis=1)
    return b.model((f"{values}_1", (1, 1), TensorProto.INT64))


@cache
def models() -> tuple[bytes, ...]:
    """Small valid models with every kind of operator."""
    drawn = [_mixed(), _signal()]
    for seed in (1, 4, 7):
        rng = np.random.default_rng(seed)
        drawn += [RandomModel(rng, dyadic=True).model(), RandomImages(rng, dyadic=True).model()]
    return tuple(model.SerializeToString() for model in drawn)


@cache
def finn_models() -> tuple[bytes, ...]:
    """The same models in FINN's dialect."""
    graphs = (lower(onnx.ModelProto.FromString(data)) for data in models())
    return tuple(finn.write(finn.adapted(graph)).SerializeToString() for graph in graphs)
