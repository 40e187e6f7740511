"""The multiplier, addend and shift with which a Requant computes a quantizer of many bits on every possible input."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor

import numpy as np

from hw.lowering.affine import floats
from hw.lowering.decision_points import StepFunction

MOST_BITS = 34
"""Widest multiplier, in bits, that the search for an exact one tries if scales are not powers of two (two DSPs)."""
CHEAP_BITS = 17
"""A multiplier of at most this many bits and a sign fits one DSP, so a shorter one would save nothing."""
FAITHFUL_BITS = 26
"""Bits of a factor whose rounding error is below that of float32, which has 24 bits."""
SAMPLE = 32
"""Number of codes on which a candidate is tested first."""
PART = 1 << 16
"""Decision points checked in one array operation; a small number, so that a wrong candidate fails early."""
KEPT = 128
"""Parts of the decision points that are kept from one candidate to the next."""

Kernel = Callable[[np.ndarray], np.ndarray]
Parameters = tuple[np.ndarray, np.ndarray, int]
"""Multiplier and addend (integers of the frame's shape), and shift."""
Make = Callable[[np.ndarray, np.ndarray, int], Kernel | None]
"""From parameters to the function of a kernel with them; None if such a kernel cannot be built."""
Bounds = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From frames to the minimum and maximum code that the model's own arithmetic can lead to."""
SIDES = {
    "FLOOR": "above",
    "CEIL": "below",
    "UP": "inside",
    "HALF_DOWN": "inside",
    "DOWN": "outside",
    "HALF_UP": "outside",
}
"""By rounding mode, the side of an exact value on which a kernel's value rounds to the same integer, also where the
exact value is an integer or a tie: above or below it, or nearer to zero (inside) or farther (outside)."""


def parameters(
    function: StepFunction, slope: np.ndarray, offset: np.ndarray, rounding: str, make: Make, bounds: Bounds
) -> Parameters | None:
    """The parameters of a Requant that computes ``function``; None if there are none.

    ``slope * x + offset`` (Fractions) is the code before it is rounded and clipped. ``bounds`` are the codes that the
    model's own arithmetic can lead to. Three ways are tried in order:

    1. Dyadic slopes (powers of two, for example) are exact by construction.
    2. For others, the smallest shift that is exact. Two step functions that are monotone in the same direction are
       equal on all integers if and only if they agree on both sides of every decision point. That is checked for all
       codes and elements, with the kernel's own arithmetic. Floors and ceilings are searched again with an addend
       that keeps the kernel's value on the right side of the exact one: a value that is an integer stays one.
    3. If that needs more than MOST_BITS, factors of FAITHFUL_BITS. The result differs from ``function`` only where
       the value is so close to a decision point that float32, and therefore the model's reference, can lead to both.
       Where float32 is exact (an integer under a floor, a tie), the result is exact, too. That is also checked on all
       decision points, and ``hw.verification.comparison`` counts such elements.
    """
    cases = _Cases(function, slope, offset)
    exact = _dyadic(slope, offset)
    proven = None if exact is None else make(*exact)
    proven = proven if proven and cases.sample(proven) else None
    if exact is not None and proven and np.abs(exact[0]).max() < 1 << CHEAP_BITS:
        return exact
    sides = dict.fromkeys(("", SIDES.get(rounding.upper(), "")))
    for one in sides:
        found = _search(cases, slope, offset, make, one)
        if found is not None:
            return found
    if proven:
        return exact
    shift = _faithful_shift(function, slope, offset)
    for one in sides:
        multiplier = _multiplier(slope, shift, one) if one else _signed(slope, shift)
        addend = _addend(function, slope, offset, multiplier, shift, one) if one else _signed(offset, shift)
        kernel = make(multiplier, addend, shift)
        if kernel and cases.faithful(kernel, bounds):
            return multiplier, addend, shift
    return None


def _search(cases: "_Cases", slope: np.ndarray, offset: np.ndarray, make: Make, side: str) -> Parameters | None:
    """The exact parameters of the smallest shift, rounded to one ``side``; None if there are none."""
    shift = _first_shift(slope)
    while True:
        multiplier = _multiplier(slope, shift, side)
        if multiplier.dtype == object or np.abs(multiplier).max() >= 1 << MOST_BITS:
            return None
        addend = _addend(cases.function, slope, offset, multiplier, shift, side)
        kernel = None if addend.dtype == object else make(multiplier, addend, shift)
        if kernel is None:
            return None
        if cases.sample(kernel) and cases.all(kernel):
            return multiplier, addend, shift
        shift += 1


def _multiplier(slope: np.ndarray, shift: int, side: str) -> np.ndarray:
    """The multipliers ``slope * 2**shift``, rounded towards zero (``inside``), away from it (``outside``), or to the
    nearest integer."""
    if side not in ("inside", "outside"):
        return _signed(slope, shift, keep=False)
    magnitudes = [abs(value) * (1 << shift) for value in slope.ravel()]
    rounded = [floor(value) if side == "inside" else ceil(value) for value in magnitudes]
    return _integers([-m if a < 0 else m for m, a in zip(rounded, slope.ravel(), strict=True)], slope.shape)


def _addend(
    function: StepFunction, slope: np.ndarray, offset: np.ndarray, multiplier: np.ndarray, shift: int, side: str
) -> np.ndarray:
    """The addends ``offset * 2**shift``, rounded to the nearest integer, or to one ``side`` of SIDES.

    ``above``: the smallest with which the kernel's value is nowhere below the exact one; ``below``: the largest with
    which it is nowhere above. ``inside``, ``outside``: both values are 0 at the same input, or nearly.
    """
    if not side:
        return _signed(offset, shift, keep=False)
    if side in ("inside", "outside"):
        pairs = zip(multiplier.ravel().tolist(), slope.ravel(), offset.ravel(), strict=True)
        return _integers([round(m * b / a if a else b * (1 << shift)) for m, a, b in pairs], offset.shape)
    ends = zip(function.low.ravel().tolist(), function.high.ravel().tolist(), strict=True)
    addends = []
    for factor, add, whole, reach in zip(slope.ravel(), offset.ravel(), multiplier.ravel().tolist(), ends, strict=True):
        needed = [(factor * x + add) * (1 << shift) - whole * x for x in reach]
        addends.append(ceil(max(needed)) if side == "above" else floor(min(needed)))
    return _integers(addends, offset.shape)


class _Cases:
    """The inputs on both sides of a function's decision points and at the ends of its range, with their codes."""

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
        """Whether the kernel computes the function on a sample of the codes."""
        return np.array_equal(kernel(self._few[0]), self._few[1])

    def all(self, kernel: Kernel) -> bool:
        """Whether the kernel computes the function on all codes. A part that fails is tried first next time."""
        for start in self._order:
            frames, codes = self._part(start)
            if not np.array_equal(kernel(frames), codes):
                self._order.remove(start)
                self._order.insert(0, start)
                return False
        return True

    def faithful(self, kernel: Kernel, bounds: Bounds) -> bool:
        """Whether the kernel's codes, and the function's, are within ``bounds`` around all decision points."""
        for start in self._order:
            frames, codes = self._part(start)
            around = np.clip(np.concatenate([frames - 1, frames + 1]), self.function.low, self.function.high)
            low, high = bounds(np.concatenate([frames, around]))
            results = kernel(np.concatenate([frames, around]))
            if np.any(low > results) or np.any(results > high):
                return False
            if np.any(low[: len(codes)] > codes) or np.any(codes > high[: len(codes)]):
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
        """An estimate, from the inverse of the affine part, of the input at which each code is first reached."""
        function = self.function
        code = codes.reshape(-1, *[1] * self.slope.ndim).astype(np.float64)
        edge = np.where(function.falling, function.least + function.most - code + 0.5, code - 0.5)
        at = np.ceil((edge - self.offset) / np.where(self.slope == 0, 1.0, self.slope))
        return np.clip(at, function.low.astype(np.float64), function.high.astype(np.float64)).astype(np.int64)


def _dyadic(slope: np.ndarray, offset: np.ndarray) -> Parameters | None:
    """Exact parameters for slopes whose denominators are powers of two; None for others.

    Offsets need not be dyadic: with one more bit of shift, all integers and ties of the result are even, so an offset
    between two integers can be rounded to the odd one without crossing any of them ("round to odd").
    """
    denominators = [value.denominator for value in slope.ravel()]
    if any(d & (d - 1) for d in denominators):
        return None
    shift = max(d.bit_length() - 1 for d in denominators)
    if any((value * (1 << shift)).denominator != 1 for value in offset.ravel()):
        shift = max(shift + 1, 2)
    multiplier = _signed(slope, shift, keep=False)
    odd = [_to_odd(value * (1 << shift)) for value in offset.ravel()]
    if multiplier.dtype == object or any(abs(value) >= 1 << 62 for value in odd):
        return None
    return multiplier, np.array(odd, np.int64).reshape(offset.shape), shift


def _to_odd(value: Fraction) -> int:
    """A fraction rounded to odd; integers stay."""
    return int(value) if value.denominator == 1 else floor(value) | 1


def _faithful_shift(function: StepFunction, slope: np.ndarray, offset: np.ndarray) -> int:
    """The shift at which products have a relative error below 2**-FAITHFUL_BITS, or that much of the offset or a code.

    So a slope needs fewer bits if its input has a small range.
    """
    reach = np.maximum(np.abs(function.low), np.abs(function.high))
    shift = 0
    for factor, addend, most in zip(slope.ravel(), offset.ravel(), reach.ravel().tolist(), strict=True):
        if factor:
            own, other = -_exponent(factor), most.bit_length() - min(_exponent(addend) if addend else 0, 0)
            shift = max(shift, FAITHFUL_BITS + min(own, other))
    return shift


def _exponent(value: Fraction) -> int:
    """The base-2 logarithm of a fraction's magnitude, with an error of at most one."""
    return abs(value.numerator).bit_length() - value.denominator.bit_length()


def _signed(values: np.ndarray, shift: int, keep: bool = True) -> np.ndarray:
    """``values * 2**shift`` rounded to the nearest integer; with ``keep`` never to 0 unless the value is 0."""
    scaled = [round(value * (1 << shift)) or keep * ((value > 0) - (value < 0)) for value in values.ravel()]
    return _integers(scaled, values.shape)


def _integers(values: list[int], shape: tuple[int, ...]) -> np.ndarray:
    """Integers as int64, or as Python's where that could overflow."""
    number = np.int64 if all(abs(value) < 1 << 62 for value in values) else object
    return np.array(values, number).reshape(shape)


def _first_shift(slope: np.ndarray) -> int:
    """The smallest shift at which no slope rounds to zero; 0 for slopes of at least one."""
    least = min((abs(value) for value in slope.ravel() if value), default=Fraction(1))
    return max(0, -(least.numerator.bit_length() - least.denominator.bit_length()) - 1)
