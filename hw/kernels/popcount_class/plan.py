"""Popcounts as trees of adders whose leaves are counts of a few bits, planned for the fewest lookup tables.

An adder joins two counts and, at its carry input, one bit more (``bf_count_adder``). The leaves are counts of up to
three bits, or for lookup tables of six inputs of up to six. The adder of ECP5 counts up to three bits of its second
operand by itself, with at most one table more.
"""

from dataclasses import dataclass
from functools import cache

from hw.fabric.family import Family

NEAR = 6
"""Sizes of the larger operand that are tried on either side of the half, and of the largest counts of each width."""
LEAVES = {4: {2: 2, 3: 2}, 6: {2: 2, 3: 2, 4: 3, 5: 3, 6: 3}}
"""Inputs of a lookup table -> bits of a leaf -> its lookup tables."""
SPLIT = 3
"""Lookup tables that a leaf of six inputs takes more for each input that a lookup table does not have."""
COUNTED = 3
"""Maximum bits that an adder counts by itself."""


@dataclass(frozen=True)
class Count:
    """The number of ones among ``bits`` bits: those of ``parts``, the larger one first, and of one bit more.

    Without ``parts`` it is a leaf: one bit, which is its own count, or a few that lookup tables count. ``level`` is the
    number of adders and leaves of lookup tables in series; ``cost`` the lookup tables for which it is planned.
    """

    bits: int
    level: int
    cost: int
    parts: tuple["Count", ...] = ()

    @property
    def width(self) -> int:
        """Bits of the number."""
        return self.bits.bit_length()

    @property
    def carry(self) -> bool:
        """Whether the adder has a bit at its carry input."""
        return self.bits > sum(part.bits for part in self.parts)

    @property
    def counts(self) -> bool:
        """Whether the adder counts the bits of its second operand by itself."""
        return 1 < self.parts[1].bits <= COUNTED

    def luts(self, family: Family) -> int:
        """Lookup tables in a family."""
        if not self.parts:
            past = self.bits - family.lut_inputs
            return self.cost + SPLIT * past if past > 0 else self.cost
        first, second = self.parts
        if family.chain_bits > 1:  # ECP5: the first bit of the chain takes the carry
            chain = -(-(self.width + 1) // family.chain_bits) * family.chain_bits
            return chain + first.luts(family) + (second.bits == COUNTED if self.counts else second.luts(family))
        chain = first.width if family.carry_apart else self.width + self.carry
        return chain + first.luts(family) + second.luts(family)


def plan(bits: int, table_inputs: int) -> Count:
    """The tree for ``bits`` bits and lookup tables of 4 or 6 inputs."""
    known = _plans(table_inputs)
    while len(known) <= bits:
        known.append(_best(len(known), table_inputs))
    return known[bits]


@cache
def _plans(table_inputs: int) -> list[Count]:
    """The trees for 0, 1, 2, ... bits, as far as they are known."""
    return [Count(0, 0, 0), Count(1, 0, 0)]


def _best(bits: int, table_inputs: int) -> Count:
    known, leaves = _plans(table_inputs), LEAVES[table_inputs]
    found = [Count(bits, 1, leaves[bits])] if bits in leaves else []
    pair = table_inputs == 4  # bits of a carry chain are used in pairs
    chain = bits.bit_length() + 1
    chain += chain % 2 if pair else 0
    for rest in (bits - 1, bits):
        half = (rest + 1) // 2
        sizes = (half, rest - COUNTED, *((1 << k) - 1 for k in range(2, rest.bit_length())))
        for larger in sorted({size + n for size in sizes for n in range(-NEAR, NEAR + 1)}):
            if half <= larger < rest:
                first, second = known[larger], known[rest - larger]
                own = second.bits == COUNTED if pair and 1 < second.bits <= COUNTED else second.cost
                level = 1 + max(first.level, second.level)
                found.append(Count(bits, level, first.cost + own + chain, (first, second)))
    return min(found, key=lambda each: (each.cost, each.level))
