"""ONNX's and QONNX's operators on NumPy batches, in the precision of their input.

Host steps run them in float32, as the model's reference does. The lowering runs the same code in float64 to find the
decision points of quantizers. A quantizer returns its integer *codes*; its re-scaling is recorded as separate Sub and
Mul steps. Sources: the ONNX operator specification, and qonnx 1.0 ``custom_op.general``.
"""

from collections.abc import Callable

import numpy as np

from .elementwise import UNARY, combine

Array = np.ndarray


def round_to_integer(x: Array, mode: str) -> Array:
    """Round in one of QONNX's modes; HALF_UP and HALF_DOWN are symmetric about zero. Raises KeyError for others."""
    return _ROUNDING[mode.upper()](x)


_ROUNDING: dict[str, Callable[[Array], Array]] = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": np.fix,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + x.dtype.type(0.5)),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - x.dtype.type(0.5)),
}
ROUNDING_MODES = frozenset(_ROUNDING)


def cast(x: Array, *, to: str) -> Array:
    """The elements in another type. ONNX Runtime casts float64 to float16 by way of float32."""
    return x.astype(np.float32).astype(to) if to == "float16" else x.astype(to)


def code_range(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """Minimum and maximum code of QONNX's Quant; signed codes of one bit are -1 and +1."""
    if signed:
        return (-1, 1) if bits == 1 else (-(1 << bits - 1) + narrow, (1 << bits - 1) - 1)
    return 0, (1 << bits) - 1 - narrow


def quant(
    x: Array, scale: Array, zero_point: Array, *, bits: int, signed: bool, narrow: bool, rounding_mode: str
) -> Array:
    """Codes of Quant (IntQuant): divide by the scale, add the zero point, clip, round."""
    codes = x / scale + zero_point
    if bits == 1 and signed:
        return sign(codes)
    low, high = code_range(bits, signed, narrow)
    return round_to_integer(np.clip(codes, codes.dtype.type(low), codes.dtype.type(high)), rounding_mode)


def quantize_linear(x: Array, scale: Array, zero_point: Array, *, low: int, high: int) -> Array:
    """Codes of ONNX's QuantizeLinear: divide by the scale, round to even, add the zero point, saturate.

    Unlike ``quant``, it rounds before it adds the zero point. As in ONNX Runtime, this is a division, and no product
    with the reciprocal.
    """
    codes = np.round(x / scale) + zero_point
    return np.clip(codes, codes.dtype.type(low), codes.dtype.type(high))


def sign(x: Array) -> Array:
    """BipolarQuant's codes: +1 where ``x >= 0``, else -1."""
    return (x >= 0) * x.dtype.type(2) - x.dtype.type(1)


def multi_threshold(x: Array, thresholds: Array, *, least: int, unit: int) -> Array:
    """Codes of MultiThreshold: ``least`` plus ``unit`` times the number of ``thresholds`` not above the element.

    The thresholds of an element are along the first axis; the other axes broadcast against one frame.
    """
    count = np.zeros(x.shape, x.dtype)
    for step in thresholds:
        count += x >= step
    return count * x.dtype.type(unit) + x.dtype.type(least)


def trunc(
    x: Array,
    scale: Array,
    zero_point: Array,
    divisor: Array,
    *,
    clip: tuple[int, int] | None,
    rounding_mode: str,
) -> Array:
    """Codes of Trunc: the integer that ``x`` represents, divided by a power of two. Version 1 has no ``clip``."""
    codes = np.round(x / scale + zero_point) / divisor
    if clip is not None:
        codes = np.clip(codes, codes.dtype.type(clip[0]), codes.dtype.type(clip[1]))
    return round_to_integer(codes, rounding_mode)


def batch_normalization(x: Array, scale: Array, bias: Array, mean: Array, variance: Array, *, epsilon: float) -> Array:
    """``x * k + (bias - mean * k)`` with ``k = scale / sqrt(variance + epsilon)``, in ONNX Runtime's order."""
    factor = scale / np.sqrt(variance + x.dtype.type(epsilon))
    return x * factor + (bias - mean * factor)


def softmax(x: Array, *, axis: int) -> Array:
    shifted = np.exp(x - x.max(axis=axis, keepdims=True))
    return shifted / shifted.sum(axis=axis, keepdims=True)


def log_softmax(x: Array, *, axis: int) -> Array:
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def top_k(x: Array, *, k: int, axis: int, largest: bool, output: int) -> Array:
    """Output 0 (values) or 1 (indices, int64) of TopK; equal values are in the order of their indices."""
    order = np.argsort(-x if largest else x, axis=axis, kind="stable")
    order = np.take(order, np.arange(k), axis=axis)
    return order if output else np.take_along_axis(x, order, axis)


def arg_max(x: Array, *, axis: int, keepdims: bool, last: bool) -> Array:
    index = x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis) if last else np.argmax(x, axis)
    return np.expand_dims(index, axis) if keepdims else index


def _reshape(x: Array, *, shape: tuple[int, ...]) -> Array:
    return x.reshape(len(x), *shape)


def _gather(x: Array, *, axis: int, indices: tuple[int, ...]) -> Array:
    """The elements at constant ``indices`` along an axis, in that order."""
    return np.take(x, np.asarray(indices, np.intp), axis)


OPERATORS: dict[str, Callable[..., Array]] = {
    **UNARY,
    "Add": np.add,
    "ArgMax": arg_max,
    "BatchNormalization": batch_normalization,
    "BipolarQuant": sign,
    "Cast": cast,
    "Combine": combine,
    "Constant": lambda x, value: value,
    "Div": np.divide,
    "Gather": _gather,
    "LogSoftmax": log_softmax,
    "Mul": np.multiply,
    "MultiThreshold": multi_threshold,
    "Quant": quant,
    "QuantizeLinear": quantize_linear,
    "Reshape": _reshape,
    "Softmax": softmax,
    "Sub": np.subtract,
    "TopK": top_k,
    "Transpose": lambda x, *, perm: np.transpose(x, perm),
    "Trunc": trunc,
}
"""By operator, the function of a batch, the constant operands and the attributes.

``Combine`` is a function ``by`` name of the results of several branches (``hw.host.steps``), and ``Constant`` is the
operand, whatever the batch: a branch.
"""

QUANTIZERS = frozenset({"Quant", "QuantizeLinear", "BipolarQuant", "MultiThreshold", "Trunc", "Sign"})
"""Operators that return integer codes."""

RESHAPING = frozenset({"Gather", "Reshape", "Transpose"})
"""Operators that only rearrange elements."""

MONOTONE = QUANTIZERS | RESHAPING | frozenset({
    "Acos", "Acosh", "Add", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip",
    "Div", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "LeakyRelu", "Log", "Mul", "Neg", "PRelu", "Relu", "Round",
    "Selu", "Shrink", "Sigmoid", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu",
})  # fmt: skip
"""Element-wise and monotone, unless their constants make them turn (``hw.lowering.monotone``)."""

ELEMENTWISE = MONOTONE | UNARY.keys() | {"Combine", "Constant"}
"""Element-wise operators."""
