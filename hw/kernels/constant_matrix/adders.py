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
SHORT = len(SHORT_ADDERS) - 1
"""Bits of the longest ``bf_short_adder``."""
FAST_SHORT = 4
"""Bits of the longest one between registers. It has two tables in series; one of five bits has three, and a carry chain
of five bits is faster in a sum of sums and takes no more cells. A chain of four bits would take more."""
FEED = 2
"""What nextpnr adds before a carry chain of ECP5, in TRELLIS_COMB, which Yosys does not count: a cell that makes the
constant carry. A chain of an odd number of bits has room for it."""


def first_bit(operands: Sequence[Placed]) -> int:
    """The first bit that an adder computes; the bits below are those of the lowest operand, or 0."""
    ordered = sorted(operands, key=lambda o: o.shift)
    return ordered[1].shift if ordered[0].sign > 0 else ordered[0].shift


def is_short(operands: Sequence[Placed], result: tuple[int, int], short: int = SHORT) -> bool:
    """Whether a plan for tables of four inputs has a ``bf_short_adder``, of at most ``short`` bits, for the sum of two
    operands."""
    return len(operands) == 2 and bits(*result) - first_bit(operands) <= short


def feed_luts(chain: int, family: Family) -> int:
    """Lookup tables that place and route adds to a carry chain of so many bits; 0 for no bits, which is no chain."""
    return FEED if chain and family.chain_bits > 1 and chain % family.chain_bits == 0 else 0


def chain_bits(operands: Sequence[Operand], result: tuple[int, int], short: int = SHORT) -> int:
    """Bits of the carry chain that a sum has on ECP5; 0 where it needs none."""
    if len(operands) == 1:
        return bits(*result) if operands[0].sign < 0 else 0
    if _side_by_side(operands) or is_short(operands, result, short):
        return 0
    return bits(*result) - first_bit(operands)


def _side_by_side(operands: Sequence[Operand]) -> bool:
    """Whether a sum is two operands of which one ends where the other begins."""
    lowest, second, *more = sorted(operands, key=lambda o: o.shift)
    positive = lowest.low >= 0 and min(lowest.sign, second.sign) > 0
    return not more and positive and lowest.end <= second.shift


def adder_luts(operands: Sequence[Operand], result: tuple[int, int], family: Family, short: int = SHORT) -> int:
    """Lookup tables of the sum of two or three ``operands``, whose value is in the range ``result``, or of one alone.
    With tables of four inputs, sums of at most ``short`` bits have no carry chain.

    The bits below the second operand pass, unless the lowest operand is negated. An adder of three operands is a
    ``bf_ternary_adder``. On 7 series a bit costs a table where two operands vary, or one that is inverted (its carry
    chain adds it to constants). Bits of two repeated signs are made once; the lowest bit of a difference twice, for
    its carry in is constant, and Yosys computes the bit apart.
    """
    if len(operands) == 1:
        return negation_luts(result, family) if operands[0].sign < 0 else 0
    ordered = sorted(operands, key=lambda o: o.shift)
    lowest, second = ordered[0], ordered[1]
    begin = first_bit(ordered)
    minus = sum(o.sign < 0 for o in operands)
    if _side_by_side(operands):
        return 0
    if family.lut_inputs < 6:
        width = bits(*result) - begin
        if is_short(operands, result, short):
            return SHORT_ADDERS[max(1, width)]
        if family.chain_bits > 1:
            return -(-width // family.chain_bits) * family.chain_bits + feed_luts(width, family)
        # Gowin has a cell in which the carry begins. iCE40 has none, and inverters, which are counted apart: sums share
        # them.
        return width + family.chain_inverts
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
    return bits(*value) + feed_luts(bits(*value), family)
