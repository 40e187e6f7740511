"""Read-only memories of weights and other constants, in lookup tables or in block RAM.

A memory in block RAM is divided into tiles of one block each. Left to itself, Yosys minimises the number of blocks: it
stacks many rows of blocks and puts a multiplexer between the blocks' late outputs and the next register, which costs
2 ns for 18 rows on ECP5. Here the tiles are chosen explicitly, and a deep memory has a register before its multiplexer.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.kernel import Memory, packed_words
from hw.kernels.shared import cell_costs

LUTS_PER_BLOCK = 100
"""Weights are in block RAM if each block saves at least this many lookup tables. (An ECP5-85F has 400 per block.)"""
SMALL = 64
"""Maximum depth of a memory of ``bf_lookup`` in lookup tables, which has one cycle less of latency, in every family."""
DEEP = 2048
"""Memories of more words than this have one cycle more of latency, in every family."""


def lookup_latency(words: int) -> int:
    """Cycles from the address to the word in ``bf_lookup``, for a memory of ``words`` words; one word is a constant."""
    return 0 if words <= 1 else 1 if words <= SMALL else 2


class Tiles(NamedTuple):
    """The division of a memory into tiles of one block RAM each.

    The words form ``rows`` rows of ``row`` words (the last row may be shorter). Each row is divided into slices of
    ``bits`` bits; the last row into slices of ``last_bits`` bits.
    """

    rows: int
    row: int
    bits: int
    last_bits: int

    def cut(self, memory: Memory) -> tuple[Memory, ...]:
        """The contents of the tiles of ``memory``: row after row, and within a row the slices from the low bits up."""
        made = []
        for row in range(self.rows):
            words = memory.words[row * self.row : (row + 1) * self.row]
            bits = self.bits if row < self.rows - 1 else self.last_bits
            for low in range(0, memory.width, bits):
                part = min(bits, memory.width - low)
                made.append(Memory([word >> low & (1 << part) - 1 for word in words], part))
        return tuple(made)


class StoredWords(Protocol):
    """A read-only memory as its reader sees it, and its cost: a ``WeightMemory``, or what stands in its place."""

    @property
    def depth(self) -> int:
        """Words."""
        ...

    @property
    def width(self) -> int:
        """Bits that are stored of a word, with parity."""
        ...

    @property
    def latency(self) -> int:
        """Cycles from the address to the word."""
        ...

    @property
    def parity(self) -> bool:
        """Whether words have parity bits."""
        ...

    def with_parity(self, family: Family) -> Self:
        """The memory with parity bits where it is in block RAM."""
        ...

    def style(self, family: Family) -> str:
        """``block`` or ``logic``."""
        ...

    def resources(self, family: Family, columns: int | None = None) -> Resources:
        """Cost, including the output registers; ``columns`` of them differ."""
        ...

    def parameters(self, family: Family) -> dict[str, int | str]:
        """Verilog parameters of its reader."""
        ...


@dataclass(frozen=True)
class WeightMemory:
    """The module ``bf_weight_memory``: a read-only memory of ``depth`` words of ``width`` bits.

    With ``parity``, the highest bit of a word is an odd-parity bit, which the module ``bf_parity`` checks.
    """

    depth: int
    width: int
    parity: bool = False

    def with_parity(self, family: Family) -> "WeightMemory":
        """The memory with one parity bit per word if it is in block RAM, else the same memory.

        The contents of lookup tables are configuration bits, like all logic, and logic cannot read them as words.
        """
        return replace(self, width=self.width + 1, parity=True) if self.style(family) == "block" else self

    @property
    def latency(self) -> int:
        """Cycles from the address to the word."""
        return 3 if self.depth > DEEP else 2

    def blocks(self, tiles: Tiles) -> int:
        """Number of block RAMs, one for each tile."""
        return (tiles.rows - 1) * -(-self.width // tiles.bits) + -(-self.width // tiles.last_bits)

    def tiles(self, family: Family) -> Tiles:
        """The tiles of lowest cost: LUTS_PER_BLOCK for each block, and ``width`` for each row after the first."""

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
        """``block`` or ``logic``. The choice is made without the parity bit."""
        if self.parity:
            return "block"
        luts = -(-self.depth // (1 << family.lut_inputs)) * self.width
        return "block" if luts >= LUTS_PER_BLOCK * self.blocks(self.tiles(family)) else "logic"

    def resources(self, family: Family, columns: int | None = None) -> Resources:
        """Cost, including the output registers.

        ``columns``: number of distinct, non-constant bit columns of the contents, as synthesis shares equal ones; by
        default all ``width``.
        """
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
        """Verilog parameters of the instance of ``bf_weight_memory``."""
        tiles = self.tiles(family)
        shape = {"ROW": tiles.row, "BITS": tiles.bits, "LAST_BITS": tiles.last_bits}
        parity = int(self.parity)
        return {"WEIGHT_LATENCY": self.latency, "STYLE": self.style(family), **shape, "PARITY": parity}

    def contents(self, rows: np.ndarray, family: Family) -> tuple[Memory, ...]:
        """The memory files of the module; ``rows`` (depth, width) are the contents as bits, without parity."""
        if self.parity:
            rows = np.column_stack((rows, 1 - rows.sum(axis=1) % 2))
        if self.style(family) == "logic":
            return (Memory(packed_words(rows, 1), self.width),)
        return self.tiles(family).cut(Memory(packed_words(rows, 1), self.width))
