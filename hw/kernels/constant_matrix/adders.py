"""Lookup tables of an adder of shifted values, fitted to Yosys. ``plan.cpp`` has the same formulas."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from hw.fabric.family import Family


class Placed(Protocol):
    """What is added: ``sign * value << shift``."""

    @property
    def shift(self) -> int: ...
    @property
    def sign(self) -> int: ...


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


SHORT_ADDERS = (0, 1, 2, 3, 5, 7)
"""Lookup tables of a ``bf_short_adder`` by the bits in which it adds; longer adders have a carry chain."""
FEED = 4
"""What nextpnr adds to a carry chain of ECP5, in TRELLIS_COMB: two cells, which Yosys does not count."""


def first_bit(operands: Sequence[Placed]) -> int:
    """The first bit that an adder computes; the bits below are those of the lowest operand, or 0."""
    ordered = sorted(operands, key=lambda o: o.shift)
    return ordered[1].shift if ordered[0].sign > 0 else ordered[0].shift


def is_short(operands: Sequence[Placed], result: tuple[int, int]) -> bool:
    """Whether a plan for tables of four inputs has a ``bf_short_adder`` for the sum of two operands."""
    return len(operands) == 2 and bits(*result) - first_bit(operands) < len(SHORT_ADDERS)


def feed_luts(family: Family) -> int:
    """Lookup tables that place and route adds to a carry chain."""
    return FEED if family.chain_bits > 1 else 0


def adder_luts(operands: Sequence[Operand], result: tuple[int, int], family: Family) -> int:
    """Lookup tables of the sum of two or three ``operands``, whose value is in the range ``result``.

    The bits below the second operand pass, unless the lowest operand is negated. An adder of three operands is a
    ``bf_ternary_adder``. On 7 series a bit costs a table where two operands vary, or one that is inverted (its carry
    chain adds it to constants). Bits of two repeated signs are made once; the lowest bit of a difference twice, for
    its carry in is constant, and Yosys computes the bit apart.
    """
    ordered = sorted(operands, key=lambda o: o.shift)
    lowest, second = ordered[0], ordered[1]
    begin = first_bit(ordered)
    minus = sum(o.sign < 0 for o in operands)
    if len(operands) == 2 and not minus and lowest.low >= 0 and lowest.end <= second.shift:
        return 0
    if family.chain_bits > 1:
        chain = max(1, bits(*result) - begin)
        if chain < len(SHORT_ADDERS):
            return SHORT_ADDERS[chain]
        return -(-chain // family.chain_bits) * family.chain_bits + feed_luts(family)
    if family.lut_inputs < 6:
        return bits(*result) - begin + 1  # and a cell in which the carry begins
    tables, below = 0, minus > 0
    for k in range(begin, bits(*result)):
        varying = sum(k >= o.shift and (k < o.end or o.low < 0) for o in operands)
        if len(operands) == 2:
            if varying and sum(k >= o.end and o.low < 0 for o in operands) == varying:
                break
            tables += varying == 2 or (varying == 1 and minus == 1)
        else:
            tables += varying > 1 or (varying == 1 and below)
            below = varying > 1 or (varying == 1 and minus == 1)
            if not varying:
                break
    if len(operands) == 2 and minus:
        tables += lowest.sign > 0 or lowest.shift == second.shift
    return tables + (2 if minus == 2 else 0)


def negation_luts(value: tuple[int, int], family: Family) -> int:
    """Lookup tables of a negated value."""
    return bits(*value) + feed_luts(family)
