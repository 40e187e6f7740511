"""Inputs of one layer, and what the functions that choose them share."""

from dataclasses import dataclass

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.verification.segments import Cut, Tensors

POINTS = 1 << 20
"""Limit on the integers that a quantizer is driven with."""
MOVES = frozenset({"fork", "fifo", "width_converter"})
"""Kernels that pass every element on unchanged."""


@dataclass(frozen=True, eq=False)
class Stimuli:
    """Integers ``(N, *shape)`` by edge of the sources.

    ``points`` is the number of decision points of a quantizer, counted by channel, of which ``covered`` are driven
    from both sides; ``sums`` is the number of sums whose minimum and maximum are driven.
    """

    integers: Tensors
    points: int = 0
    covered: int = 0
    sums: int = 0

    @property
    def count(self) -> int:
        """N."""
        return len(next(iter(self.integers.values())))


def ranges(cut: Cut) -> tuple[np.ndarray, np.ndarray]:
    """The minimum and maximum of each element of a cut's frames, ``(elements,)``."""
    low, high = (np.broadcast_to(bound, cut.values.shape).ravel() for bound in (cut.values.low, cut.values.high))
    return low, high


def legal(values: np.ndarray, low: np.ndarray, high: np.ndarray, dtype: BaseDataType) -> np.ndarray:
    """Values clipped to the range of each element; -1 and +1 for a bipolar type."""
    if dtype == DataType["BIPOLAR"]:
        values = np.where(values > 0, 1, -1)
    return np.clip(values, low, high)


def count_points(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> int:
    """The different decision points (C, n) that lie between each channel's ``low`` and ``high``."""
    ordered = np.sort(points, axis=1)
    new = np.diff(ordered, axis=1, prepend=ordered[:, :1] - 1) != 0
    return int((new & (ordered > low[:, None]) & (ordered <= high[:, None])).sum())
