"""QONNX's quantizers."""

import numpy as np

from tests.builders.qonnx_builder import DOMAIN
from tests.lowering.operators.row import Row

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
    Row(
        "Trunc",
        lambda b, x, opset: b.node("Trunc", x, 0.125, 0.0, 6.0, 4.0, rounding_mode="FLOOR"),
        "versions 1 (five inputs) and 2",
        **_OWN,
    ),
)
