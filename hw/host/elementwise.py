"""ONNX's element-wise functions on NumPy arrays, of one tensor and of several, in the precision of their input.

Functions that NumPy lacks, and those whose float32 result would lose digits, are computed in float64 and rounded once.
Source: the ONNX operator specification, operator sets 7 to 26.
"""

import math
from collections.abc import Callable
from functools import reduce

import numpy as np

Array = np.ndarray
Function = Callable[..., Array]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def in_float64(function: Function) -> Function:
    """The function computed in float64 and rounded once to the type of its first operand."""

    def compute(x: Array, *operands: Array, **attributes: float) -> Array:
        wide = function(x.astype(np.float64), *(np.asarray(value, np.float64) for value in operands), **attributes)
        return wide.astype(x.dtype)

    return compute


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


def clip(x: Array, low: Array, high: Array) -> Array:
    return np.minimum(np.maximum(x, low), high)


def leaky_relu(x: Array, *, alpha: float) -> Array:
    return np.where(x >= 0, x, x * x.dtype.type(alpha))


def p_relu(x: Array, slope: Array) -> Array:
    return np.where(x >= 0, x, x * slope)


def elu(x: Array, *, alpha: float) -> Array:
    return np.where(x >= 0, x, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0)))


def celu(x: Array, *, alpha: float) -> Array:
    return np.where(x >= 0, x, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0) / x.dtype.type(alpha)))


def selu(x: Array, *, alpha: float, gamma: float) -> Array:
    return x.dtype.type(gamma) * elu(x, alpha=alpha)


def hard_sigmoid(x: Array, *, alpha: float, beta: float) -> Array:
    return np.clip(x * x.dtype.type(alpha) + x.dtype.type(beta), 0, 1)


def hard_swish(x: Array) -> Array:
    return x * hard_sigmoid(x, alpha=1 / 6, beta=0.5)


def softplus(x: Array) -> Array:
    return np.logaddexp(x, x.dtype.type(0))


def gelu(x: Array, *, approximate: str) -> Array:
    """``x * P(X <= x)`` of a standard normal X, or its approximation by ``tanh``."""
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def swish(x: Array, *, alpha: float) -> Array:
    return x * sigmoid(alpha * x)


def mish(x: Array) -> Array:
    return x * np.tanh(softplus(x))


def thresholded_relu(x: Array, *, alpha: float) -> Array:
    return np.where(x > x.dtype.type(alpha), x, x.dtype.type(0))


def shrink(x: Array, *, lambd: float, bias: float) -> Array:
    """``x`` moved towards 0 by ``bias`` outside of ``-lambd..lambd``, and 0 inside."""
    bound, move = x.dtype.type(lambd), x.dtype.type(bias)
    return np.where(x < -bound, x + move, np.where(x > bound, x - move, x.dtype.type(0)))


def is_inf(x: Array, *, negative: bool, positive: bool) -> Array:
    return np.isinf(x) & ((x > 0) & positive | (x < 0) & negative)


def power(x: Array, exponent: Array) -> Array:
    """``x ** exponent``; squares and cubes are products, as in ONNX Runtime."""
    if exponent.size == 1 and exponent.ravel()[0] in (2, 3):
        return x * x if exponent.ravel()[0] == 2 else x * x * x
    return in_float64(np.power)(x, exponent)


def mean(*operands: Array) -> Array:
    total: Array = reduce(np.add, operands)
    return total / total.dtype.type(len(operands))


def where(condition: Array, a: Array, b: Array) -> Array:
    return np.where(condition, a, b)


UNARY: dict[str, Function] = {
    "Abs": np.abs,
    "Acos": in_float64(np.arccos),
    "Acosh": in_float64(np.arccosh),
    "Asin": in_float64(np.arcsin),
    "Asinh": in_float64(np.arcsinh),
    "Atan": in_float64(np.arctan),
    "Atanh": in_float64(np.arctanh),
    "Ceil": np.ceil,
    "Celu": celu,
    "Clip": clip,
    "Cos": in_float64(np.cos),
    "Cosh": in_float64(np.cosh),
    "Elu": elu,
    "Erf": in_float64(_erf),
    "Exp": np.exp,
    "Floor": np.floor,
    "Gelu": in_float64(gelu),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "IsInf": is_inf,
    "IsNaN": np.isnan,
    "LeakyRelu": leaky_relu,
    "Log": in_float64(np.log),
    "Mish": in_float64(mish),
    "Neg": np.negative,
    "Not": np.logical_not,
    "PRelu": p_relu,
    "Reciprocal": lambda x: x.dtype.type(1) / x,
    "Relu": lambda x: np.maximum(x, 0),
    "Round": np.round,
    "Selu": selu,
    "Shrink": shrink,
    "Sigmoid": sigmoid,
    "Sign": np.sign,
    "Sin": in_float64(np.sin),
    "Sinh": in_float64(np.sinh),
    "Softplus": softplus,
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Sqrt": np.sqrt,
    "Swish": in_float64(swish),
    "Tan": in_float64(np.tan),
    "Tanh": np.tanh,
    "ThresholdedRelu": thresholded_relu,
}
"""Functions of one tensor; the operands of some are constant."""

COMBINERS: dict[str, Function] = {
    "Add": np.add,
    "And": np.logical_and,
    "Div": np.divide,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Max": lambda *given: reduce(np.maximum, given),
    "Mean": mean,
    "Min": lambda *given: reduce(np.minimum, given),
    "Mod": np.fmod,
    "Mul": np.multiply,
    "Or": np.logical_or,
    "PRelu": p_relu,
    "Pow": power,
    "Sub": np.subtract,
    "Sum": lambda *given: reduce(np.add, given),
    "Where": where,
    "Xor": np.logical_xor,
}
"""Functions of several tensors, each of which may be constant."""


def combine(*given: Array, by: str) -> Array:
    """A function of COMBINERS."""
    return COMBINERS[by](*given)
