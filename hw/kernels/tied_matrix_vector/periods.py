"""Whether enough of a matrix of weights repeats to look closer: tests by samples, which say no of most matrices."""

from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from math import gcd
from typing import Any

import numpy as np

from hw.kernels.shared.parameters import divisors
from hw.kernels.tied_matrix_vector.ties import LEAST_BITS, LEAST_SAVED, LEAST_WORDS, MOST_LANES
from hw.kernels.tied_matrix_vector.turns import Loop

FIRST, MORE, WORDS = 8, 64, 4096
"""Words that are compared to see at a glance whether columns are equal, then to be surer of it, and words that are
compared to see whether words are equal."""
LONGEST = 64
"""Maximum period in outputs and in inputs."""
ENOUGH, SIMILAR = 1 - LEAST_SAVED, 0.1
"""Maximum share of the columns that are different, and the differences of such shares that do not count."""
KERNELS = (1, 4, 9, 25, 49)
"""Positions of the kernels of convolutions that are tried as periods."""


@dataclass(frozen=True)
class Period:
    """Weights repeat every ``outputs`` outputs and, at each of ``positions`` of a kernel, every ``inputs`` inputs."""

    outputs: int
    positions: int
    inputs: int

    @property
    def lanes(self) -> int:
        """Weights of a period."""
        return self.outputs * self.positions * self.inputs

    def is_multiple_of(self, other: "Period") -> bool:
        """Whether what repeats with the other period repeats with this one, at the same positions."""
        same = self.positions == other.positions
        return same and not self.outputs % other.outputs and not self.inputs % other.inputs

    def loop(self, shape: tuple[int, int], pe: int, simd: int) -> Loop | None:
        """The loops of a memory of a matrix of ``shape`` in a folding; None where there are no phases in time."""
        (mh, mw), positions, inputs = shape, self.positions, self.inputs
        channels = mw // positions
        if channels % simd:
            if simd % channels or positions % (simd // channels):
                return None
            positions, inputs, channels = positions * channels // simd, simd, simd
        first, last = self.outputs // gcd(self.outputs, pe), inputs // gcd(inputs, simd)
        loop = Loop(mh // pe // first, first * positions, channels // simd // last, last)
        return loop if loop.phases > 1 and loop.words >= LEAST_WORDS else None


class Samples:
    """What samples show of a matrix (MH, MW) of ``bits`` each. Equal matrices share what was found once: of products
    that differ in their inputs only, the memories are the same."""

    def __init__(self, weights: np.ndarray, bits: int) -> None:
        self.weights, self.bits = weights, bits
        digest = blake2b(np.ascontiguousarray(weights).data, digest_size=16)
        digest.update(repr((weights.shape, weights.dtype.str, bits)).encode())
        self._known = _answers(digest.digest())

    @property
    def period(self) -> Period | None:
        """As ``period``."""
        if "period" not in self._known:
            self._known["period"] = period(self.weights, self.bits)
        return self._known["period"]

    def worthwhile(self, pe: int, simd: int) -> bool:
        """As ``worthwhile``."""
        if (pe, simd) not in self._known:
            self._known[pe, simd] = worthwhile(self.weights, self.bits, pe, simd)
        return bool(self._known[pe, simd])


@lru_cache(maxsize=1024)
def _answers(digest: bytes) -> dict[Any, Any]:
    """What is known of a matrix, which is filled in."""
    return {}


def period(weights: np.ndarray, bits: int) -> Period | None:
    """The shortest period of a matrix (MH, MW) of ``bits`` each in which as few of its columns are different as in
    others; None where it saves too little."""
    if weights.size * bits < LEAST_BITS:
        return None
    mh, mw = weights.shape

    def share(each: Period, *counts: int) -> float:
        apart = each.outputs, each.positions, mw // each.positions // each.inputs, each.inputs
        blocks = weights.reshape(-1, *apart).transpose(0, 3, 1, 2, 4)
        return max(_columns(blocks, count) / each.lanes for count in counts)

    # What repeats with a period repeats with its multiples, too.
    found = [each for each in _longest(mh, mw) if share(each, FIRST) <= ENOUGH and share(each, MORE) <= ENOUGH]
    among = {each for each in _periods(mh, mw) for multiple in found if multiple.is_multiple_of(each)}
    shares = {each: share(each, FIRST, MORE) for each in among}
    limit = min(ENOUGH, (1 + SIMILAR) * min(shares.values(), default=0))
    return min((each for each in among if shares[each] <= limit), key=lambda each: each.lanes, default=None)


@cache
def _periods(mh: int, mw: int) -> tuple[Period, ...]:
    """The periods that are tried."""
    every = (
        Period(outputs, positions, inputs)
        for positions in KERNELS
        if mw % positions == 0
        for outputs in divisors(mh)
        for inputs in divisors(mw // positions)
        if max(outputs, inputs) <= LONGEST
    )
    most = min(MOST_LANES, mh * mw // LEAST_WORDS)
    return tuple(each for each in every if 1 < each.lanes <= most)


@cache
def _longest(mh: int, mw: int) -> tuple[Period, ...]:
    """Those of which no other is a multiple."""
    every = _periods(mh, mw)
    return tuple(p for p in every if not any(other.is_multiple_of(p) and other != p for other in every))


def worthwhile(weights: np.ndarray, bits: int, pe: int, simd: int) -> bool:
    """Whether the memory of a matrix (MH, MW) of ``bits`` each looks in this folding as if enough of it repeats,
    without turns."""
    (mh, mw), lanes = weights.shape, pe * simd
    depth = weights.size // lanes
    if depth < LEAST_WORDS or weights.size * bits < LEAST_BITS or lanes > MOST_LANES:
        return False
    parts = weights.reshape(mh // pe, pe, mw // simd, simd)
    blocks = parts.transpose(0, 2, 1, 3)
    if lanes > 1 and all(_columns(blocks, count) <= lanes // 2 for count in (FIRST, MORE)):
        return True
    lane = np.unique(np.linspace(0, lanes - 1, MORE).astype(np.int64))
    groups = -(-WORDS // (mw // simd))
    few = parts[:groups, lane // simd, :, lane % simd].reshape(len(lane), -1)[:, :WORDS].T
    kinds = len(np.unique(few.astype(np.int64) @ _keys(few.shape[1])))
    return kinds <= len(few) * (1 - LEAST_SAVED / 2) and (kinds - 1).bit_length() <= LEAST_SAVED * lanes * bits


def _columns(blocks: np.ndarray, count: int) -> int:
    """Number of different weights in a block, as ``count`` of them show; weights of opposite sign count as one.

    ``blocks``: (rows of blocks, columns of blocks, ...).
    """
    rows, steps = blocks.shape[:2]
    chosen = np.linspace(0, rows * steps - 1, min(count, rows * steps)).astype(np.int64)
    columns = blocks[chosen // steps, chosen % steps].reshape(len(chosen), -1).astype(np.int64)
    return len(np.unique(np.abs(_keys(len(chosen)) @ columns)))


def _keys(count: int) -> np.ndarray:
    """Fixed random factors, whose sums of products tell different vectors apart."""
    return np.random.default_rng(count).integers(1 << 40, 1 << 60, count)
