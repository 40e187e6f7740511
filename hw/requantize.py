"""Multiplier, addend and shift that compute a quantizer of many bits exactly on every reachable integer."""

from collections.abc import Callable
from fractions import Fraction
from math import floor

import numpy as np

from hw.affine import floats
from hw.decision_points import StepFunction

MOST_BITS = 48
"""Fractional bits to try for scales that are no power of two."""
CHEAP_BITS = 17
"""Multipliers of up to so many bits and a sign are not worth shortening: one DSP."""
SAMPLE = 32
"""Codes that a candidate is tried on before all of them."""

PART = 1 << 16
"""Decision points that are tried at a time: few, so that a wrong candidate is soon found out."""
KEPT = 128
"""Parts that are kept between candidates."""

Kernel = Callable[[np.ndarray], np.ndarray]
Candidate = Callable[[np.ndarray, np.ndarray, int], Kernel | None]
"""Multiplier, addend (int64, of the frame's shape), shift -> what such a kernel computes; None if it cannot be."""


def parameters(
    function: StepFunction, slope: np.ndarray, offset: np.ndarray, make: Candidate
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """``multiplier``, ``addend`` (int64, of the frame's shape) and ``shift`` that are exact; None if there are none.

    ``slope`` and ``offset`` (Fractions) are the code before rounding and clipping. For slopes that are powers of two
    (or any dyadic numbers) they are exact by construction. For others, more and more bits are tried: two monotone
    step functions that run the same way are equal on all integers if and only if they agree on both sides of every
    decision point, and that is checked, for all codes and elements, with the kernel's own arithmetic.
    """
    cases = _Cases(function, slope, offset)
    exact = _dyadic(slope, offset)

    def build(values: tuple[np.ndarray, np.ndarray, int] | None) -> Kernel | None:
        return None if values is None else make(*values)

    proven = build(exact)
    if exact is not None and np.abs(exact[0]).max() < 1 << CHEAP_BITS and proven and cases.sample(proven):
        return exact
    start = _first_shift(slope)
    for shift in range(start, start + MOST_BITS if exact is None else exact[2]):
        multiplier, addend = (_scaled(values, shift) for values in (slope, offset))
        if multiplier is None or addend is None:
            break
        kernel = make(multiplier, addend, shift)
        if kernel is None:
            break
        if cases.sample(kernel) and cases.all(kernel):
            return multiplier, addend, shift
    return exact if proven and cases.sample(proven) else None


class _Cases:
    """Inputs on both sides of a function's decision points, and at the ends of its range, with their codes."""

    def __init__(self, function: StepFunction, slope: np.ndarray, offset: np.ndarray) -> None:
        self.function = function
        self.slope, self.offset = floats(slope), floats(offset)
        self.codes = np.arange(function.least + 1, function.most + 1)
        self.size = max(1, PART // function.low.size)
        few = self.codes[np.unique(np.linspace(0, len(self.codes) - 1, SAMPLE).astype(int))]
        self._few = self._sides(few)
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._order = list(range(0, len(self.codes), self.size))

    def sample(self, kernel: Kernel) -> bool:
        """Whether the kernel is right on some codes."""
        return np.array_equal(kernel(self._few[0]), self._few[1])

    def all(self, kernel: Kernel) -> bool:
        """Whether the kernel is right on all codes. What it fails on, the next one is tried on first."""
        for start in self._order:
            frames, codes = self._part(start)
            if not np.array_equal(kernel(frames), codes):
                self._order.remove(start)
                self._order.insert(0, start)
                return False
        return True

    def _part(self, start: int) -> tuple[np.ndarray, np.ndarray]:
        if start in self._kept:
            return self._kept[start]
        part = self._sides(self.codes[start : start + self.size])
        if len(self._kept) < KEPT:
            self._kept[start] = part
        return part

    def _sides(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.function.low, self.function.high
        points = self.function.points(codes, self._near(codes))
        frames = np.concatenate([np.stack([low, high]), np.maximum(points - 1, low), np.minimum(points, high)])
        return frames, self.function.codes(frames)

    def _near(self, codes: np.ndarray) -> np.ndarray:
        """About where each code is reached first, by the inverse of the affine part."""
        function = self.function
        code = codes.reshape(-1, *[1] * self.slope.ndim).astype(np.float64)
        edge = np.where(function.falling, function.least + function.most - code + 0.5, code - 0.5)
        at = np.ceil((edge - self.offset) / np.where(self.slope == 0, 1.0, self.slope))
        return np.clip(at, function.low.astype(np.float64), function.high.astype(np.float64)).astype(np.int64)


def _dyadic(slope: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Exact parameters for slopes whose denominators are powers of two; None for others.

    Offsets need not be exact: with one more bit of shift all ties and integers are even, and an offset that lies
    between two integers is taken to the odd one, on the same side of them all ("round to odd").
    """
    denominators = [value.denominator for value in slope.ravel()]
    if any(d & (d - 1) for d in denominators):
        return None
    shift = max(d.bit_length() - 1 for d in denominators)
    if any((value * (1 << shift)).denominator != 1 for value in offset.ravel()):
        shift = max(shift + 1, 2)
    multiplier = _scaled(slope, shift)
    odd = [_to_odd(value * (1 << shift)) for value in offset.ravel()]
    if multiplier is None or any(abs(value) >= 1 << 62 for value in odd):
        return None
    return multiplier, np.array(odd, np.int64).reshape(offset.shape), shift


def _to_odd(value: Fraction) -> int:
    return int(value) if value.denominator == 1 else floor(value) | 1


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
