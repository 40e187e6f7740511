"""Matrix products of -1, 0 and +1 by counting bits, 64 products at a time."""

import ctypes
from typing import NamedTuple

import numpy as np

from hw.native.library import Library, array


class Signs(NamedTuple):
    """Rows of -1, 0 and +1 as bits, 64 a word; the bits beyond a row's end are 0.

    ``negative`` (rows, words) uint64; ``nonzero`` the same, or None where there is no zero in the rows.
    """

    negative: np.ndarray
    nonzero: np.ndarray | None

    def transposed(self) -> "Signs":
        """The transpose, (words, rows), which is the layout of the weights in ``product``."""
        nonzero = None if self.nonzero is None else np.ascontiguousarray(self.nonzero.T)
        return Signs(np.ascontiguousarray(self.negative.T), nonzero)


def pack(values: np.ndarray, zeros: bool) -> Signs:
    """Convert integers -1, 0 and +1 ``(rows, n)`` to bits; without ``zeros`` the integers must not contain 0."""
    return Signs(_words(values < 0), _words(values != 0) if zeros else None)


def _words(flags: np.ndarray) -> np.ndarray:
    """Pack booleans ``(rows, n)`` to uint64 words ``(rows, words)``."""
    packed = np.packbits(flags, axis=1, bitorder="little")
    if missing := -packed.shape[1] % 8:
        packed = np.pad(packed, ((0, 0), (0, missing)))
    return np.ascontiguousarray(packed).view(np.uint64)


_LIBRARY = Library("hw.kernels.matrix_vector", ("signs.cpp",), native=True)
_SIZE, _WORDS, _SUMS = ctypes.c_int64, array(np.uint64, 2), array(np.int32, 2)
_agree = _LIBRARY.function("agree", _WORDS, _WORDS, _SIZE, _SIZE, _SIZE, _SIZE, _SUMS)
_agree_where = _LIBRARY.function("agree_where", _WORDS, _WORDS, _WORDS, _WORDS, _SIZE, _SIZE, _SIZE, _SUMS)


def product(x: Signs, weights: Signs, count: int) -> np.ndarray:
    """``sum over k of x[r, k] * weights[m, k]`` as int32 ``(rows, outputs)``; rows are ``count`` long.

    ``weights`` are transposed, (words, outputs). Either both operands have ``nonzero``, or neither contains a zero.
    """
    (rows, words), outputs = x.negative.shape, weights.negative.shape[1]
    sums = np.empty((rows, outputs), np.int32)
    if x.nonzero is None or weights.nonzero is None:
        _agree(x.negative, weights.negative, rows, words, outputs, count, sums)
    else:
        _agree_where(*x, *weights, rows, words, outputs, sums)
    return sums
