"""QONNX files as other tools write them: QKeras, hand-made pre-processing, old exporters."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from hw.verification.reference import Reference, compare
from tests.builders.qonnx_builder import Builder

pytestmark = pytest.mark.quick

RNG = np.random.default_rng(0)


def weights(b: Builder, *shape: int, bits: int = 6, name: str = "") -> str:
    """Weights as QKeras has them: quantized_bits(6, 0), in floats that lie on the grid or not."""
    return b.quant(RNG.normal(size=shape) / 3, 2.0 ** (1 - bits), bits, narrow=0)


def agrees(model: onnx.ModelProto, x: np.ndarray) -> None:
    """Every layer equals QONNX but for float32's rounding at decisions, and the classes are the same."""
    graph = lower(model)
    result = compare(graph, model, x)
    assert result.mismatches == result.explained, result.describe()
    assert result.arg_max_changes == 0


def relu(b: Builder, x: str, bits: int = 4) -> str:
    """quantized_relu: a Relu and an unsigned quantizer."""
    return b.quant(b.node("Relu", x), 2.0 ** (2 - bits), bits, signed=0)


def test_qkeras_dense():
    """Quantized biases, added or in Gemm; a softmax at the end."""
    b = Builder((1, 16))
    x = b.quant("x", 2.0**-5, 8)
    for inputs, outputs in ((16, 12), (12, 8)):
        x = b.node("MatMul", x, weights(b, inputs, outputs))
        x = relu(b, b.node("Add", x, weights(b, outputs)))
    x = b.node("Gemm", x, weights(b, 8, 5), weights(b, 5))
    model = b.model((b.node("Softmax", x, axis=-1), (1, 5)))
    agrees(model, RNG.normal(size=(300, 16)).astype(np.float32))


def test_qkeras_convolution():
    """Channels last outside, transposed around every convolution; a quantized bias in the convolution."""
    b = Builder((1, 8, 8, 3))
    x = b.quant("x", 2.0**-5, 8)
    for inputs, outputs in ((3, 4), (4, 6)):
        x = b.node("Transpose", x, perm=[0, 3, 1, 2])
        x = b.node("Conv", x, weights(b, outputs, inputs, 3, 3), weights(b, outputs), kernel_shape=[3, 3])
        x = relu(b, b.node("Transpose", x, perm=[0, 2, 3, 1]))
    b.constants.append(numpy_helper.from_array(np.array([1, 96]), "flat"))
    x = b.node("MatMul", b.node("Reshape", x, "flat"), weights(b, 96, 4))
    model = b.model((b.node("Softmax", b.node("Add", x, weights(b, 4)), axis=-1), (1, 4)))
    agrees(model, RNG.normal(size=(60, 8, 8, 3)).astype(np.float32))


@pytest.mark.parametrize("integers", [False, True])
def test_preprocessing(integers):
    """Pixels divided by 255, less the mean, through the deviation of each channel, then quantized."""
    b = Builder((1, 3, 6, 6))
    if integers:
        b.annotate("x", "UINT8")
    mean, deviation = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    x = b.node("Div", "x", 255.0)
    x = b.node("Sub", x, np.reshape(mean, (1, 3, 1, 1)))
    x = b.quant(b.node("Div", x, np.reshape(deviation, (1, 3, 1, 1))), 2.0**-4, 7)
    x = relu(b, b.node("Conv", x, weights(b, 4, 3, 3, 3), kernel_shape=[3, 3]))
    x = b.node("MatMul", b.node("Flatten", x), weights(b, 64, 5))
    model = b.model((x, (1, 5)))
    agrees(model, RNG.integers(0, 256, (50, 3, 6, 6)).astype(np.float32))


@pytest.mark.parametrize("how", ["gather", "slice"])
def test_old_flattening(how):
    """``x.view(x.size(0), -1)`` as older exporters have it, its shape computed from Shape; constants as nodes."""
    b = Builder((1, 2, 5, 5))
    x = relu(b, b.node("Conv", b.quant("x", 2.0**-4, 6), weights(b, 3, 2, 3, 3), kernel_shape=[3, 3]))

    def constant(*values: int) -> str:
        return b.node("Constant", value=numpy_helper.from_array(np.array(values, np.int64)))

    shape = b.node("Shape", x)
    if how == "gather":
        first = b.node("Constant", value=numpy_helper.from_array(np.array(0, np.int64)))
        size = b.node("Unsqueeze", b.node("Gather", shape, first, axis=0), constant(0))
    else:
        size = b.node("Slice", shape, constant(0), constant(1))
    x = b.node("Reshape", x, b.node("Concat", size, constant(-1), axis=0))
    model = b.model((b.node("MatMul", x, weights(b, 27, 4)), (1, 4)))
    agrees(model, RNG.normal(size=(40, 2, 5, 5)).astype(np.float32))


@pytest.mark.parametrize("domain", ["onnx.brevitas", "finn.custom_op.general", ""])
def test_old_domains(domain):
    b = Builder((1, 6))
    x = b.node("MatMul", b.node("BipolarQuant", "x", 1.0), weights(b, 6, 4))
    steps = np.sort(RNG.normal(size=(4, 3)), axis=1)
    x = b.node("MultiThreshold", x, steps, out_dtype="UINT2")
    model = b.model((b.node("MatMul", x, weights(b, 4, 3)), (1, 3)))
    for node in model.graph.node:
        node.domain = node.domain and domain
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", 13), *([helper.make_opsetid(domain, 1)] if domain else [])])
    x = RNG.normal(size=(50, 6)).astype(np.float32)
    agrees(model, x)
    assert Reference(model).run(x).shape == (50, 3)


def test_operators_of_others_are_refused_by_name():
    """FINN's own intermediate operators, and what has no exact form, with the node's name and what to do."""
    b = Builder((1, 4, 4, 2))
    x = b.node("MaxPoolNHWC", b.quant("x", 0.5, 4), kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
    model = b.model((x, (1, 2, 2, 2)))
    model.graph.node[-1].domain = "finn.custom_op.general"
    with pytest.raises(BitfabricError, match="MaxPoolNHWC_1: MaxPoolNHWC cannot be lowered: it is from FINN"):
        lower(model)
    b = Builder((1, 4))
    x = b.node("Softmax", b.node("MatMul", b.quant("x", 0.5, 4), weights(b, 4, 4)), axis=-1)
    x = b.node("MatMul", b.quant(x, 0.1, 4), weights(b, 4, 2))
    with pytest.raises(BitfabricError, match="Softmax_3: Softmax cannot be lowered: only the host computes it"):
        lower(b.model((x, (1, 2))))
    for elem_type, why in (
        (TensorProto.FLOAT, "input x reaches MatMul_1 as floating point; say what it takes"),
        (TensorProto.DOUBLE, "MatMul_1: .* its input t0 is of type float, another one of type double"),
    ):
        b = Builder((1, 4), elem_type=elem_type)
        with pytest.raises(BitfabricError, match=why):
            lower(b.model((b.node("MatMul", "x", weights(b, 4, 2)), (1, 2))))
