"""Popcounts as trees of adders whose leaves are counts of a few bits, planned for the fewest lookup tables.

An adder joins two counts and, at its carry input, one bit more. The leaves are counts of three bits or, for lookup
tables of six inputs, of six. Where a slice has four inputs before each bit of its carry chain (ECP5), the adder
itself counts the three bits of its second operand.
"""

from dataclasses import dataclass
from functools import cache

from hw.fabric.family import Family

NEAR = 8
"""Sizes of the larger operand that are tried, on either side of the half and of the largest counts of their width."""


@dataclass(frozen=True)
class Count:
    """The number of ones among ``bits`` bits: those of ``parts``, and one more where there is a ``carry``.

    Without ``parts`` it is a leaf: one bit, which is its own count, or a few that lookup tables count. ``level`` is the
    number of adders and leaves of lookup tables in series; ``cost`` the lookup tables for which it is planned.
    """

    bits: int
    level: int
    cost: int
    parts: tuple["Count", ...] = ()
    carry: bool = False

    @property
    def width(self) -> int:
        """Bits of the number."""
        return self.bits.bit_length()

    def luts(self, family: Family) -> int:
        """Lookup tables in a family."""
        return _luts(self, family)


LEAVES = {4: {2: 2, 3: 2}, 6: {2: 2, 3: 2, 4: 3, 5: 3, 6: 3}}
"""Inputs of a lookup table -> bits of a leaf -> its lookup tables."""


def plan(bits: int, table_inputs: int) -> Count:
    """The tree for ``bits`` bits and lookup tables of 4 or 6 inputs."""
    while (known := len(_plans(table_inputs))) <= bits:
        _plans(table_inputs).append(_best(known, table_inputs))
    return _plans(table_inputs)[bits]


@cache
def _plans(table_inputs: int) -> list[Count]:
    """The trees for 0, 1, 2, ... bits, as far as they are known."""
    return [Count(0, 0, 0), Count(1, 0, 0)]


def _best(bits: int, table_inputs: int) -> Count:
    known, leaves = _plans(table_inputs), LEAVES[table_inputs]
    found = [Count(bits, 1, leaves[bits])] if bits in leaves else []
    for carry in (False, True):
        rest = bits - carry
        half = (rest + 1) // 2
        ends = {rest - 3, *((1 << k) - 1 for k in range(2, rest.bit_length()))}
        for larger in {near for size in (half, *ends) for near in range(size - NEAR, size + NEAR + 1)}:
            if half <= larger < rest:
                parts = known[larger], known[rest - larger]
                chain = carry + bits.bit_length()
                level = 1 + max(part.level for part in parts)
                found.append(Count(bits, level, sum(part.cost for part in parts) + chain, parts, carry))
    return min(found, key=lambda each: (each.cost, each.level))


def _luts(count: Count, family: Family) -> int:
    if not count.parts:
        return count.cost
    chain = count.carry + count.width
    return sum(_luts(part, family) for part in count.parts) + -(-chain // family.chain_bits) * family.chain_bits
