"""Multiplier, addend and shift that compute a quantizer of many bits exactly on every reachable integer."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from hw.affine import floats
from hw.decision_points import WORK, StepFunction

MOST_BITS = 48
"""Fractional bits to try for scales that are no power of two."""
SAMPLE = 32
"""Codes that a candidate is tried on before all of them."""

Candidate = Callable[[np.ndarray, np.ndarray, int], "Callable[[np.ndarray], np.ndarray] | None"]
"""Multiplier, addend (int64, of the frame's shape), shift -> what such a kernel computes; None if it cannot be."""


def parameters(
    function: StepFunction, slope: np.ndarray, offset: np.ndarray, make: Candidate
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """``multiplier``, ``addend`` (int64, of the frame's shape) and ``shift`` with the fewest bits that are exact.

    ``slope`` and ``offset`` (Fractions) are the code before rounding and clipping. Two monotone step functions
    that run the same way are equal on all integers if and only if they agree on both sides of every decision
    point, which is what is checked, all codes and all elements, with the kernel's own arithmetic. None: no
    number of bits does it.
    """
    exact = _exact_shift(slope, offset)
    every = np.arange(function.least + 1, function.most + 1)
    few = every[np.unique(np.linspace(0, len(every) - 1, SAMPLE).astype(int))] if len(every) else every
    near = _inverse(function, slope, offset)
    sides = _sides(function, few, near)
    start = _first_shift(slope)
    shifts = range(start, max(start, exact if exact is not None else MOST_BITS) + 1)
    for shift in shifts:
        multiplier, addend = (_scaled(values, shift) for values in (slope, offset))
        if multiplier is None or addend is None:
            return None
        kernel = make(multiplier, addend, shift)
        if kernel is None:
            return None
        if _agree(function, kernel, *sides) and _all_agree(function, kernel, every, near):
            return multiplier, addend, shift
    return None


def _exact_shift(slope: np.ndarray, offset: np.ndarray) -> int | None:
    """Fractional bits that hold every slope and offset exactly; None where one is not dyadic."""
    denominators = {value.denominator for values in (slope, offset) for value in values.ravel()}
    if any(d & (d - 1) for d in denominators):
        return None
    return max(d.bit_length() - 1 for d in denominators)


def _first_shift(slope: np.ndarray) -> int:
    """The least shift at which no slope rounds to zero (and 0 for slopes of one and more)."""
    least = min((abs(value) for value in slope.ravel() if value), default=Fraction(1))
    return max(0, -(least.numerator.bit_length() - least.denominator.bit_length()) - 1)


def _scaled(values: np.ndarray, shift: int) -> np.ndarray | None:
    """``values * 2**shift`` to the nearest int64; None where that does not fit."""
    scaled = [round(value * (1 << shift)) for value in values.ravel()]
    if any(abs(value) >= 1 << 62 for value in scaled):
        return None
    return np.array(scaled, np.int64).reshape(values.shape)


def _inverse(function: StepFunction, slope: np.ndarray, offset: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """About where each of some codes is reached first, by the inverse of the affine part."""
    by = floats(slope)
    safe = np.where(by == 0, 1.0, by)
    base = floats(offset)

    def guess(codes: np.ndarray) -> np.ndarray:
        code = codes.reshape(-1, *[1] * base.ndim).astype(np.float64)
        edge = np.where(function.falling, function.least + function.most - code + 0.5, code - 0.5)
        at = np.ceil((edge - base) / safe)
        return np.clip(at, function.low.astype(np.float64), function.high.astype(np.float64)).astype(np.int64)

    return guess


def _sides(
    function: StepFunction, codes: np.ndarray, near: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, and the reachable inputs on the two sides of their decision points."""
    points = function.points(codes, near(codes))
    return codes, np.maximum(points - 1, function.low), np.minimum(points, function.high)


def _agree(
    function: StepFunction,
    kernel: Callable[[np.ndarray], np.ndarray],
    codes: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> bool:
    """Whether the kernel computes the function on both sides, and at the ends of the range."""
    ends = np.stack([function.low, function.high])
    if not np.array_equal(kernel(ends), function.codes(ends)):
        return False
    return all(np.array_equal(kernel(side), function.codes(side)) for side in (after, before)) if len(codes) else True


def _all_agree(
    function: StepFunction,
    kernel: Callable[[np.ndarray], np.ndarray],
    codes: np.ndarray,
    near: Callable[[np.ndarray], np.ndarray],
) -> bool:
    size = max(1, WORK // function.low.size)
    return all(
        _agree(function, kernel, *_sides(function, codes[i : i + size], near)) for i in range(0, len(codes), size)
    )
