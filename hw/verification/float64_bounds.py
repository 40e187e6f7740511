"""Bounds on exact real numbers in float64: operations that round are detected, and widen the bounds outward."""

from dataclasses import dataclass

import numpy as np

SPLITTER = 2.0**27 + 1
"""Veltkamp's constant: splits a float64 into two halves whose products are exact."""


@dataclass(frozen=True, eq=False)
class Bounds:
    """Lower and upper bounds, float64 arrays of one shape; equal where the value is known exactly."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def exactly(cls, values: np.ndarray) -> "Bounds":
        """Bounds of known values."""
        known = np.asarray(values, np.float64)
        return cls(known, known)

    @property
    def exact(self) -> bool:
        """Whether all values are known."""
        return self.low is self.high or bool(np.array_equal(self.low, self.high))

    @property
    def middle(self) -> np.ndarray:
        return self.low if self.low is self.high else self.low / 2 + self.high / 2

    @property
    def radius(self) -> np.ndarray:
        """At least the distance from ``middle`` to either bound."""
        if self.low is self.high:
            return np.zeros_like(self.low)
        return np.nextafter(self.high - self.low, np.inf)

    def __add__(self, other: "Bounds") -> "Bounds":
        return _outward(*(_sum(*sides) for sides in ((self.low, other.low), (self.high, other.high))))

    def __neg__(self) -> "Bounds":
        return Bounds(-self.high, -self.low) if self.low is not self.high else Bounds.exactly(-self.low)

    def __sub__(self, other: "Bounds") -> "Bounds":
        return self + -other

    def __mul__(self, other: "Bounds") -> "Bounds":
        corners = [_product(one, two) for one in self._sides() for two in other._sides()]
        return _outward(*corners)

    def __truediv__(self, other: "Bounds") -> "Bounds":
        """The quotient by values other than 0, whose bounds have one sign."""
        return _outward(*(_quotient(one, two) for one in self._sides() for two in other._sides()))

    def widened(self, error: np.ndarray) -> "Bounds":
        """Bounds that also hold values up to ``error`` away."""
        if not np.any(error):
            return self
        return Bounds(np.nextafter(self.low - error, -np.inf), np.nextafter(self.high + error, np.inf))

    def _sides(self) -> tuple[np.ndarray, ...]:
        return (self.low,) if self.low is self.high else (self.low, self.high)


def _outward(*corners: tuple[np.ndarray, np.ndarray]) -> Bounds:
    """The hull of rounded values; each comes with a mask of those that are exact."""
    lows = [np.where(exact, value, np.nextafter(value, -np.inf)) for value, exact in corners]
    highs = [np.where(exact, value, np.nextafter(value, np.inf)) for value, exact in corners]
    low, high = np.minimum.reduce(lows), np.maximum.reduce(highs)
    return Bounds.exactly(low) if np.array_equal(low, high) else Bounds(low, high)


def _sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rounded sum and whether it is exact (Knuth's TwoSum)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part) == 0


def _halves(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    high = a * SPLITTER
    high = high - (high - a)
    return high, a - high


def _product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rounded product and whether it is exact (Dekker's TwoProduct)."""
    product = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2 == 0


def _quotient(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rounded quotient and whether it is exact."""
    quotient = a / b
    product, exact = _product(quotient, b)
    return quotient, exact & (product == a)
