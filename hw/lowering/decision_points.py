"""The inputs at which a monotone function of an integer changes its code, by bisection.

The bisection runs for all channels and codes at once, as array operations.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hw.host.errors import BitfabricError

Codes = Callable[[np.ndarray], np.ndarray]
"""A function from a batch of integer frames ``(N, *shape)`` to their codes, element by element."""

WORK = 1 << 20
"""Elements evaluated in one array operation, which bounds the memory."""


@dataclass(frozen=True, eq=False)
class StepFunction:
    """A monotone function of one integer for each element of a frame.

    ``codes`` evaluates it; ``low`` and ``high`` (int64, of the frame's shape) bound its input, and both occur;
    ``falling`` marks decreasing elements; ``least`` and ``most`` are the minimum and maximum code of all elements.
    """

    codes: Codes
    low: np.ndarray
    high: np.ndarray
    falling: np.ndarray
    least: int
    most: int

    def rising_codes(self, frames: np.ndarray) -> np.ndarray:
        """The codes, with ``least + most - code`` for the elements that decrease, so that all of them increase."""
        codes = self.codes(frames)
        return np.where(self.falling, self.least + self.most - codes, codes)

    def points(self, code: np.ndarray, guess: np.ndarray | None = None) -> np.ndarray:
        """The smallest input whose ``rising_codes`` are at least ``code`` (n,); shape ``(n, *shape)``.

        It lies in ``low..high + 1``; ``high + 1`` means that no input reaches the code. ``guess`` (n, *shape) is tried
        first, together with its two neighbours.
        """
        wanted = np.asarray(code).reshape(-1, *[1] * self.low.ndim)
        low = np.broadcast_to(self.low, (len(wanted), *self.low.shape)).copy()
        high = np.broadcast_to(self.high + 1, low.shape).copy()
        if guess is not None:
            for at in (guess - 1, guess, guess + 1):
                inside = (at >= low) & (at < high)
                reached = self.rising_codes(np.clip(at, self.low, self.high)) >= wanted
                high = np.where(inside & reached, at, high)
                low = np.where(inside & ~reached, at + 1, low)
        while np.any(low < high):
            middle = (low + high) >> 1
            reached = self.rising_codes(np.minimum(middle, self.high)) >= wanted
            active = low < high
            high = np.where(active & reached, middle, high)
            low = np.where(active & ~reached, middle + 1, low)
        return low


def step_function(codes: Codes, low: np.ndarray, high: np.ndarray, what: str) -> StepFunction:
    """The step function of ``codes``, which are monotone, on inputs from ``low`` to ``high``.

    Raises BitfabricError, with ``what`` (the quantizer's name), if they are not finite.
    """
    first, last = codes(low[None])[0], codes(high[None])[0]
    if not (np.all(np.isfinite(first)) and np.all(np.isfinite(last))):
        raise not_finite(what)
    least, most = np.minimum(first, last), np.maximum(first, last)
    return StepFunction(codes, low, high, first > last, int(least.min()), int(most.max()))


def not_finite(what: str) -> BitfabricError:
    """The error for a quantizer, ``what``, whose codes are no numbers."""
    return BitfabricError(f"{what} gives no finite number for some inputs; check the scales of the layers before it")


def thresholds(function: StepFunction) -> np.ndarray:
    """All decision points, int64 ``(*shape, most - least)``, in increasing order along the last axis."""
    steps = np.arange(function.least + 1, function.most + 1)
    size = max(1, WORK // function.low.size)
    parts = [function.points(steps[i : i + size]) for i in range(0, len(steps), size)]
    return np.moveaxis(np.concatenate(parts), 0, -1)
