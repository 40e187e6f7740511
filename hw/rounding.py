"""What float32 rounding may make of a value: interval arithmetic over the steps of a chain.

The reference computes in float32 what lowering computes exactly. An interval that starts from the exact value
and is widened by every operation's rounding holds whatever the reference can get, in any order of summation.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hw.host import HostStep, run
from hw.operators import QUANTIZERS, RESHAPING
from hw.wires import Wire

ULP = 2.0**-23
"""Twice the largest relative error of one float32 operation."""
FUNCTION_ULP = 2.0**-20
"""The same for ONNX Runtime's approximations of exp, tanh and the like, with room; also absolute."""
APPROXIMATED = frozenset({"Sigmoid", "Tanh", "Exp", "Elu", "Selu", "Softplus", "Softsign", "Softmax"})

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
    error = (size + 8) * ULP / 2 * (np.maximum(np.abs(low), np.abs(high)) @ product.magnitudes)
    error += (high - low) / 2 @ product.magnitudes
    value = run(wire.steps[: product.steps], exact)
    return through(wire.steps[product.steps :], (value - error, value + error))


def through(steps: Iterable[HostStep], bounds: Interval) -> Interval:
    """Bounds behind some steps."""
    with np.errstate(all="ignore"):
        for step in steps:
            bounds = _step(step, *bounds)
    return bounds


def _step(step: HostStep, low: np.ndarray, high: np.ndarray) -> Interval:
    if step.op in RESHAPING or step.op == "Cast":
        return step(low), step(high)
    if step.op in QUANTIZERS:
        if step.op in ("Quant", "Trunc"):
            error = ULP * _scaled_magnitude(step, low, high)
            low, high = low - error, high + error
        return _ordered(step(low), step(high))
    if step.op == "TopK":
        return step(low), step(high)
    if step.op == "Softmax":
        return _softmax(step, low, high)
    first, last = _ordered(step(low), step(high))
    if step.op == "Abs":
        first = np.where((low < 0) & (high > 0), 0.0, first)
    if step.op == "HardSwish":
        first = np.where((low < -1.5) & (high > -1.5), -0.375, first)
    magnitude = np.maximum(np.abs(first), np.abs(last))
    if step.op == "BatchNormalization":
        magnitude = magnitude + 4 * _batch_norm_magnitude(step, low, high)
    if step.op == "HardSigmoid":
        magnitude = magnitude + 2
    error = FUNCTION_ULP * (1 + magnitude) if step.op in APPROXIMATED else ULP * magnitude
    return first - error, last + error


def _ordered(a: np.ndarray, b: np.ndarray) -> Interval:
    return np.minimum(a, b), np.maximum(a, b)


def _scaled_magnitude(step: HostStep, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Error of ``x / scale + zero_point`` in units of ULP, in terms of ``x``."""
    scale, zero_point = (operand.astype(np.float64) for operand in step.operands[:2])
    return 2 * np.maximum(np.abs(low), np.abs(high)) + np.abs(zero_point * scale)


def _batch_norm_magnitude(step: HostStep, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    scale, bias, mean, variance = (operand.astype(np.float64) for operand in step.operands)
    factor = np.abs(scale / np.sqrt(variance + dict(step.attributes)["epsilon"]))
    tail = (1,) * (low.ndim - 2)
    factor, offset = (v.reshape(-1, *tail) for v in (factor, np.abs(bias) + np.abs(mean) * factor))
    return np.maximum(np.abs(low), np.abs(high)) * factor + offset


def _softmax(step: HostStep, low: np.ndarray, high: np.ndarray) -> Interval:
    """Every exponential is off by at most its own interval's width, and so is their sum."""
    middle = step((low + high) / 2)
    axis: int = dict(step.attributes)["axis"]
    spread = np.exp((high - low).max(axis=axis, keepdims=True)) - 1
    error = middle * (spread + FUNCTION_ULP) + FUNCTION_ULP * ULP
    return middle - error, middle + error
