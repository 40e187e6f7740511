"""What float32 rounding may make of a value: interval arithmetic over the steps of a chain.

The reference computes in float32 what lowering computes exactly. An interval that starts from the exact value
and is widened by every operation's rounding holds whatever the reference can get, in any order of summation.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hw.host import HostStep, run
from hw.operators import QUANTIZERS, RESHAPING
from hw.wires import Wire, to_float32

ULP = 2.0**-23
"""Twice the largest relative error of one float32 operation."""
FUNCTION_ULP = 2.0**-20
"""The same for ONNX Runtime's approximations of exp, tanh and the like, with room; also absolute."""
APPROXIMATED = frozenset({"Sigmoid", "Tanh", "Exp", "Elu", "Selu", "Softplus", "Softsign"})

Interval = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix product: the wire it reads, its real weights' magnitudes (K, M), and how many of the steps behind it
    (scale and offset) belong to the product itself."""

    source: Wire
    magnitudes: np.ndarray
    steps: int


def interval(wire: Wire, integers: dict[str, np.ndarray], products: dict[str, Product]) -> Interval:
    """Bounds of the reference's values of a wire, given exact integers by edge."""
    exact = integers[wire.edge].astype(np.float64)
    product = products.get(wire.edge)
    if product is None:
        return through(wire.steps, (exact, exact))
    low, high = interval(product.source, integers, products)
    size = len(product.magnitudes)
    largest = np.maximum(np.abs(low), np.abs(high)) @ product.magnitudes
    error = (size + 8) * ULP / 2 * largest + (high - low) / 2 @ product.magnitudes
    # Sums of multiples of one power of two that stay below 2**24 of them are exact, in any order.
    grid = _lowest_bit(low, -1)[..., None] * _lowest_bit(product.magnitudes, 0)
    unrounded = (largest < grid * 2.0**24) & (low == high).all(axis=-1, keepdims=True)
    value = run(wire.steps[: product.steps], exact)
    error = np.where(unrounded, 0.0, error).reshape(value.shape)
    return through(wire.steps[product.steps :], (value - error, value + error))


def _lowest_bit(values: np.ndarray, axis: int) -> np.ndarray:
    """The greatest power of two that divides all values along an axis."""
    mantissa, exponent = np.frexp(values)
    whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = np.ldexp((whole & -whole).astype(np.float64), exponent - 53)
    return np.where(values == 0, np.inf, lowest).min(axis=axis)


def _is_float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) == values


def through(steps: Iterable[HostStep], bounds: Interval) -> Interval:
    """Bounds behind some steps."""
    with np.errstate(all="ignore"):
        for step in steps:
            bounds = _step(step, *bounds)
    return bounds


def _step(step: HostStep, low: np.ndarray, high: np.ndarray) -> Interval:
    if to_float32(step):
        return low, high  # The product's own error covers it.
    if step.op in RESHAPING or step.op == "Cast":
        return step(low), step(high)
    if step.op in QUANTIZERS:
        error = _scaling_error(step, low, high) if step.op in ("Quant", "Trunc") else np.float64(0)
        return _ordered(step(low - error), step(high + error))
    if step.op == "TopK":
        return step(low), step(high)
    if step.op in ("Softmax", "LogSoftmax"):
        return _softmax(step, low, high)
    first, last = _ordered(step(low), step(high))
    if step.op == "Abs":
        first = np.where((low < 0) & (high > 0), 0.0, first)
    if step.op == "HardSwish":
        first = np.where((low < -1.5) & (high > -1.5), -0.375, first)
    error = _error(step, low, high, np.maximum(np.abs(first), np.abs(last)))
    return first - error, last + error


def _error(step: HostStep, low: np.ndarray, high: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """How far from a step's own result its float32 result may be."""
    if step.op in APPROXIMATED:
        return FUNCTION_ULP * (1 + magnitude)
    if step.op == "HardSigmoid":
        return ULP * (2 + magnitude)
    exact = (low == high) & _is_float32(magnitude)
    if step.op == "BatchNormalization":
        scale, bias, mean, variance = (operand.astype(np.float64) for operand in step.operands)
        factor = scale / np.sqrt(variance + dict(step.attributes)["epsilon"])
        parts = [
            np.reshape(part, (-1, *(1,) * (low.ndim - 2)))
            for part in (factor, mean * factor, bias, bias - mean * factor)
        ]
        product = np.maximum(np.abs(low), np.abs(high)) * parts[0]
        for part in (*parts, product):
            exact &= _is_float32(part)
        magnitude = magnitude + 4 * (np.abs(product) + np.abs(parts[1]) + np.abs(parts[2]))
    return np.where(exact, 0.0, ULP * magnitude)


def _scaling_error(step: HostStep, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Error of ``x / scale + zero_point``, as one of ``x``."""
    scale, zero_point = (operand.astype(np.float64) for operand in step.operands[:2])
    largest = np.maximum(np.abs(low), np.abs(high))
    exact = (low == high) & _is_float32(low / scale) & _is_float32(low / scale + zero_point)
    return np.where(exact, 0.0, ULP * (2 * largest + np.abs(zero_point * scale)))


def _ordered(a: np.ndarray, b: np.ndarray) -> Interval:
    return np.minimum(a, b), np.maximum(a, b)


def _softmax(step: HostStep, low: np.ndarray, high: np.ndarray) -> Interval:
    """No logarithm is off by more than its own error and the largest one; an exponential is off by a factor."""
    middle = step((low + high) / 2)
    spread = (high - low).max(axis=dict(step.attributes)["axis"], keepdims=True) + FUNCTION_ULP
    error = middle * np.expm1(spread) + ULP**2 if step.op == "Softmax" else spread + FUNCTION_ULP * np.abs(middle)
    return middle - error, middle + error
