"""What is known of a stream's channels: those that are constant, and those that follow from another one."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Channels:
    """The channels of a stream of the original graph, computed from those of the reduced one.

    Channel ``c`` is ``sign[c] * r[source[c]] + offset[c]``, where ``r`` are the integers of the reduced graph by the
    original numbers of their channels; it is the constant ``offset[c]`` where ``source[c]`` is -1. A channel that is
    its own source has the sign +1. ``low`` and ``high`` are bounds on the original integers. All arrays are (C,).
    """

    source: np.ndarray
    sign: np.ndarray
    offset: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def independent(cls, low: np.ndarray, high: np.ndarray) -> Self:
        """Channels that are all their own sources, and pass unchanged."""
        count = len(low)
        return cls(np.arange(count), np.ones(count, np.int64), np.zeros(count, np.int64), low, high)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def own(self) -> np.ndarray:
        """Which channels are their own sources, bool (C,)."""
        return np.asarray(self.source == np.arange(len(self)))

    @property
    def constant(self) -> np.ndarray:
        """Which channels are constant, bool (C,)."""
        return np.asarray(self.source < 0)

    @property
    def unchanged(self) -> bool:
        """Whether all channels are their own sources, and pass unchanged."""
        return bool(self.own.all() and not self.offset.any())

    def reduced_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Bounds on the reduced graph's integers of the channels that are their own sources, (C,) each."""
        return self.low - self.offset, self.high - self.offset

    def tiled(self, times: int) -> "Channels":
        """The channels of ``times`` positions, one after the other."""
        start = np.repeat(np.arange(times) * len(self), len(self))
        source = np.tile(self.source, times)
        rest = (np.tile(each, times) for each in (self.sign, self.offset, self.low, self.high))
        return Channels(np.where(source >= 0, source + start, -1), *rest)

    def clipped(self, limits: tuple[int, int] | None) -> "Channels":
        """The same with bounds within ``limits`` (None: unlimited)."""
        if limits is None:
            return self
        return replace(self, low=np.maximum(self.low, limits[0]), high=np.minimum(self.high, limits[1]))

    def original(self, reduced: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """The original integers (..., C) of the reduced ones (..., kept channels); 0 for channels that have no source
        among the ``kept`` ones, bool (C,)."""
        every = np.zeros((*reduced.shape[:-1], len(self)), np.int64)
        every[..., kept] = reduced
        return np.asarray(np.where(self.source >= 0, every[..., self.source] * self.sign, 0) + self.offset)

    def reduced(self, original: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """The reduced integers (..., kept channels) of the original ones (..., C)."""
        return np.asarray(original[..., kept] - self.offset[kept])


def grouped(keys: list[object]) -> np.ndarray:
    """For each key, the index of the first equal one, (keys,)."""
    first: dict[object, int] = {}
    return np.array([first.setdefault(key, index) for index, key in enumerate(keys)], np.int64)


def refined(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The common refinement of two partitions of channels, (C,) each; -1 where both are -1.

    A part has the number of its first channel, so the same partition always has the same labels.
    """
    parts = grouped(list(zip(labels.tolist(), others.tolist(), strict=True)))
    return np.where((labels < 0) & (others < 0), -1, parts)
