"""Quantizers: those of QONNX, and ONNX's own."""

import numpy as np
from onnx import TensorProto, helper

from tests.builders.qonnx_builder import DOMAIN, Builder
from tests.lowering.operators.row import Build, Row


def _typed(b: Builder, values, elem_type: int) -> str:
    """A constant of an integer type, which NumPy may lack."""
    name = f"c{len(b.constants)}"
    flat = np.asarray(values)
    b.constants.append(helper.make_tensor(name, elem_type, flat.shape, flat.ravel().tolist()))
    return name


def _linear(elem_type: int, zero_point: int, scale: float) -> Build:
    """QuantizeLinear to integers of a type, and DequantizeLinear back to floats."""

    def build(b: Builder, x: str, opset: int) -> str:
        zero = _typed(b, zero_point, elem_type)
        return b.node("DequantizeLinear", b.node("QuantizeLinear", x, scale, zero), scale, zero)

    return build


def _weights(b: Builder, x: str, opset: int) -> str:
    """A layer whose int8 weights have a scale for each output channel, with an int32 bias."""
    q = _linear(TensorProto.UINT8, 31, 0.125)(b, x, opset)
    scales = np.array([0.25, 0.5, 0.125], np.float32)
    weights = _typed(b, (np.arange(12).reshape(3, 4) * 37) % 255 - 127, TensorProto.INT8)
    matrix = b.node("DequantizeLinear", weights, scales, axis=0)
    bias = b.node("DequantizeLinear", _typed(b, [100, -70, 4], TensorProto.INT32), scales / 8, axis=0)
    return b.node("Gemm", q, matrix, bias, transB=1)


def _trunc(b: Builder, x: str, opset: int) -> str:
    if opset == 1:
        return b.node("Trunc", x, 0.125, 0.0, 6.0, 4.0, rounding_mode="FLOOR")
    return b.node("Trunc", x, 0.125, 0.0, 6.0, 0.5, 4.0, rounding_mode="FLOOR", signed=1, narrow=0)


_OWN = {"domain": DOMAIN, "output": None}

ROWS = (
    Row(
        "Quant",
        lambda b, x, opset: b.quant(x, 0.5, 4, narrow=1, rounding_mode="FLOOR"),
        "up to 16 bits, all rounding modes, one scale and zero point for the tensor or one for each channel",
        **_OWN,
    ),
    Row("Quant", lambda b, x, opset: b.quant(x, 0.5, 4, zero_point=3.0, signed=0), "with a zero point", **_OWN),
    Row("IntQuant", lambda b, x, opset: b.quant(x, 0.5, 4, op="IntQuant"), "as Quant", **_OWN),
    Row("BipolarQuant", lambda b, x, opset: b.node("BipolarQuant", x, 0.5), **_OWN),
    Row(
        "MultiThreshold",
        lambda b, x, opset: b.node("MultiThreshold", x, np.array([[-1, 0, 1.5]]), out_dtype="UINT2"),
        "one row of thresholds, or one for each channel",
        **_OWN,
    ),
    Row("Trunc", _trunc, "five inputs (version 1) or six (version 2), all rounding modes", **_OWN),
    *(
        Row(op, _linear(elem_type, zero_point, 0.3), conditions, output=None, since=since)
        for op in ("QuantizeLinear", "DequantizeLinear")
        for elem_type, zero_point, since, conditions in (
            (TensorProto.INT8, 0, 10, "int8, uint8, and from opset 21 on int16, uint16, int4, uint4"),
            (TensorProto.UINT8, 131, 10, "any zero point"),
            (TensorProto.INT4, -3, 21, ""),
            (TensorProto.UINT4, 7, 21, ""),
            (TensorProto.INT16, 0, 21, ""),
            (TensorProto.UINT16, 3001, 21, ""),
        )
    ),
    Row("DequantizeLinear", _weights, "of weights, by channel; of int32 biases", output=None, since=13),
)
