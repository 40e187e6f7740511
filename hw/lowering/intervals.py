"""Interval arithmetic of functions of several tensors: the results that inputs between bounds can have.

A range is a pair of arrays, its lower and upper bounds. That of a condition is a pair of truth values: whether it
holds certainly, and whether it can hold. Bounds that are not numbers bound nothing.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product

import numpy as np

from hw.host.steps import HostStep

Range = tuple[np.ndarray, np.ndarray]


def combined_range(by: str, given: Sequence[Range]) -> Range:
    """Bounds on a function of COMBINERS (``hw.host.elementwise``), without the rounding of its result."""
    with np.errstate(all="ignore"):
        return _COMBINED[by](*given)


def condition(step: HostStep, low: np.ndarray, high: np.ndarray) -> Range:
    """The condition IsNaN or IsInf of values between two bounds."""
    if step.op == "IsNaN":
        unknown = np.isnan(low) | np.isnan(high) | np.isinf(low) | np.isinf(high)
        return np.isnan(low) & np.isnan(high), unknown
    unknown = ~(np.isfinite(low) & np.isfinite(high))
    return np.zeros_like(unknown), unknown


def _corners(function: Callable[[np.ndarray, np.ndarray], np.ndarray], a: Range, b: Range) -> Range:
    """Bounds on a function that is monotone in each of its operands."""
    values = [function(one, other) for one, other in product(a, b)]
    return reduce(np.minimum, values), reduce(np.maximum, values)


def _where(unknown: np.ndarray, bounds: Range) -> Range:
    """The bounds, and none where they are ``unknown``."""
    return np.where(unknown, -np.inf, bounds[0]), np.where(unknown, np.inf, bounds[1])


def _mul(a: Range, b: Range) -> Range:
    return _corners(np.multiply, a, b)


def _div(a: Range, b: Range) -> Range:
    return _where(~((b[0] > 0) | (b[1] < 0)), _corners(np.divide, a, b))


def _pow(a: Range, b: Range) -> Range:
    """Powers of positive bases are monotone in both; of other bases only whole exponents are computed."""
    low, high = _corners(np.power, a, b)
    exponent = b[0]
    whole = (b[0] == b[1]) & (exponent == np.floor(exponent)) & (exponent >= 0)
    even = whole & (exponent % 2 == 0)
    low = np.where(even & (a[0] < 0) & (a[1] > 0), 0.0, low)
    high = np.where(whole & (exponent == 0), np.fmax(high, 1.0), high)
    return _where(~((a[0] > 0) | ((a[0] == 0) & (b[0] > 0)) | whole), (low, high))


def _mod(a: Range, b: Range) -> Range:
    """The remainder has the sign of the dividend, and is smaller than the divisor."""
    least = np.fmin(np.fmod(a[0], b[0]), np.fmod(a[1], b[0]))
    most = np.fmax(np.fmod(a[0], b[0]), np.fmod(a[1], b[0]))
    known = (b[0] == b[1]) & (np.trunc(a[0] / b[0]) == np.trunc(a[1] / b[0]))
    size = np.maximum(np.abs(b[0]), np.abs(b[1]))
    low = np.where(known, least, np.where(a[0] < 0, -size, 0.0))
    high = np.where(known, most, np.where(a[1] > 0, size, 0.0))
    return _where(np.isnan(a[0]) | np.isnan(a[1]) | np.isnan(size), (low, high))


def _p_relu(x: Range, slope: Range) -> Range:
    below = _mul((np.minimum(x[0], 0.0), np.minimum(x[1], 0.0)), slope)
    positive, negative = x[0] >= 0, x[1] < 0
    low = np.where(positive, x[0], np.where(negative, below[0], np.minimum(below[0], 0.0)))
    high = np.where(positive, x[1], np.where(negative, below[1], np.maximum(below[1], np.maximum(x[1], 0.0))))
    return _where(np.isnan(x[0]) | np.isnan(x[1]), (low, high))


def _choose(holds: Range, a: Range, b: Range) -> Range:
    certain, possible = holds
    low = np.where(certain, a[0], np.where(possible, np.minimum(a[0], b[0]), b[0]))
    high = np.where(certain, a[1], np.where(possible, np.maximum(a[1], b[1]), b[1]))
    return low, high


def _equal(a: Range, b: Range) -> Range:
    if a[0].dtype == bool:
        certain, possible = _xor(a, b)
        return ~possible, ~certain
    return (a[0] == a[1]) & (b[0] == b[1]) & (a[0] == b[0]), ~((a[0] > b[1]) | (a[1] < b[0]))


def _greater(a: Range, b: Range) -> Range:
    return a[0] > b[1], ~(a[1] <= b[0])


def _greater_or_equal(a: Range, b: Range) -> Range:
    return a[0] >= b[1], ~(a[1] < b[0])


def _xor(a: Range, b: Range) -> Range:
    known = (a[0] == a[1]) & (b[0] == b[1])
    return known & (a[0] ^ b[0]), ~known | (a[0] ^ b[0])


def _both(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., Range]:
    """A function that does not decrease in any operand."""

    def bounds(*given: Range) -> Range:
        return reduce(function, [low for low, _ in given]), reduce(function, [high for _, high in given])

    return bounds


def _mean(*given: Range) -> Range:
    low, high = _both(np.add)(*given)
    return low / len(given), high / len(given)


_COMBINED: dict[str, Callable[..., Range]] = {
    "Add": _both(np.add),
    "And": _both(np.logical_and),
    "Div": _div,
    "Equal": _equal,
    "Greater": _greater,
    "GreaterOrEqual": _greater_or_equal,
    "Less": lambda a, b: _greater(b, a),
    "LessOrEqual": lambda a, b: _greater_or_equal(b, a),
    "Max": _both(np.maximum),
    "Mean": _mean,
    "Min": _both(np.minimum),
    "Mod": _mod,
    "Mul": _mul,
    "Or": _both(np.logical_or),
    "PRelu": _p_relu,
    "Pow": _pow,
    "Sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "Sum": _both(np.add),
    "Where": _choose,
    "Xor": _xor,
}
