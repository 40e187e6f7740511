"""Codebook of a matrix of few different weights: a list of them, and codes, which a memory holds in their place."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.stream import code_bits, encode
from hw.kernels.shared import cell_costs

MOST_BITS = 0.75
"""Maximum bits of a code as a share of those of a weight."""
MOST_CODE_BITS = 6
"""Maximum bits of a code, so that a bit of the decoder is a few lookup tables."""


@dataclass(frozen=True, eq=False)
class Codebook:
    """``weights``: the bits of the weight of each code, (codes, bits of a weight), a power of two of codes. ``values``:
    the different weights in order, and ``codes`` theirs."""

    weights: np.ndarray
    values: np.ndarray
    codes: np.ndarray

    @property
    def code_bits(self) -> int:
        """Bits of a code."""
        return (len(self.weights) - 1).bit_length()

    @property
    def weight_bits(self) -> int:
        """Bits of a weight."""
        return self.weights.shape[1]

    @property
    def tables(self) -> int:
        """Bits of a weight that are neither constant nor a bit of the code or its complement."""
        codes = np.arange(len(self.weights))[:, None] >> np.arange(self.code_bits) & 1
        wires = (
            np.concatenate((codes, np.zeros((len(codes), 1), codes.dtype)), axis=1)[:, None] ^ self.weights[..., None]
        )
        return int(np.count_nonzero(~((wires == wires[0]).all(axis=0).any(axis=1))))

    def decoded(self, words: np.ndarray) -> np.ndarray:
        """The bits of weights, (words, lanes * weight bits), from those of codes, (words, lanes * code bits)."""
        codes = words.reshape(len(words), -1, self.code_bits) @ (1 << np.arange(self.code_bits))
        return np.asarray(self.weights[codes].reshape(len(words), -1))

    def encoded(self, weights: np.ndarray) -> np.ndarray:
        """The bits of the codes of weights, (words, lanes * code bits), in any shape (words, ...)."""
        codes = self.codes[np.searchsorted(self.values, weights)]
        return code_bits(codes, self.code_bits).reshape(len(codes), -1)


@dataclass(frozen=True)
class Decoder:
    """Decoder of ``lanes`` weights of ``weight_bits`` bits, of which ``tables`` depend on several bits of a code."""

    lanes: int
    code_bits: int
    weight_bits: int
    tables: int

    def resources(self, family: Family) -> Resources:
        """Cost, including the registers of the weights."""
        each = cell_costs.rom(1 << self.code_bits, self.tables, family)
        return Resources(self.lanes * each, self.lanes * self.weight_bits)


def codebook(weights: np.ndarray, dtype: BaseDataType) -> Codebook | None:
    """The codebook of a matrix's weights; None if they have too many different ones.

    The code is a part of a weight's own bits where these tell all weights apart; else the weights are in order.
    """
    different, width = np.unique(weights), dtype.bitwidth()
    bits = max(1, (len(different) - 1).bit_length())
    if bits > MOST_CODE_BITS or bits > MOST_BITS * width:
        return None
    codes = encode(different, dtype).astype(np.int64)
    kept = codes[:, None] >> np.arange(width) & 1
    place = np.arange(len(codes))
    for some in combinations(range(width), bits):
        own = kept[:, some] @ (1 << np.arange(bits))
        if len(np.unique(own)) == len(own):
            place = own
            break
    listed = np.empty((1 << bits, width), np.uint8)
    listed[:] = kept[-1]
    listed[place] = kept
    return Codebook(listed, different, place)
