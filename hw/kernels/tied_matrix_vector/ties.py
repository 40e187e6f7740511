"""What repeats in a memory: bit columns that are equal or opposite, and words that are equal.

A memory of tied weights has few different columns and words: the rows of a circulant block are one row, turned; blocks
that are hashed, or filters that are turned and flipped, repeat words. Nothing is known of the reason: the bits are
compared.
"""

from dataclasses import dataclass, replace

import numpy as np

LEAST_SAVED = 0.5
"""Fraction of the bits that must be saved at least."""
LEAST_WORDS, LEAST_BITS = 16, 1024
"""Least words and bits of a memory. In lookup tables, where smaller ones are, synthesis finds equal columns itself."""
MOST_LANES = 4096
"""Maximum weights in a word."""
INDEXED = 0.75
"""Maximum ratio of bits with an index of the words, which takes cycles, and without one."""
FIRST, MORE, WORDS = 8, 64, 4096
"""Words that are compared to see at a glance whether columns are equal, then to be surer of it, and words that are
compared to see whether words are equal."""


@dataclass(frozen=True, eq=False)
class Ties:
    """Word t of the memory has bit ``table[index[t], s >> 1] ^ (s & 1)`` with s = ``sources[bit]``.

    ``sources``: (WIDTH,); column S, behind the last one of the table, is constant 0. ``table``: (words, S) bits; with
    an index, a power of two of words. ``index``: (DEPTH,); None: word t of the table is for word t.
    """

    sources: np.ndarray
    table: np.ndarray
    index: np.ndarray | None

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
        table = self.table if self.index is None else self.table[self.index]
        columns = np.column_stack((table, np.zeros(len(table), table.dtype)))
        return columns[:, self.sources >> 1] ^ (self.sources & 1).astype(np.uint8)

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
    """The ties of a memory's bits, (DEPTH, WIDTH) uint8."""
    depth = len(words)
    columns = words ^ words[0]  # so that opposite ones are equal, and constant ones 0
    first, kind = _distinct(np.packbits(columns.T, axis=1))
    varying = columns[:, first].any(axis=0)
    kept = first[varying] if varying.any() else first[:1]
    number = np.where(varying, np.cumsum(varying) - 1, len(kept))
    sources, table = 2 * number[kind] + words[0], columns[:, kept]
    rows, index = _distinct(np.packbits(table, axis=1))
    size = 1 << (len(rows) - 1).bit_length()
    if size == 1 or size * len(kept) + depth * (size - 1).bit_length() > INDEXED * table.size:
        return Ties(sources, table, None)
    padded = np.zeros((size, len(kept)), np.uint8)
    padded[: len(rows)] = table[rows]
    return Ties(sources, padded, index)


def worthwhile(weights: np.ndarray, bits: int, pe: int, simd: int) -> bool:
    """Whether the memory of a matrix (MH, MW) of ``bits`` each looks in this folding as if enough of it repeats.

    A quick test, which says no of most matrices without ties.
    """
    (mh, mw), lanes = weights.shape, pe * simd
    depth = weights.size // lanes
    if depth < LEAST_WORDS or weights.size * bits < LEAST_BITS or lanes > MOST_LANES:
        return False
    parts = weights.reshape(mh // pe, pe, mw // simd, simd)
    if lanes > 1 and all(_columns(parts, count) <= lanes // 2 for count in (FIRST, MORE)):
        return True
    lane = np.unique(np.linspace(0, lanes - 1, MORE).astype(np.int64))
    groups = -(-WORDS // (mw // simd))
    few = parts[:groups, lane // simd, :, lane % simd].reshape(len(lane), -1)[:, :WORDS].T
    kinds = len(np.unique(few.astype(np.int64) @ _keys(few.shape[1])))
    return kinds <= len(few) * (1 - LEAST_SAVED / 2) and (kinds - 1).bit_length() <= LEAST_SAVED * lanes * bits


def _columns(lanes: np.ndarray, count: int) -> int:
    """Number of different weights in a word, as ``count`` words show them; weights of opposite sign count as one."""
    groups, _, steps, _ = lanes.shape
    words = np.linspace(0, groups * steps - 1, min(count, groups * steps)).astype(np.int64)
    columns = lanes[words // steps, :, words % steps].reshape(len(words), -1).astype(np.int64)
    signed = columns * np.where(columns[0] < 0, -1, 1)
    return len(np.unique(_keys(len(words)) @ signed))


def _keys(count: int) -> np.ndarray:
    """Fixed random factors, whose sums of products tell different vectors apart."""
    return np.random.default_rng(count).integers(1 << 40, 1 << 60, count)


def _distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each kind, (kinds,), in order, and the kind of each row, (rows,)."""
    rows = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.shape[1]))).reshape(-1)
    _, first, kind = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[kind.reshape(-1)]
