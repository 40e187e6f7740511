"""Quantizers as host steps: those of QONNX, and ONNX's QuantizeLinear with DequantizeLinear.

A quantizer becomes a step that gives its codes, and the steps from the codes to its values.
"""

import numpy as np

from hw.host import operators
from hw.host.steps import step
from hw.lowering.call import Call, Steps, broadcast, data_index, float_of
from hw.lowering.constants import quant_parameters
from hw.lowering.gate.tensors import type_name
from hw.lowering.linear_quantizers import CODES, NAMES, LinearParameters, code_type, linear_parameters

INTEGERS = tuple(type_name(kind) for kind in CODES)
"""The types of codes between QuantizeLinear and DequantizeLinear."""
WIDE_CODES = 255
"""The range of codes that a Threshold computes; for more, a Requant is needed."""


def quant(call: Call) -> Steps:
    """QONNX computes ``x / scale + zero_point`` in NumPy, in the wider type of the operands; the result is float32."""
    p = quant_parameters(call.node, [call.operand(i) for i in range(1, 4)])
    scale, zero_point = broadcast(call, p.scale), broadcast(call, p.zero_point)
    codes = step(
        "Quant", scale, zero_point, bits=p.bits, signed=p.signed, narrow=p.narrow, rounding_mode=p.rounding_mode.upper()
    )
    values = _rescaled(scale, zero_point)
    if call.number is None:
        return codes, *values
    quotient = np.true_divide(np.ones(1, call.number), np.ones(1, scale.dtype)).dtype
    number = np.result_type(quotient, zero_point.dtype)
    if quotient != number or number.name not in ("float32", "float64"):
        raise call.lowering_error(
            f"it quantizes {call.number} with a scale of {scale.dtype} and a zero point of {zero_point.dtype}",
            "store both as float32",
        )
    if number == np.float64:
        # The codes may become integers of an edge, from which a chain starts in float32.
        values = (step("Cast", to="float64"), *values, step("Cast", to="float32"))
    return (codes, *values) if number.name == float_of(call) else (step("Cast", to=number.name), codes, *values)


def quantize_linear(call: Call) -> Steps:
    """Codes, which stay integers until DequantizeLinear. Odd zero points of wide codes are added after the rounding.

    A Requant rounds ties to even; the code of a tie is odd if the zero point is. So such codes are computed without it.
    """
    p = _linear(call)
    if p.high - p.low > WIDE_CODES and np.any(p.zero_point & 1):
        if p.zero_point.size > 1:
            raise call.lowering_error("its channels have different zero points", "use one zero point, or 8 bits")
        zero = int(p.zero_point)
        centred = step("QuantizeLinear", p.scale, np.zeros((), np.float32), low=p.low - zero, high=p.high - zero)
        return centred, step("Add", np.array(zero, np.float32))
    return (step("QuantizeLinear", p.scale, p.zero_point.astype(np.float32), low=p.low, high=p.high),)


def dequantize_linear(call: Call) -> Steps:
    p = _linear(call)
    return _rescaled(p.scale, p.zero_point.astype(np.float32))


def _linear(call: Call) -> LinearParameters:
    """The parameters of QuantizeLinear or DequantizeLinear on data of a known type."""
    wanted = ("float32",) if call.node.op_type == "QuantizeLinear" else INTEGERS
    call.check_number(*wanted)
    scale, zero_point = call.required(1), call.operand(2)
    kind = code_type(call.node, call.number or "", zero_point)
    return linear_parameters(call.node, scale, zero_point, len(call.shape), kind)


