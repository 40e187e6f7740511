"""Where a monotone function of an integer changes its code: bisection, vectorised over channels and codes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hw.host.errors import BitfabricError

Codes = Callable[[np.ndarray], np.ndarray]
"""From a batch of integer frames ``(N, *shape)`` to their codes, element by element."""

WORK = 1 << 20
"""Elements that are evaluated at a time."""
TABLE = 1 << 24
"""Largest number of evaluations to check a function over its whole range."""


@dataclass(frozen=True, eq=False)
class StepFunction:
    """``codes`` over ``low..high`` (int64, of the frame's shape, both reachable), per element rising or falling."""

    codes: Codes
    low: np.ndarray
    high: np.ndarray
    falling: np.ndarray
    least: int
    most: int

    def rising_codes(self, frames: np.ndarray) -> np.ndarray:
        """Codes with falling elements turned over: ``least + most - code``, so that all of them rise."""
        codes = self.codes(frames)
        return np.where(self.falling, self.least + self.most - codes, codes)

    def points(self, code: np.ndarray, guess: np.ndarray | None = None) -> np.ndarray:
        """The first input that reaches each of ``code`` (n,): ``(n, *shape)`` in ``low..high + 1`` (never reached).

        "Reaches" is meant of ``rising_codes``. ``guess`` (n, *shape): where to look first, off by one at most.
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


def step_function(codes: Codes, low: np.ndarray, high: np.ndarray, monotone: bool, what: str) -> StepFunction:
    """The step function of ``codes``. ``monotone`` says that it is known to be; else its whole range is tried.

    Raises BitfabricError with ``what`` (the quantizer) where it turns, or gives no number.
    """
    first, last = codes(low[None])[0], codes(high[None])[0]
    if not (np.all(np.isfinite(first)) and np.all(np.isfinite(last))):
        raise BitfabricError(f"{what} gives no finite number for some inputs; check the scales of the layers before it")
    falling = first > last
    if not monotone:
        _check_monotone(codes, low, high, falling, what)
    least, most = np.minimum(first, last), np.maximum(first, last)
    return StepFunction(codes, low, high, falling, int(least.min()), int(most.max()))


def _check_monotone(codes: Codes, low: np.ndarray, high: np.ndarray, falling: np.ndarray, what: str) -> None:
    count = int((high - low).max()) + 1
    if count * low.size > TABLE:
        raise BitfabricError(
            f"{what} follows a function that is not monotone, over a range of {count} integers; put a quantizer of "
            "few bits before that function, or use a monotone one"
        )
    previous = None
    for start in range(0, count, max(1, WORK // low.size)):
        stop = min(count, start + max(1, WORK // low.size))
        frames = np.minimum(low + np.arange(start, stop).reshape(-1, *[1] * low.ndim), high)
        values = codes(frames)
        if previous is not None:
            values = np.concatenate([previous, values])
        change = np.diff(values, axis=0)
        if np.any(np.where(falling, change > 0, change < 0)) or np.isnan(values).any():
            raise BitfabricError(
                f"{what} follows a function that is not monotone over the range it meets, so no thresholds can compute "
                "it; use a monotone activation"
            )
        previous = values[-1:]


def thresholds(function: StepFunction) -> np.ndarray:
    """All decision points: ``(*shape, most - least)``, sorted along the last axis."""
    steps = np.arange(function.least + 1, function.most + 1)
    size = max(1, WORK // function.low.size)
    parts = [function.points(steps[i : i + size]) for i in range(0, len(steps), size)]
    return np.moveaxis(np.concatenate(parts), 0, -1)
