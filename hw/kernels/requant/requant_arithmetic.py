"""The arithmetic of a requant with the minimum number of bits: on integers of any size, and in the form of hardware."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np


class Product(NamedTuple):
    """The multipliers and addends in the form that the hardware stores.

    ``codes`` of ``bits`` bits represent the multipliers, one per channel. With ``power`` a code is a sign above an
    exponent, for ``(~x if sign else x) << exponent + scale``; ``addends`` then include the 1 that the complement lacks.
    Otherwise a code is a factor, for ``x * code << scale`` (0 bits: all factors are 1).
    """

    bits: int
    codes: list[int]
    addends: list[int]
    power: bool
    scale: int

    @property
    def addend_bits(self) -> int:
        """Bits of the addends; 0 if all of them are 0."""
        return signed_bits(min(self.addends), max(self.addends)) if any(self.addends) else 0


def signed_bits(low: int, high: int) -> int:
    """Width of the two's complement that holds ``low..high``."""
    return 1 + max(high.bit_length() if high >= 0 else 0, (-low - 1).bit_length() if low < 0 else 0)


def _zeros(number: int) -> int:
    """Number of trailing zero bits."""
    return (number & -number).bit_length() - 1


@dataclass(frozen=True)
class Arithmetic:
    """``round((x * multipliers + addends) / 2**shift)``, with one multiplier and addend per channel."""

    multipliers: list[int]
    addends: list[int]
    shift: int
    rounding: str
    low: int
    high: int

    def shortened(self) -> Self:
        """The same function in fewer bits."""
        multipliers, addends, shift, rounding = self.multipliers, self.addends, self.shift, self.rounding
        common = 1 << shift
        for value in (*multipliers, *addends):
            common |= value
        zeros = _zeros(common)
        multipliers, addends = [m >> zeros for m in multipliers], [a >> zeros for a in addends]
        shift -= zeros
        if shift == 0:
            rounding = "FLOOR"
        elif rounding == "CEIL" and any(addends):
            addends, rounding = [a + (1 << shift) - 1 for a in addends], "FLOOR"
        # The other modes only need to know whether any bit is set among those, below one half, that addends alone set.
        common = 1 << shift
        for m in multipliers:
            common |= m
        zeros = _zeros(common) if rounding == "FLOOR" else min(_zeros(common) - 1, shift - 2)
        if zeros > 0:
            rest = 0 if rounding == "FLOOR" else (1 << zeros) - 1
            multipliers, addends = [m >> zeros for m in multipliers], [a >> zeros | (a & rest != 0) for a in addends]
            shift -= zeros
        return type(self)(multipliers, addends, shift, "FLOOR" if shift == 0 else rounding, self.low, self.high)

    @cached_property
    def sum_range(self) -> tuple[int, int]:
        ends = [m * x + a for m, a in zip(self.multipliers, self.addends, strict=True) for x in (self.low, self.high)]
        return min(ends), max(ends)

    @cached_property
    def x_bits(self) -> int:
        return signed_bits(self.low, self.high)

    @cached_property
    def sum_bits(self) -> int:
        """Width of the sum; at least one bit more than the shift."""
        return max(signed_bits(*self.sum_range), self.shift + 1)

    def product(self, spread: int) -> Product:
        """The form of the product in hardware: shifts if all multipliers are powers of two or their negatives with
        exponents that differ by at most ``spread``, else a multiplier."""
        common = 0
        for m in self.multipliers:
            common |= m
        scale = max(0, _zeros(common))
        multipliers = [m >> scale for m in self.multipliers]
        if all(m == 1 for m in multipliers):
            return Product(0, [0] * len(multipliers), self.addends, False, scale)
        exponents = [abs(m).bit_length() - 1 for m in multipliers]
        if max(exponents) <= spread and all(
            abs(m) == 1 << max(e, 0) for m, e in zip(multipliers, exponents, strict=True)
        ):
            places = max(exponents).bit_length()
            codes = [(m < 0) << places | e for m, e in zip(multipliers, exponents, strict=True)]
            addends = [a - min(m, 0) for m, a in zip(self.multipliers, self.addends, strict=True)]
            return Product(places + 1, codes, addends, True, scale)
        bits = signed_bits(min(multipliers), max(multipliers))
        return Product(bits, [m % (1 << bits) for m in multipliers], self.addends, False, scale)

    @cached_property
    def split(self) -> tuple[int, int] | None:
        """The split of x into parts for which int64 holds every partial sum: (bits per part, number of low parts).

        (0, 0) if no split is needed; None if no split suffices.
        """
        largest = max(map(abs, (*self.sum_range, *self.multipliers, *self.addends, 1 << self.shift)))
        if largest < 1 << 62:
            return 0, 0
        m_bits, a_bits = (signed_bits(min(values), max(values)) for values in (self.multipliers, self.addends))
        most, needed = 60 - m_bits, max(self.x_bits + m_bits, a_bits) - 59
        if most < 1 or not 0 < needed < self.shift:
            return None
        times = -(-needed // most)
        bits = -(-needed // times)
        return (bits, times) if bits * times < self.shift else None

    @cached_property
    def operands(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """The multipliers, and the parts of the addends that belong to the parts of x, highest part last; in int64, or
        as Python's int where no split suffices."""
        bits, times = self.split or (0, 0)
        number = object if self.split is None else np.int64
        parts = [[a >> i * bits & (1 << bits) - 1 for a in self.addends] for i in range(times)]
        parts.append([a >> times * bits for a in self.addends])
        return np.array(self.multipliers, number), [np.array(values, number) for values in parts]

    def _sums(self, x: np.ndarray) -> tuple[np.ndarray, int]:
        """``x * multipliers + addends`` for integers x (rows, C), and the number of bits to shift it by.

        The low parts of a split sum are reduced to one bit below the high part, which is 1 if any of them is not zero
        (a sticky bit). Rounding needs no more information.
        """
        bits, times = self.split or (0, 0)
        multipliers, addends = self.operands
        x = x.astype(multipliers.dtype, copy=False)
        if not times:
            return x * multipliers + addends[-1], self.shift
        mask = (1 << bits) - 1
        carry, left = np.zeros_like(x), np.zeros_like(x)
        for i in range(times):
            part = (x >> i * bits & mask) * multipliers + addends[i] + carry
            carry, left = part >> bits, left | (part & mask)
        total = (x >> times * bits) * multipliers + addends[-1] + carry
        return 2 * total + (left != 0), self.shift - times * bits + 1

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function for integers (rows, C), in int64 or Python's int."""
        return divided(*self._sums(x), self.rounding)


def divided(values: np.ndarray, shift: int, rounding: str) -> np.ndarray:
    """``round(values / 2**shift)`` for arrays of int64 or of Python's int."""
    if shift == 0:
        return values
    whole = values >> shift
    if rounding == "FLOOR":
        return whole
    rest, half = values & ((1 << shift) - 1), 1 << (shift - 1)
    if rounding == "ROUND":
        return whole + (rest + (whole & 1) > half)
    if rounding == "HALF_UP":
        return whole + np.where(values >= 0, rest >= half, rest > half)
    if rounding == "HALF_DOWN":
        return whole + np.where(values >= 0, rest > half, rest >= half)
    if rounding == "CEIL":
        return whole + (rest > 0)
    if rounding == "UP":
        return whole + ((rest > 0) & (values >= 0))
    return whole + ((rest > 0) & (values < 0))