def clip_codes(call: Call) -> Steps:
    """Bounds between QuantizeLinear and DequantizeLinear, as Brevitas writes them for codes of few bits."""
    op, (least, most) = call.node.op_type, CODES[NAMES[str(call.number)]]
    data = data_index(call.inputs, tuple(call.node.input))
    others = {i: call.operand(i) for i in range(len(call.node.input)) if i != data}
    given = {i: value for i, value in others.items() if value is not None}
    if any(value.size != 1 for value in given.values()):
        raise call.lowering_error("its bounds differ by element", "use one number")
    ends = {i: int(value.ravel()[0]) for i, value in given.items()}
    low = max([least, *(end for i, end in ends.items() if op == "Max" or (op == "Clip" and i == 1))])
    high = min([most, *(end for i, end in ends.items() if op == "Min" or (op == "Clip" and i == 2))])
    # Where no code is left, the upper bound is the result.
    return (step("QuantizeLinear", np.ones((), np.float32), np.zeros((), np.float32), low=min(low, high), high=high),)


def _rescaled(scale: np.ndarray, zero_point: np.ndarray | float = 0.0) -> Steps:
    """The steps from codes to values: subtract the zero point, multiply by the scale; neutral steps are left out."""
    shift = (step("Sub", zero_point),) if np.any(zero_point) else ()
    return (*shift, step("Mul", scale)) if np.any(scale != 1) else shift


def bipolar(call: Call) -> Steps:
    call.check_number("float32")
    scale = broadcast(call, call.required(1))
    if not np.all(np.isfinite(scale)) or np.any(scale == 0):
        raise call.lowering_error("its scale is zero or not finite", "check the training")
    return step("BipolarQuant"), *_rescaled(scale)


def multi_threshold(call: Call) -> Steps:
    call.check_number("float32")
    layout = str(call.get("data_layout", "")) or {2: "NC", 3: "NWC", 4: "NCHW"}.get(len(call.shape), "NC")
    axis = layout.index("C") if "C" in layout else 1
    thresholds = call.required(1)
    if thresholds.ndim != 2 or thresholds.shape[0] not in (1, call.shape[axis]) or not thresholds.shape[1]:
        raise call.lowering_error(
            f"its thresholds of shape {thresholds.shape} do not fit {call.shape[axis]} channels",
            "give one row of thresholds, or one for each channel",
        )
    scale, bias = (np.asarray(call.get(*value), np.float32) for value in (("out_scale", 1.0), ("out_bias", 0.0)))
    if not np.isfinite(scale) or scale == 0 or not np.isfinite(bias):
        raise call.lowering_error("its out_scale is zero or not finite", "check the model")
    steps = thresholds.T.reshape(call.along(axis, thresholds.shape[1]))
    least = float(bias) / float(scale)
    if len(steps) == 1 and least == -0.5:  # Two values, one the other's negative: bipolar.
        return step("MultiThreshold", steps, least=-1, unit=2), *_rescaled(scale / 2)
    if least == int(least):
        return step("MultiThreshold", steps, least=int(least), unit=1), *_rescaled(scale)
    return step("MultiThreshold", steps, least=0, unit=1), *_rescaled(scale), step("Add", bias)


def trunc(call: Call) -> Steps:
    call.check_number("float32")
    scale, zero_point = call.required(1), call.required(2)
    in_bits, out_bits = (call.required(i).ravel()[0] for i in (3, len(call.node.input) - 1))
    mode = str(call.get("rounding_mode", "FLOOR")).upper()
    if mode not in operators.ROUNDING_MODES:
        raise call.lowering_error(f"QONNX has no rounding mode {mode}", "train with another one")
    clip: tuple[int, int] | None = None
    if len(call.node.input) >= 6:
        out_scale = call.required(4)
        divisor = np.float32(2) ** np.round(np.log2(out_scale / scale))
        clip = operators.code_range(int(out_bits), bool(call.get("signed", 1)), bool(call.get("narrow", 0)))
        back = zero_point / divisor
    else:
        divisor = np.float32(2.0 ** float(in_bits - out_bits))
        out_scale, back = scale, zero_point
    codes = step("Trunc", scale, zero_point, divisor, clip=clip, rounding_mode=mode)
    return codes, *_rescaled(out_scale, back)
