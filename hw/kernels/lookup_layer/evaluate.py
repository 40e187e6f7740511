"""Evaluation of many tables on many frames, in words of 64 frames."""

import numpy as np

WORDS = 1 << 19
"""Words of 64 bits that are computed at a time."""


def evaluate(x: np.ndarray, wires: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """The outputs (N, O), uint8, of the tables of ``wires`` (O, K) and ``tables`` (O, 2^K) for bits ``x`` (N, I).

    A bit of a word belongs to one frame. A table is a tree of multiplexers, whose operations are those of words.
    """
    count, (outputs, inputs) = len(x), wires.shape
    columns = np.ascontiguousarray(np.pad(x.astype(np.uint8), ((0, -count % 64), (0, 0))).T)
    bits = np.ascontiguousarray(np.packbits(columns, axis=1, bitorder="little")).view("<u8")  # (I, words)
    contents = np.where(tables != 0, ~np.uint64(0), np.uint64(0))  # (O, 2^K)
    result = np.empty((outputs, bits.shape[1]), "<u8")
    each = max(1, WORDS // (max(1, bits.shape[1]) << inputs))
    for first in range(0, outputs, each):
        part = slice(first, first + each)
        values = contents[part, :, None]
        for j in range(inputs):  # the lowest bit of the address first
            select = bits[wires[part, j]][:, None, :]
            low, high = values[:, 0::2], values[:, 1::2]
            values = low ^ (select & (low ^ high))
        result[part] = values[:, 0]
    return np.ascontiguousarray(np.unpackbits(result.view(np.uint8), axis=1, count=count, bitorder="little").T)
