"""The integers that a layer's sums can reach, decided from its weights alone."""

from dataclasses import dataclass
from math import gcd

import numpy as np

BITS = 1 << 26
"""Limit on the integers between the minimum and the maximum of a sum whose reachable ones are enumerated."""
WORK = 1 << 33
"""Limit on the bits that an enumeration shifts."""


@dataclass(frozen=True, eq=False)
class Terms:
    """A weighted sum of independent integers: ``weights``, and each integer's ``low``, ``high`` and ``step`` (n,).

    ``names`` (n, 2) tell the integers apart: the number of an edge, and the number of an element.
    """

    names: np.ndarray
    weights: np.ndarray
    low: np.ndarray
    high: np.ndarray
    step: np.ndarray

    def scaled(self, factor: int) -> "Terms":
        """The same sum times ``factor``."""
        return Terms(self.names, self.weights * factor, self.low, self.high, self.step)

    def without(self, index: int) -> "Terms":
        """The sum without one of its terms."""
        fields = (self.names, self.weights, self.low, self.high, self.step)
        return Terms(*(np.delete(values, index, axis=0) for values in fields))


def total(parts: list[Terms]) -> Terms:
    """The sum of sums, which may share integers."""
    names = np.concatenate([part.names for part in parts])
    unique, first, index = np.unique(names, axis=0, return_index=True, return_inverse=True)
    weights = np.zeros(len(unique), np.int64)
    np.add.at(weights, index.ravel(), np.concatenate([part.weights for part in parts]))
    low, high, step = (
        np.concatenate([getattr(part, name) for part in parts])[first] for name in ("low", "high", "step")
    )
    return Terms(unique, weights, low, high, step)


class ReachableSums:
    """The values of a sum of ``Terms``.

    A sum is its minimum plus ``sum(n_i * a_i)`` with ``0 <= n_i <= r_i``. With the a_i in increasing order, the values
    are all multiples of their greatest common divisor as long as no a_i exceeds the values below it by more than that;
    further a_i are enumerated in a bit mask (bounded subset sums). So the parity of sums of one-bit inputs, for
    example, is taken into account. ``known`` is False where the range is too large to enumerate; then every multiple
    of the divisor counts as reachable.
    """

    def __init__(self, terms: Terms) -> None:
        count = np.where(terms.step > 0, (terms.high - terms.low) // np.maximum(terms.step, 1), 0)
        some = (terms.weights != 0) & (count > 0)
        ends = terms.weights * terms.low, terms.weights * terms.high
        self.low = int(np.minimum(*ends).sum())
        self.high = int(np.maximum(*ends).sum())
        sizes, counts = np.abs(terms.weights * terms.step)[some].tolist(), count[some].tolist()
        self.divisor = gcd(*sizes) or 1
        coins = sorted((size // self.divisor, number) for size, number in zip(sizes, counts, strict=True))
        full = 0
        while coins and coins[0][0] <= full + 1:
            size, number = coins.pop(0)
            full += size * number
        span = (self.high - self.low) // self.divisor
        pieces = [size * part for size, number in coins for part in _binary(number)]
        self.known = not pieces or (span < BITS and span * len(pieces) < WORK)
        self._mask: int | None = None
        if pieces and self.known:
            mask = (1 << full + 1) - 1
            for piece in pieces:
                mask |= mask << piece
            self._mask = mask

    def any_in(self, low: int, high: int) -> bool:
        """Whether the sum can have a value in ``low..high``."""
        first = -(-(max(low, self.low) - self.low) // self.divisor)
        last = (min(high, self.high) - self.low) // self.divisor
        if first > last:
            return False
        return self._mask is None or (self._mask >> first) & ((1 << last - first + 1) - 1) != 0


def _binary(number: int) -> list[int]:
    """Numbers whose subsets have all sums from 0 to ``number``."""
    parts = []
    part = 1
    while number > 0:
        parts.append(min(part, number))
        number -= part
        part *= 2
    return parts
