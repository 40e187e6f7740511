"""Small valid models for the tests of the gate, and the line with which a damaged one is refused."""

import numpy as np
import onnx
import pytest

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from tests.builders.qonnx_builder import Builder


def refusal(model) -> str:
    """The one printable line with which a model is refused."""
    with pytest.raises(BitfabricError) as caught:
        lower(model)
    text = str(caught.value)
    assert text.isprintable(), text
    assert len(text) < 500
    return text


def dense() -> onnx.ModelProto:
    """Quant_0, Quant_1 (weights), MatMul_2, Relu_3, Quant_4, Quant_5 (weights), MatMul_6."""
    rng = np.random.default_rng(0)
    b = Builder((1, 6))
    x = b.node("MatMul", b.quant("x", 0.25, 4), b.quant(rng.normal(size=(6, 5)), 0.25, 4))
    x = b.quant(b.node("Relu", x), 0.5, 4, signed=0)
    return b.model((b.node("MatMul", x, b.quant(rng.normal(size=(5, 3)), 0.25, 4)), (1, 3)))


def image() -> onnx.ModelProto:
    """Quant_0, Quant_1 (weights), Conv_2, Quant_3, MaxPool_4, Flatten_5, Quant_6 (weights), Gemm_7."""
    rng = np.random.default_rng(0)
    b = Builder((1, 2, 6, 6))
    x = b.node("Conv", b.quant("x", 0.25, 4), b.quant(rng.normal(size=(4, 2, 3, 3)), 0.25, 4), kernel_shape=[3, 3])
    x = b.node("MaxPool", b.quant(x, 0.5, 4), kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Gemm", b.node("Flatten", x), b.quant(rng.normal(size=(16, 3)), 0.25, 4), np.zeros(3))
    return b.model((x, (1, 3)))


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(each for each in model.graph.node if each.name == name)


def two_readers(wide: int, layer: str):
    """A quantizer of constants with so many bits, read by a layer as weights or added to its sums."""
    rng = np.random.default_rng(0)
    b = Builder((1, 6))
    x = b.quant("x", 0.25, 4)
    values = b.quant(rng.normal(size=(6, 6)), 2.0**-20, wide)
    if layer == "weights":
        return b.model((b.node("MatMul", x, b.node("Transpose", values, perm=[1, 0])), (1, 6)))
    sums = b.node("MatMul", x, b.quant(np.eye(6), 0.5, 4))
    bias = b.quant(rng.normal(size=6), 2.0**-20, wide)
    return b.model((b.node("Add", sums, bias), (1, 6)))
