"""Words that are others turned: the same bits in another order, some of them inverted, at regular times.

The weights of a structured matrix repeat with a period: every 8 outputs and 8 inputs in circulant blocks of 8. A memory
is read in the order of its words, so the words at the same place of each period, those of one *phase*, have the same
order of the same columns. With PE or SIMD below the period, a row of a block serves several words, each in a turn of
its own. In filters that are rotated or reflected (Cohen, Welling, "Group equivariant convolutional networks", ICML
2016) the phases are the positions of the kernel: those that a rotation leads to one another are turns of one word.
"""

from dataclasses import dataclass

import numpy as np

BITS_PER_LUT = 45
"""Bits of a block RAM that are worth a lookup table: an ECP5-85F has 400 tables for each block of 18 kbit."""


@dataclass(frozen=True)
class Loop:
    """The loops in which the words of a memory are read, the outermost first: ``outer``, ``first``, ``inner``, ``last``
    iterations. ``first`` and ``last`` count the phase, the others the word of the table."""

    outer: int
    first: int
    inner: int
    last: int

    @property
    def words(self) -> int:
        """Words of each phase."""
        return self.outer * self.inner

    @property
    def phases(self) -> int:
        """Number of phases."""
        return self.first * self.last

    def by_phase(self, words: np.ndarray) -> np.ndarray:
        """Words (DEPTH, WIDTH) as (PHASES, words of each, WIDTH)."""
        apart = words.reshape(self.outer, self.first, self.inner, self.last, -1).transpose(1, 3, 0, 2, 4)
        return apart.reshape(self.phases, self.words, -1)

    def in_time(self, words: np.ndarray) -> np.ndarray:
        """The inverse of ``by_phase``."""
        apart = words.reshape(self.first, self.last, self.outer, self.inner, -1).transpose(2, 0, 3, 1, 4)
        return apart.reshape(self.phases * self.words, -1)


@dataclass(frozen=True, eq=False)
class Turns:
    """Word i of phase p is word ``part[p] * loop.words + i`` of the table, in turn k = ``turn[p]``: its column c is
    column w >> 1 of the table with w = ``wires[k, c]``, inverted where w is odd.

    ``part``, ``turn``: (PHASES,). ``wires``: (TURNS, COLUMNS); column S, behind the last one of the table, is 0.
    """

    loop: Loop
    part: np.ndarray
    turn: np.ndarray
    wires: np.ndarray

    def turned(self, table: np.ndarray) -> np.ndarray:
        """The words in the order in which they are read, (DEPTH, COLUMNS), of a table (words, S)."""
        parts = table.reshape(-1, self.loop.words, table.shape[1])
        return self.loop.in_time(
            np.stack([chosen(parts[part], self.wires[turn]) for part, turn in zip(self.part, self.turn, strict=True)])
        )

    @property
    def choices(self) -> tuple[tuple[int, int], ...]:
        """How many columns choose among how many of the table's, in pairs (choices, columns), in order."""
        ordered = np.sort(self.wires, axis=0)
        different = 1 + np.count_nonzero(ordered[1:] != ordered[:-1], axis=0)
        return tuple((int(n), int(c)) for n, c in zip(*np.unique(different, return_counts=True), strict=True) if n > 1)


def find(words: np.ndarray, loop: Loop) -> tuple[np.ndarray, np.ndarray, Turns]:
    """The turns of a memory's bits, (DEPTH, WIDTH) uint8, with these loops.

    Returns the wires from the columns of a turned word to the bits of a word, (WIDTH,), the table, and the turns.
    Phases share a part of the table that use the same columns, or that have a column in common, as is cheaper.
    """
    bits = loop.by_phase(words)
    columns = bits ^ bits[:, :1]  # so that opposite ones are equal, and constant ones 0
    lines = columns.transpose(0, 2, 1).reshape(-1, loop.words)
    first, kind = distinct(np.packbits(lines, axis=1))
    kinds = kind.reshape(loop.phases, -1)
    used = np.zeros((loop.phases, len(first)), np.bool_)
    used[np.arange(loop.phases)[:, None], kinds] = True
    used[:, ~lines[first].any(axis=1)] = False
    parts = distinct(np.packbits(used, axis=1))[1], _joined(used)
    return min((_made(loop, part, lines[first], used, kinds, bits[:, 0]) for part in parts), key=_price)


def _price(made: tuple[np.ndarray, np.ndarray, Turns]) -> float:
    """Lookup tables of the multiplexers, and as many as the bits of the table are worth."""
    _, table, turns = made
    return table.size / BITS_PER_LUT + sum((n - 1) * columns for n, columns in turns.choices)


def _made(
    loop: Loop, part: np.ndarray, lines: np.ndarray, used: np.ndarray, kinds: np.ndarray, inverted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Turns]:
    """``find`` with these parts: by phase its part and the columns that it uses, (PHASES, kinds) of ``lines``, and for
    each bit its kind and whether it is inverted, (PHASES, WIDTH)."""
    parts = int(part.max()) + 1
    width = max(1, *(int(used[part == number].any(axis=0).sum()) for number in range(parts)))
    place, negated = np.full((parts, len(lines)), width), np.zeros((parts, len(lines)), np.uint8)
    table = np.zeros((parts, loop.words, width), np.uint8)
    for number in range(parts):
        # As the bits of its first phase read them and in their order, so that the turns of all parts are the same.
        seen, signs = kinds[part == number].ravel(), inverted[part == number].ravel()
        start = np.sort(np.unique(seen, return_index=True)[1])
        start = start[used[:, seen[start]].any(axis=0)]
        order = seen[start]
        place[number, order], negated[number, order] = np.arange(len(order)), signs[start]
        table[number, :, : len(order)] = (lines[order] ^ signs[start, None]).T
    every = 2 * place[part[:, None], kinds] + (inverted ^ negated[part[:, None], kinds])
    start, turn = distinct(every)
    wires = every[start]
    opposite = wires[0] & 1
    wires = (wires ^ opposite).T
    start, turned = distinct(wires)
    sources, wires = 2 * turned + opposite, wires[start].T
    if len(wires) == 1:  # no turns: these wires are those of the word
        sources, wires = wires[0][turned] ^ opposite, 2 * np.arange(width)[None]
    return sources, table.reshape(-1, width), Turns(loop, part, turn, wires)


def _joined(used: np.ndarray) -> np.ndarray:
    """The part of each phase, where phases share a part that have a column in common; ``used`` is (PHASES, columns)."""
    overlap = used.astype(np.float32) @ used.T.astype(np.float32) > 0
    part = np.arange(len(used))
    while True:
        least = np.minimum(np.where(overlap, part, len(used)).min(axis=1), part)
        if (least == part).all():
            return np.unique(part, return_inverse=True)[1].reshape(-1)
        part = least


def chosen(columns: np.ndarray, wires: np.ndarray) -> np.ndarray:
    """Bits (words, wires) from columns (words, S): of each wire w column w >> 1, inverted where w is odd; column S is
    0."""
    padded = np.column_stack((columns, np.zeros(len(columns), columns.dtype)))
    return padded[:, wires >> 1] ^ (wires & 1).astype(np.uint8)


def distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each kind, (kinds,), in order, and the kind of each row, (rows,)."""
    rows = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.shape[1] * keys.itemsize))).reshape(-1)
    _, first, kind = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[kind.reshape(-1)]
