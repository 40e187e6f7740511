"""Lookup tables of an adder of shifted values, fitted to Yosys. ``plan.cpp`` has the same formulas."""

from collections.abc import Sequence
from typing import NamedTuple

from hw.fabric.family import Family


class Operand(NamedTuple):
    """An operand ``sign * value << shift``; ``low`` and ``high`` are the bounds of the value."""

    low: int
    high: int
    shift: int
    sign: int

    @property
    def end(self) -> int:
        """The number of the bit behind its highest one."""
        return self.shift + bits(self.low, self.high)


def bits(low: int, high: int) -> int:
    """Bits of the shortest unsigned (``low`` >= 0), else two's complement type that holds ``low`` to ``high``."""
    return high.bit_length() if low >= 0 else 1 + max(max(high, 0).bit_length(), (-low - 1).bit_length())


def feed_luts(family: Family) -> int:
    """Lookup tables that place and route adds to a carry chain."""
    return 1 if family.chain_bits > 1 else 0


def adder_luts(operands: Sequence[Operand], result: tuple[int, int], family: Family) -> int:
    """Lookup tables of the sum of ``operands``, whose value is in the range ``result``.

    The bits below the second operand pass, unless the lowest operand is negated.
    """
    ordered = sorted(operands, key=lambda o: o.shift)
    lowest, second = ordered[0], ordered[1]
    begin = second.shift if lowest.sign > 0 else lowest.shift
    if len(operands) == 2 and lowest.sign == second.sign == 1 and lowest.low >= 0 and lowest.end <= second.shift:
        return 0
    chain = min(max(o.end for o in operands), bits(*result)) - begin + (len(operands) == 3)
    cells = -(-max(1, chain) // family.chain_bits)
    return cells * family.chain_bits + feed_luts(family)


def negation_luts(value: tuple[int, int], family: Family) -> int:
    """Lookup tables of a negated value."""
    return bits(*value) + feed_luts(family)
