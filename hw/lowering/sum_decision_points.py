"""The decision points of a quantizer behind a sum of integers, in the model's own float32 arithmetic.

For integers ``a`` and ``b`` the model computes codes ``f(a, b)``: it scales both, adds them, and quantizes the sum.
``f`` is monotone in ``a`` for every ``b``, since every rounding is. So it is given by its decision points: the first
``a`` of every code, for every ``b``. They are found by evaluation, or by bisection. ``hw.lowering.coefficients`` looks
for the coefficients of a sum of integers that has them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product

import numpy as np

from hw.host.steps import run
from hw.lowering.integer_tensor import Steps
from hw.lowering.pending_sum import PendingSum
from hw.lowering.rounding import ULP, through

WORK = 1 << 19
"""Elements evaluated in one array operation."""
BASES = 5
"""Columns whose decision points are searched over the whole range."""
Evaluate = Callable[[list[np.ndarray]], np.ndarray]
"""From integers (n,) of each leaf to codes."""
FAR = 1 << 60
"""Larger than every sum."""


class SumCodes:
    """A quantizer behind a sum of one channel, as a function of the leaves' integers; codes are made to rise."""

    def __init__(self, pending: PendingSum, rest: Steps, two_valued: bool) -> None:
        self.pending = pending
        self.rest = rest
        self.two_valued = two_valued
        self.falling = False
        self.ends = 0
        """The sum of the minimum and the maximum code, from which falling codes are subtracted."""

    def model(self, integers: list[np.ndarray]) -> np.ndarray:
        """The model's codes for integers (n,) of each leaf."""
        values = run(self.rest, self.pending.total(iter([each[:, None] for each in integers])))[:, 0]
        return self._rising(np.where(values > 0, 1, 0) if self.two_valued else values.astype(np.int64))

    def bounds(self, integers: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest code that the rounding of float32 can lead to."""
        leaves = []
        for leaf, each in zip(self.pending.leaves, integers, strict=True):
            exact = each.astype(np.float64)[:, None]
            leaves.append(through(leaf.steps, (exact, exact)))
        low, high = self.pending.total_bounds(iter(leaves))
        if self.pending.at_once:
            low, high = low - np.abs(low) * ULP, high + np.abs(high) * ULP
        sides = [side[:, 0] for side in through(self.rest, (low, high))]
        codes = [np.where(side > 0, 1, 0) if self.two_valued else side.astype(np.int64) for side in sides]
        return (self._rising(codes[self.falling]), self._rising(codes[not self.falling]))

    def _rising(self, codes: np.ndarray) -> np.ndarray:
        return self.ends - codes if self.falling else codes


@dataclass(frozen=True, eq=False)
class Line:
    """The integers of one channel (or of several that compute the same), in columns along the leaf ``main``.

    That leaf has the integers ``low..high``; ``columns`` (others, n) are the combinations of the other leaves'
    integers, and ``ratios`` their slopes in units of its own. ``wanted`` are all codes but the first.
    """

    function: SumCodes
    main: int
    low: int
    high: int
    columns: np.ndarray
    ratios: list[Fraction]
    wanted: np.ndarray

    @property
    def pairs(self) -> int:
        """The number of combinations of integers."""
        return (self.high - self.low + 1) * self.columns.shape[1]

    def codes(self, evaluate: Evaluate, at: np.ndarray | int, column: np.ndarray | None = None) -> np.ndarray:
        """Codes for integers of the main leaf in columns, by default in every column."""
        given = list(self.columns if column is None else self.columns[:, column])
        given.insert(self.main, np.broadcast_to(np.asarray(at, np.int64), given[0].shape))
        return evaluate(given)

    def first(self, evaluate: Evaluate, near: np.ndarray | None = None) -> np.ndarray:
        """The first integer of the main leaf whose code is at least each that is wanted, ``(codes, n)``.

        It is ``high + 1`` where there is none. ``near`` are estimates.
        """
        if self.high - self.low < 8 * len(self.wanted):
            return self._counted(evaluate)
        return self._bisected(evaluate) if near is None else self._refined(evaluate, near)

    def _counted(self, evaluate: Evaluate) -> np.ndarray:
        """The same from all codes."""
        span, n, levels = self.high - self.low + 1, self.columns.shape[1], len(self.wanted) + 1
        result = np.empty((levels - 1, n), np.int64)
        size = max(1, WORK // span)
        for start in range(0, n, size):
            part = np.arange(start, min(start + size, n))
            at, column = (each.ravel() for each in np.meshgrid(np.arange(self.low, self.high + 1), part, indexing="ij"))
            codes = self.codes(evaluate, at, column) - (int(self.wanted[0]) - 1)
            counts = np.bincount(
                np.clip(codes, 0, levels - 1) * len(part) + column - start, minlength=levels * len(part)
            )
            result[:, part] = self.low + np.cumsum(counts.reshape(levels, -1), axis=0)[:-1]
        return result

    def _bisected(self, evaluate: Evaluate) -> np.ndarray:
        """The same by bisection: of some columns first, of the others near the points that these lead to."""
        n = self.columns.shape[1]
        rest = np.array([float(ratio) for ratio in self.ratios]) @ self.columns
        bases = np.unique(np.linspace(0, n - 1, BASES).astype(int))
        known = np.stack([self._search(evaluate, np.full(len(self.wanted), base)) for base in bases], axis=1)
        order = np.arange(n)
        nearest = np.abs(bases - order[:, None]).argsort(axis=1)
        guess = np.full((len(self.wanted), n), self.high + 1, np.float64)
        for rank in reversed(range(len(bases))):
            base = nearest[:, rank]
            points = known[:, base]
            usable = (points > self.low) & (points <= self.high)
            guess = np.where(usable, points + rest[bases[base]] - rest, guess)
        return self._refined(evaluate, np.clip(np.ceil(guess), self.low, self.high + 1).astype(np.int64))

    def _refined(self, evaluate: Evaluate, near: np.ndarray) -> np.ndarray:
        """The same by bisection around estimates."""
        result = np.empty_like(near)
        size = max(1, WORK // len(near))
        for start in range(0, near.shape[1], size):
            part = near[:, start : start + size]
            columns = np.broadcast_to(np.arange(start, start + part.shape[1]), part.shape).ravel()
            codes = np.repeat(np.arange(len(part)), part.shape[1])
            result[:, start : start + size] = self._search(evaluate, columns, codes, part.ravel()).reshape(part.shape)
        return result

    def _search(
        self, evaluate: Evaluate, column: np.ndarray, code: np.ndarray | None = None, near: np.ndarray | None = None
    ) -> np.ndarray:
        """The first integers in columns (n,) with codes of which ``code`` (n,) are the indices (by default, all in
        order); ``near`` are estimates of them."""
        wanted = self.wanted if code is None else self.wanted[code]
        low, high = np.full(len(column), self.low), np.full(len(column), self.high + 1)
        if near is not None:
            for at in (near - 2, near + 1):
                inside = (at >= low) & (at < high)
                reached = self.codes(evaluate, np.clip(at, self.low, self.high), column) >= wanted
                high = np.where(inside & reached, at, high)
                low = np.where(inside & ~reached, at + 1, low)
        active = np.flatnonzero(low < high)
        while len(active):
            middle = (low[active] + high[active]) >> 1
            reached = self.codes(evaluate, middle, column[active]) >= wanted[active]
            high[active] = np.where(reached, middle, high[active])
            low[active] = np.where(reached, low[active], middle + 1)
            active = active[low[active] < high[active]]
        return low


@dataclass(frozen=True, eq=False)
class ChannelPoints:
    """The decision points on a line, ``(codes, columns)``, with codes that rise.

    For each code but the least: the first integer with that code in the ``model``; the first that rounding can lead to
    it (``possible``), and the first from which on it must have it (``sure``). All three are equal unless pairs are
    free.
    """

    line: Line
    model: np.ndarray
    possible: np.ndarray
    sure: np.ndarray

    def limits(self, factors: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """By code, the largest sum with smaller codes, and the smallest sum with other codes, -FAR and FAR if none."""
        rest = np.array(factors[1:], np.int64) @ self.line.columns
        below, above = np.empty((2, len(self.possible)), np.int64)
        for code, (possible, sure) in enumerate(zip(self.possible, self.sure, strict=True)):
            first, last = possible > self.line.low, sure <= self.line.high
            below[code] = ((possible - 1) * factors[0] + rest).max(where=first, initial=-FAR)
            above[code] = (sure * factors[0] + rest).min(where=last, initial=FAR)
        return below, above

    def table(self, factors: list[int]) -> tuple[np.ndarray, int] | None:
        """The thresholds, and the pairs whose code differs from the model's; None if no thresholds tell codes apart."""
        below, above = self.limits(factors)
        if np.any(below >= above):
            return None
        table = np.where(above < FAR, above, below + 1)
        differing = 0
        for index in np.flatnonzero((self.possible != self.sure).any(axis=1)).tolist():
            table[index], more = self._decided(index, factors, int(below[index]), int(above[index]))
            differing += more
        return np.maximum.accumulate(table), differing

    def _decided(self, index: int, factors: list[int], below: int, above: int) -> tuple[int, int]:
        """The threshold of one code with which the fewest free pairs differ from the model, and their number."""
        start, stop, model = self.possible[index], self.sure[index], self.model[index]
        count = stop - start
        places = np.repeat(np.arange(len(count)), count)
        main = np.arange(len(places)) - np.repeat(np.cumsum(count) - count, count) + start[places]
        sums = main * factors[0] + (np.array(factors[1:], np.int64) @ self.line.columns)[places]
        reached = main >= model[places]
        order = np.argsort(sums, kind="stable")
        sums, reached = sums[order], reached[order]
        # With a threshold at the n-th sum, those before it differ that are reached, and those after it that are not.
        wrong = np.concatenate(([0], np.cumsum(reached))) + np.concatenate((np.cumsum(~reached[::-1])[::-1], [0]))
        at = np.concatenate((sums, [min(above, FAR)]))
        legal = (at > below) & (at <= above) & np.concatenate(([True], at[1:] > at[:-1]))
        if not legal.any():
            inside = max(below + 1, min(above, int(sums[0])))
            return inside, int((reached != (sums >= inside)).sum())
        best = int(np.argmin(np.where(legal, wrong, len(places) + 1)))
        found = int(at[best])
        if found == FAR:  # No sum must be reached.
            found = max(below, int(sums[-1])) + 1
        return found, int(wrong[best])


def corners(function: SumCodes) -> tuple[int, int]:
    """The minimum and maximum code: a monotone function has them at the ends of the leaves' ranges."""
    ends = product(*((int(leaf.low[0]), int(leaf.high[0])) for leaf in function.pending.leaves))
    codes = function.model(list(np.array(list(ends), np.int64).T))
    return int(codes.min()), int(codes.max())


def channel_points(function: SumCodes, main: int, wanted: np.ndarray) -> ChannelPoints | None:
    """The decision points of a channel, along the leaf ``main``; None where the codes rise and fall."""
    leaves, slopes = function.pending.leaves, [each[0] for each in function.pending.slopes]
    others = [leaf for index, leaf in enumerate(leaves) if index != main]
    spans = (np.arange(int(leaf.low[0]), int(leaf.high[0]) + 1) for leaf in others)
    columns = np.array([axis.ravel() for axis in np.meshgrid(*spans, indexing="ij")])
    ratios = [slope / slopes[main] if slopes[main] else Fraction(0) for i, slope in enumerate(slopes) if i != main]
    line = Line(function, main, int(leaves[main].low[0]), int(leaves[main].high[0]), columns, ratios, wanted)
    first, last = (line.codes(function.model, end) for end in (line.low, line.high))
    if np.any(first > last) and np.any(first < last):
        return None
    function.falling = bool(np.any(first > last))
    model = line.first(function.model)
    return ChannelPoints(line, model, model, model)


def loosened(channel: ChannelPoints) -> ChannelPoints:
    """The channel with the pairs free of which rounding can lead to several codes."""
    function = channel.line.function
    possible = channel.line.first(lambda given: function.bounds(given)[1], channel.model)
    sure = channel.line.first(lambda given: function.bounds(given)[0], channel.model)
    return replace(channel, possible=np.minimum(possible, channel.model), sure=np.maximum(sure, channel.model))
