"""Functions of an integer that need not be monotone, as pieces with one code each.

The pieces are found by halving: where interval arithmetic proves that all integers of a range have one code, they are
not evaluated. So the work grows with the number of pieces and not with the range, and sums of any width are exact.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hw.host.errors import BitfabricError
from hw.lowering.decision_points import WORK, Codes, not_finite

Bounds = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From the first and the last integer of ranges (N, *shape) to bounds on the codes of all integers between them."""

DIRECT = 1 << 17
"""Number of evaluations up to which every integer is evaluated."""
LEAF = 32
"""Integers of a range that are evaluated rather than bounded."""
PARTS = 16
"""Parts into which a range is divided whose code is not certain."""
MOST = 1 << 22
"""Limit on the number of evaluations."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """The pieces of a function of one integer for each channel.

    Channel ``c`` has the code ``codes[c][i]`` (float64) from the integer ``starts[c][i]`` (int64) up to the next start.
    Adjacent pieces have different codes.
    """

    starts: tuple[np.ndarray, ...]
    codes: tuple[np.ndarray, ...]

    @property
    def most(self) -> int:
        """The largest number of pieces of a channel."""
        return max(map(len, self.starts))

    @property
    def shared(self) -> bool:
        """Whether all channels have the same function."""
        return all(
            np.array_equal(starts, self.starts[0]) and np.array_equal(codes, self.codes[0])
            for starts, codes in zip(self.starts, self.codes, strict=True)
        )

    @property
    def range(self) -> tuple[int, int]:
        """The minimum and maximum code of all channels."""
        return int(min(codes.min() for codes in self.codes)), int(max(codes.max() for codes in self.codes))

    def falling(self) -> np.ndarray | None:
        """Which channels (C,) decrease, if each channel is monotone; otherwise None."""
        changes = [np.diff(codes) for codes in self.codes]
        if any(np.any(change > 0) and np.any(change < 0) for change in changes):
            return None
        return np.array([bool(np.any(change < 0)) for change in changes])

    def at(self, channel: int, integers: np.ndarray) -> np.ndarray:
        """The codes (int64) of a channel's integers; beyond its range, those of the nearest integer in it."""
        place = np.searchsorted(self.starts[channel], integers, "right") - 1
        codes: np.ndarray = self.codes[channel][np.maximum(place, 0)].astype(np.int64)
        return codes


def pieces(codes: Codes, bounds: Bounds, low: np.ndarray, high: np.ndarray, what: str) -> Pieces:
    """The pieces of ``codes`` on the integers from ``low`` to ``high``, which have the shape of a frame.

    ``bounds`` need not be tight. Raises BitfabricError, with ``what`` (the quantizer's name), for codes that are not
    finite, and for a function that changes its code too often.
    """
    function = _Function(codes, bounds, low)
    channels, first, last = np.arange(low.size), low.ravel().astype(np.int64), high.ravel().astype(np.int64)
    leaf = LEAF if (last - first + 1).astype(float).sum() > DIRECT else int((last - first).max()) + 1
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while len(channels):
        size = last - first + 1
        small = size <= leaf
        at, integers = _each(channels[small], first[small], size[small])
        found.append((at, integers, function.evaluate(at, integers)))
        channels, first, last = channels[~small], first[~small], last[~small]
        if not len(channels):
            break
        least, most = function.bound(channels, first, last)
        certain = np.isfinite(least) & (least == most)
        found.append((channels[certain], first[certain], least[certain]))
        channels, first, last = _divided(channels[~certain], first[~certain], last[~certain])
        if function.evaluated > MOST:
            raise BitfabricError(
                f"{what} follows a function that is not monotone and changes its code too often over its "
                f"{int((high - low).max()) + 1} integers; put a quantizer of few bits before that function"
            )
    owner, starts, values = (np.concatenate(part) for part in zip(*found, strict=True))
    if not np.all(np.isfinite(values)):
        raise not_finite(what)
    order = np.lexsort((starts, owner))
    owner, starts, values = owner[order], starts[order], values[order]
    new = np.ones(len(owner), bool)
    new[1:] = (owner[1:] != owner[:-1]) | (values[1:] != values[:-1])
    owner, starts, values = owner[new], starts[new], values[new]
    edges = np.searchsorted(owner, np.arange(1, low.size))
    return Pieces(tuple(np.split(starts, edges)), tuple(np.split(values, edges)))


def _each(channels: np.ndarray, first: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every integer of the ranges, with its channel."""
    if not len(size):
        return channels, first
    ends = np.cumsum(size)
    offset = np.arange(ends[-1]) - np.repeat(ends - size, size)
    return np.repeat(channels, size), np.repeat(first, size) + offset


def _divided(channels: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ranges, which have at least PARTS integers, in PARTS parts each."""
    size = (last - first + 1)[:, None]
    places = np.arange(PARTS + 1)
    # Without overflow: the size is a multiple of PARTS and a rest.
    cuts = first[:, None] + size // PARTS * places + size % PARTS * places // PARTS
    return np.repeat(channels, PARTS), cuts[:, :-1].ravel(), (cuts[:, 1:] - 1).ravel()


class _Function:
    """Codes and bounds at integers of single channels, evaluated as whole frames; ``fill`` is a frame."""

    def __init__(self, codes: Codes, bounds: Bounds, fill: np.ndarray) -> None:
        self.codes, self.bounds, self.fill = codes, bounds, fill
        self.evaluated = 0

    def evaluate(self, channels: np.ndarray, integers: np.ndarray) -> np.ndarray:
        """The codes (n,) of integers (n,) in channels (n,)."""
        (result,) = self._framed(lambda frames: (self.codes(frames),), channels, integers)
        return result

    def bound(self, channels: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds (n,) on the codes between two integers (n,)."""
        least, most = self._framed(self.bounds, channels, first, last)
        return least, most

    def _framed(
        self, function: Callable[..., tuple[np.ndarray, ...]], channels: np.ndarray, *integers: np.ndarray
    ) -> list[np.ndarray]:
        order = np.argsort(channels, kind="stable")
        counts = np.bincount(channels, minlength=self.fill.size)
        row = np.empty(len(channels), np.int64)
        row[order] = np.arange(len(channels)) - np.repeat(np.cumsum(counts) - counts, counts)
        frames = [np.tile(self.fill.reshape(1, -1), (int(counts.max(initial=0)), 1)) for _ in integers]
        for frame, values in zip(frames, integers, strict=True):
            frame[row, channels] = values
        self.evaluated += frames[0].size
        size = max(1, WORK // self.fill.size)
        parts = [
            function(*(frame[i : i + size].reshape(-1, *self.fill.shape) for frame in frames))
            for i in range(0, max(1, len(frames[0])), size)
        ]
        whole = (np.concatenate(part).reshape(-1, self.fill.size) for part in zip(*parts, strict=True))
        return [values[row, channels].astype(np.float64) for values in whole]
