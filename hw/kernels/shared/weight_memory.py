"""Memories of weights and other constants: lookup tables, or block RAM cut into tiles of one block each.

Yosys joins the blocks of a deep memory by multiplexers between the blocks' late outputs and the next register, in as
many rows as save a block (2 ns for 18 rows on ECP5). Here the tiles are chosen explicitly, and a deep memory has a
register before its multiplexer.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.kernel import Memory, packed_words
from hw.kernels.shared import cell_costs

LUTS_PER_BLOCK = 100
"""Weights go to block RAM where a block saves at least this many lookup tables. (An ECP5-85F has 400 per block.)"""
SMALL = 64
"""A memory in ``bf_lookup`` of at most this many words is in lookup tables, with one cycle less, in every family."""
DEEP = 2048
"""Memories of more words have one more cycle of latency, in every family."""


def lookup_latency(words: int) -> int:
    """Cycles from the address to the word in ``bf_lookup``; a single word is a constant."""
    return 0 if words <= 1 else 1 if words <= SMALL else 2


class Tiles(NamedTuple):
    """A memory cut into ``rows`` rows of ``row`` words (the last may have fewer), and rows into slices of ``bits`` bits
    (``last_bits`` in the last row)."""

    rows: int
    row: int
    bits: int
    last_bits: int

    def cut(self, memory: Memory) -> tuple[Memory, ...]:
        """The tiles of a memory: the slices of every row, low bits first."""
        made = []
        for row in range(self.rows):
            words = memory.words[row * self.row : (row + 1) * self.row]
            bits = self.bits if row < self.rows - 1 else self.last_bits
            for low in range(0, memory.width, bits):
                part = min(bits, memory.width - low)
                made.append(Memory([word >> low & (1 << part) - 1 for word in words], part))
        return tuple(made)


@dataclass(frozen=True)
class WeightMemory:
    """A read-only memory of ``depth`` words of ``width`` bits: the module ``bf_weight_memory``.

    With ``parity``, the highest bit of a word makes the number of its ones odd; the module ``bf_parity`` checks it.
    """

    depth: int
    width: int
    parity: bool = False

    def with_parity(self, family: Family) -> "WeightMemory":
        """The memory with a parity bit per word if it is in block RAM, else itself. Lookup tables are configuration, as
        all logic is, so no check could read their words."""
        return replace(self, width=self.width + 1, parity=True) if self.style(family) == "block" else self

    @property
    def latency(self) -> int:
        """Cycles from the address to the word."""
        return 3 if self.depth > DEEP else 2

    def blocks(self, tiles: Tiles) -> int:
        """Block RAMs: one for each tile."""
        return (tiles.rows - 1) * -(-self.width // tiles.bits) + -(-self.width // tiles.last_bits)

    def tiles(self, family: Family) -> Tiles:
        """Tiles with the fewest blocks, except where multiplexers cost more than the block that they save."""

        def cut(words: int, bits: int) -> Tiles:
            row = min(words, self.depth)
            rows = -(-self.depth // row)
            rest = self.depth - (rows - 1) * row
            last = min(self.width, max(b for w, b in family.bram_shapes if w >= rest))
            return Tiles(rows, row, min(bits, self.width) if rows > 1 else last, last)

        def price(tiles: Tiles) -> int:
            return LUTS_PER_BLOCK * self.blocks(tiles) + self.width * (tiles.rows - 1)

        return min((cut(*shape) for shape in family.bram_shapes), key=price)

    def style(self, family: Family) -> str:
        """``block`` or ``logic``. A parity bit does not change the choice."""
        if self.parity:
            return "block"
        luts = -(-self.depth // (1 << family.lut_inputs)) * self.width
        return "block" if luts >= LUTS_PER_BLOCK * self.blocks(self.tiles(family)) else "logic"

    def resources(self, family: Family, columns: int | None = None) -> Resources:
        """Cost including the output registers; ``columns`` of the ``width`` bits are distinct and not constant."""
        address = (self.depth - 1).bit_length()
        if self.style(family) == "logic":
            width = self.width if columns is None else columns
            if self.depth == 1:
                return Resources()
            return Resources(cell_costs.rom(self.depth, width, family), width + (self.latency - 1) * address)
        tiles = self.tiles(family)
        joined = self.width * (tiles.rows - 1)
        if self.latency == 2:
            held = self.width
        else:
            held = self.width * (1 + tiles.rows) if tiles.rows > 1 else self.width + address
        check = cell_costs.parity(self.width, family) if self.parity else Resources()
        return Resources(round(0.7 * joined), held, self.blocks(tiles)) + check

    def parameters(self, family: Family) -> dict[str, int | str]:
        """Parameters that the parent passes on to ``bf_weight_memory``, with PARITY."""
        tiles = self.tiles(family)
        shape = {"ROW": tiles.row, "BITS": tiles.bits, "LAST_BITS": tiles.last_bits}
        parity = int(self.parity)
        return {"WEIGHT_LATENCY": self.latency, "STYLE": self.style(family), **shape, "PARITY": parity}

    def contents(self, rows: np.ndarray, family: Family) -> tuple[Memory, ...]:
        """The cell's memory files for the bits ``(depth, width)`` without parity."""
        if self.parity:
            rows = np.column_stack((rows, 1 - rows.sum(axis=1) % 2))
        if self.style(family) == "logic":
            return (Memory(packed_words(rows, 1), self.width),)
        return self.tiles(family).cut(Memory(packed_words(rows, 1), self.width))
