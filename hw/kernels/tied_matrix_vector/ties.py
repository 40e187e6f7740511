"""What repeats in a memory: equal or opposite bit columns, equal words, and words that are others turned.

A memory of tied weights has few different columns and words: the rows of a circulant block are one row, turned; blocks
that are hashed, or filters that are turned and flipped, repeat words. Nothing is known of the reason: the bits are
compared.
"""

from dataclasses import dataclass, replace

import numpy as np

from hw.kernels.tied_matrix_vector.codebook import Codebook
from hw.kernels.tied_matrix_vector.turns import Turns, chosen, distinct

LEAST_SAVED = 0.5
"""Fraction of the bits that must be saved at least."""
LEAST_WORDS, LEAST_BITS = 16, 1024
"""Least words and bits of a memory. In lookup tables, where smaller ones are, synthesis finds equal columns itself."""
MOST_LANES = 4096
"""Maximum weights in a word."""
MOST_TURNS = 64
"""Maximum number of turns."""
INDEXED = 0.75
"""Maximum ratio of bits with an index of the words, or with turns, which take cycles, and without."""


@dataclass(frozen=True, eq=False)
class Ties:
    """Word t of the memory has bit ``turned[s >> 1] ^ (s & 1)`` with s = ``sources[bit]``; these are the bits of codes
    where there are ``codes``, and of the weights where there are none.

    ``turned`` is the word ``table[index[t]]``, or, with ``turns``, the word of the table and its turn that they name.
    ``sources``: (WIDTH,); the column behind the last one is constant 0. ``table``: (words, S) bits; with an index, a
    power of two of words. ``index``: (DEPTH,); None without turns: word t of the table is for word t.
    """

    sources: np.ndarray
    table: np.ndarray
    index: np.ndarray | None = None
    turns: Turns | None = None
    codes: Codebook | None = None

    @property
    def index_bits(self) -> int:
        """Bits of a word of the index."""
        return 0 if self.index is None else (len(self.table) - 1).bit_length()

    @property
    def bits(self) -> int:
        """Bits of table and index."""
        return self.table.size + (0 if self.index is None else len(self.index) * self.index_bits)

    def words(self) -> np.ndarray:
        """The bits of the memory, (DEPTH, WIDTH) uint8."""
        if self.turns is not None:
            turned = self.turns.turned(self.table)
        else:
            turned = self.table if self.index is None else self.table[self.index]
        words = chosen(turned, self.sources)
        return words if self.codes is None else self.codes.decoded(words)

    def flipped(self, flips: np.ndarray) -> "Ties":
        """With the bits ``flips`` flipped, (count,) from 0: those of the table, word by word, and then of the index."""
        table = self.table.copy()
        np.bitwise_xor.at(table.reshape(-1), flips[flips < table.size], 1)
        if self.index is None:
            return replace(self, table=table)
        rest, index = flips[flips >= table.size] - table.size, self.index.copy()
        np.bitwise_xor.at(index, rest // self.index_bits, 1 << rest % self.index_bits)
        return replace(self, table=table, index=index)


def find(words: np.ndarray) -> Ties:
    """The ties of a memory's bits, (DEPTH, WIDTH) uint8, without turns."""
    depth = len(words)
    columns = words ^ words[0]  # so that opposite ones are equal, and constant ones 0
    first, kind = distinct(np.packbits(columns.T, axis=1))
    varying = columns[:, first].any(axis=0)
    kept = first[varying] if varying.any() else first[:1]
    number = np.where(varying, np.cumsum(varying) - 1, len(kept))
    sources, table = 2 * number[kind] + words[0], columns[:, kept]
    rows, index = distinct(np.packbits(table, axis=1))
    size = 1 << (len(rows) - 1).bit_length()
    if size == 1 or size * len(kept) + depth * (size - 1).bit_length() > INDEXED * table.size:
        return Ties(sources, table)
    padded = np.zeros((size, len(kept)), np.uint8)
    padded[: len(rows)] = table[rows]
    return Ties(sources, padded, index)
