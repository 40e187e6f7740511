"""Matrix products of -1, 0 and +1 by counting bits, 64 products at a time."""

from typing import NamedTuple

import numba
import numpy as np


class Signs(NamedTuple):
    """Rows of -1, 0 and +1 as bits, 64 a word; the bits beyond a row's end are 0.

    ``negative`` (rows, words) uint64; ``nonzero`` the same, or None where there is no zero in the rows.
    """

    negative: np.ndarray
    nonzero: np.ndarray | None

    def transposed(self) -> "Signs":
        """(words, rows), as ``product`` takes the weights."""
        nonzero = None if self.nonzero is None else np.ascontiguousarray(self.nonzero.T)
        return Signs(np.ascontiguousarray(self.negative.T), nonzero)


def pack(values: np.ndarray, zeros: bool) -> Signs:
    """Integers -1, 0 and +1 ``(rows, n)``; without ``zeros`` there must be none among them."""
    return Signs(_words(values < 0), _words(values != 0) if zeros else None)


def _words(flags: np.ndarray) -> np.ndarray:
    """Booleans ``(rows, n)`` to ``(rows, words)``."""
    packed = np.packbits(flags, axis=1, bitorder="little")
    if missing := -packed.shape[1] % 8:
        packed = np.pad(packed, ((0, 0), (0, missing)))
    return packed.view(np.uint64)


def product(x: Signs, weights: Signs, count: int, y: np.ndarray) -> None:
    """Puts ``sum over k of x[r, k] * weights[m, k]`` into ``y[r, m]``; rows are ``count`` long.

    ``weights`` come transposed, (words, outputs). Either both know what is not zero, or neither has a zero.
    """
    if x.nonzero is None or weights.nonzero is None:
        _agree(x.negative, weights.negative, count, y)
    else:
        _agree_where(*x, *weights, y)


@numba.njit
def _ones(word):  # pragma: no cover - compiled
    """How many bits of a uint64 are 1. (LLVM knows these lines, and takes the processor's instruction for them.)"""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit(cache=True, nogil=True)
def _agree(x, weights, count, y):  # pragma: no cover - compiled
    differ = np.empty(weights.shape[1], np.uint64)
    for row in range(len(x)):
        differ[:] = 0
        for k in range(len(weights)):
            word = x[row, k]
            for m in range(len(differ)):  # outputs are the inner loop: there are always enough of them for a vector
                differ[m] += _ones(word ^ weights[k, m])
        for m in range(len(differ)):
            y[row, m] = count - 2 * np.int64(differ[m])


@numba.njit(cache=True, nogil=True)
def _agree_where(x, x_nonzero, weights, weights_nonzero, y):  # pragma: no cover - compiled
    total = np.empty(weights.shape[1], np.int64)
    for row in range(len(x)):
        total[:] = 0
        for k in range(len(weights)):
            word, given = x[row, k], x_nonzero[row, k]
            for m in range(len(total)):
                counts = given & weights_nonzero[k, m]
                total[m] += np.int64(_ones(counts)) - 2 * np.int64(_ones((word ^ weights[k, m]) & counts))
        y[row] = total
