"""The cheapest integer coefficients with which a sum of integers tells a quantizer's codes apart.

For integers ``a`` and ``b`` the model computes codes ``f(a, b)`` in float32: it scales both, adds them, and quantizes
the sum. ``f`` is monotone in ``a`` for every ``b``, since every rounding is. So it is given by its decision points: the
first ``a`` of every code, for every ``b``. A sum ``m1 * a + m2 * b`` computes ``f`` if some threshold for every code
lies above the sums of all pairs of smaller codes, and not above those of the others. It does so for all pairs if it
does so for the pairs at both sides of the decision points. For these, that is one linear inequality in ``m2 / m1`` for
two values of ``b``: all inequalities together leave an open interval, and the fraction in it with the smallest terms is
the answer.

Float32 rounds pairs of equal sums differently in rare cases, and then no interval is left. The pairs of which rounding
can lead to either code are then free: the interval of all others holds the exact ratio. The coefficients with which the
fewest of these pairs get another code than the model's are taken, and the pairs are counted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import ceil, floor, prod

import numpy as np

from hw.host.steps import HostStep, run
from hw.ir.stream import smallest_dtype
from hw.kernels.requant.kernel import MAX_OUTPUT
from hw.lowering.integer_tensor import Steps, binary
from hw.lowering.monotone import monotone
from hw.lowering.pending_sum import PendingSum, steps_of_channel
from hw.lowering.rounding import ULP, through

MOST_POINTS = 1 << 24
"""Limit on the decision points of all channels together."""
NARROW = 1 << 10
"""A leaf with more integers than these counts as a sum. Two sums are not worth as many points: 8 times less."""
WORK = 1 << 19
"""Elements evaluated in one array operation."""
MOST_SHIFT = 24
"""Largest power of two, as an exponent, that is tried as a coefficient."""
TRIED = 1 << 12
"""Number of denominators tried for a cheaper fraction of as many bits."""
CANDIDATES = 4
"""Number of fractions of which the one with the fewest differences is taken."""
RARE = 1000
"""One pair in so many may differ without a search for a finer ratio."""
MULTIPLIER = 1 << 13
"""Bits of thresholds that are worth a multiplier in each channel."""
BASES = 5
"""Columns whose decision points are searched over the whole range."""
Evaluate = Callable[[list[np.ndarray]], np.ndarray]
"""From integers (n,) of each leaf to codes."""
FAR = 1 << 60
"""Larger than every sum."""


@dataclass(frozen=True, eq=False)
class Separation:
    """Coefficients and thresholds that compute a quantizer behind a sum.

    - ``coefficients``: by leaf of the sum, integers (channels,);
    - ``thresholds``: (channels, most - least), the smallest sum of each code but the first, or, where the codes fall
      (``falling``, (channels,)), the same for ``least + most - code``;
    - ``least``, ``most``: the minimum and maximum code, 0 and 1 for a bipolar quantizer;
    - ``combinations``: the number of combinations of the leaves' integers for which that is proven, in all channels;
    - ``differing``: those of them whose code differs from the model's by the rounding of float32.
    """

    coefficients: tuple[np.ndarray, ...]
    thresholds: np.ndarray
    falling: np.ndarray
    least: int
    most: int
    combinations: int
    differing: int


class _Codes:
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
class _Line:
    """The integers of one channel (or of several that compute the same), in columns along the leaf ``main``.

    That leaf has the integers ``low..high``; ``columns`` (others, n) are the combinations of the other leaves'
    integers, and ``ratios`` their slopes in units of its own. ``wanted`` are all codes but the first.
    """

    function: _Codes
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
class _Channel:
    """The decision points on a line, ``(codes, columns)``, with codes that rise.

    For each code but the least: the first integer with that code in the ``model``; the first that rounding can lead to
    it (``possible``), and the first from which on it must have it (``sure``). All three are equal unless pairs are
    free.
    """

    line: _Line
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


def separation(pending: PendingSum, head: Steps) -> Separation | None:
    """The cheapest coefficients with which a sum decides ``head``, which are its steps up to a quantizer.

    None if a step is not monotone, if there are too many decision points, or if no coefficients of ``MOST_SHIFT`` bits
    do; the steps must not vary spatially.
    """
    rest, two_valued = head[pending.count :], binary(head[-1])
    steps = [each for leaf in pending.leaves for each in leaf.steps] + [*_nested(pending), *rest]
    if not monotone(steps):
        return None
    first, inverse = _classes(pending, steps)
    main = max(range(len(pending.leaves)), key=lambda i: pending.leaves[i].span)
    functions = [
        _Codes(pending.of_channels(np.flatnonzero(inverse == index)), steps_of_channel(rest, channel), two_valued)
        for index, channel in enumerate(first.tolist())
    ]
    ends = [_corners(function) for function in functions]
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    if two_valued:
        least, most = 0, 1
    most = max(most, least + 1)
    others = prod(leaf.span for index, leaf in enumerate(pending.leaves) if index != main)
    count = (most - least) * others * len(first)
    if count > (MOST_POINTS // 8 if len(pending.leaves) == 2 and others > NARROW else MOST_POINTS):
        return None
    wanted = np.arange(least + 1, most + 1)
    channels = []
    for function in functions:
        function.ends = least + most
        points = _channel(function, main, wanted)
        if points is None:
            return None
        channels.append(points)
    chosen = _pairs(channels) if len(pending.leaves) == 2 else _several(channels)
    if chosen is None:
        return None
    factors, tables, differing = chosen
    arranged = np.insert(factors[:, 1:], main, factors[:, 0], axis=1)
    copies = np.bincount(inverse)
    return Separation(
        tuple(arranged[inverse].T),
        tables[inverse],
        np.array([function.falling for function in functions])[inverse],
        least,
        most,
        sum(int(n) * each.line.pairs for n, each in zip(copies, channels, strict=True)),
        int(np.dot(copies, differing)),
    )


def _nested(pending: PendingSum) -> Iterator[HostStep]:
    """The steps after the sums among a sum's terms."""
    for term in pending.terms:
        if isinstance(term.tensor, PendingSum):
            yield from term.tensor.steps[term.tensor.count :]
            yield from _nested(term.tensor)


def _classes(pending: PendingSum, steps: list[HostStep]) -> tuple[np.ndarray, np.ndarray]:
    """The first of each set of channels that compute the same, and the number of the set of each channel."""
    rows = [np.zeros((1, pending.channels))]
    for each in steps:
        for operand in each.operands:
            flat = operand.astype(np.float64).reshape(-1, operand.shape[-1] if operand.ndim else 1)
            rows.append(np.broadcast_to(flat, (len(flat), pending.channels)))
    _, first, inverse = np.unique(np.concatenate(rows), axis=1, return_index=True, return_inverse=True)
    return first, inverse.ravel()


def _corners(function: _Codes) -> tuple[int, int]:
    """The minimum and maximum code: a monotone function has them at the ends of the leaves' ranges."""
    ends = product(*((int(leaf.low[0]), int(leaf.high[0])) for leaf in function.pending.leaves))
    codes = function.model(list(np.array(list(ends), np.int64).T))
    return int(codes.min()), int(codes.max())


def _channel(function: _Codes, main: int, wanted: np.ndarray) -> _Channel | None:
    """The decision points of a channel, along the leaf ``main``; None where the codes rise and fall."""
    leaves, slopes = function.pending.leaves, [each[0] for each in function.pending.slopes]
    others = [leaf for index, leaf in enumerate(leaves) if index != main]
    spans = (np.arange(int(leaf.low[0]), int(leaf.high[0]) + 1) for leaf in others)
    columns = np.array([axis.ravel() for axis in np.meshgrid(*spans, indexing="ij")])
    ratios = [slope / slopes[main] if slopes[main] else Fraction(0) for i, slope in enumerate(slopes) if i != main]
    line = _Line(function, main, int(leaves[main].low[0]), int(leaves[main].high[0]), columns, ratios, wanted)
    first, last = (line.codes(function.model, end) for end in (line.low, line.high))
    if np.any(first > last) and np.any(first < last):
        return None
    function.falling = bool(np.any(first > last))
    model = line.first(function.model)
    return _Channel(line, model, model, model)


def _loosened(channel: _Channel) -> _Channel:
    """The channel with the pairs free of which rounding can lead to several codes."""
    function = channel.line.function
    possible = channel.line.first(lambda given: function.bounds(given)[1], channel.model)
    sure = channel.line.first(lambda given: function.bounds(given)[0], channel.model)
    return replace(channel, possible=np.minimum(possible, channel.model), sure=np.maximum(sure, channel.model))


def _interval(channel: _Channel) -> tuple[Fraction, Fraction] | None:
    """The open interval of the ratios of two coefficients that tell all codes apart; None if there is none."""
    line = channel.line
    other = line.columns[0]
    reach = line.high - line.low + 2
    ends = []
    for sign in (1, -1):
        end = sign * (abs(Fraction(round(line.ratios[0]))) + reach)
        while True:
            factors = np.array([end.denominator, end.numerator])
            sums = factors[1] * other
            below = np.where(channel.possible > line.low, (channel.possible - 1) * factors[0] + sums, -FAR)
            above = np.where(channel.sure <= line.high, channel.sure * factors[0] + sums, FAR)
            at, to = below.argmax(axis=1), above.argmin(axis=1)
            rows = np.arange(len(at))
            crossing = np.flatnonzero(below[rows, at] > above[rows, to])
            if not len(crossing):
                break
            at, to = at[crossing], to[crossing]
            room = channel.possible[crossing, at] - 1 - channel.sure[crossing, to]
            spread = other[to] - other[at]
            if np.any(sign * spread >= 0):
                return None
            bounds = [Fraction(int(c), int(d)) for c, d in zip(room, spread, strict=True)]
            end = min(bounds) if sign > 0 else max(bounds)
        ends.append(end)
    high, low = ends
    return (low, high) if low < high else None


def _pairs(channels: list[_Channel]) -> "_Chosen | None":
    """Coefficients of two leaves: the same in all channels, if possible.

    Otherwise each channel has its own for the leaf with fewer integers, and a power of two for the other one; or its
    own for both, if the sums then have so many bits less that a multiplier is worth it.
    """
    found = []
    for index, channel in enumerate(channels):
        interval = _interval(channel)
        if interval is None:
            channels[index] = _loosened(channel)
            interval = _interval(channels[index])
        if interval is None:
            return None
        found.append(interval)
    low, high = max(low for low, _ in found), min(high for _, high in found)
    if low < high and (made := _cheapest(channels, low, high)) is not None:
        return made
    own = [_cheapest([channel], *interval) for channel, interval in zip(channels, found, strict=True)]
    shared = _power_of_two(channels, found)
    if None in own:
        return shared
    parts = [np.concatenate(each) for each in zip(*(each for each in own if each is not None), strict=True)]
    both: _Chosen = (parts[0], parts[1], parts[2])
    if shared is None:
        return both
    spared = _sum_bits(channels, shared[0]) - _sum_bits(channels, both[0])
    wide = _sum_bits(channels, shared[0] * [0, 1]) > MAX_OUTPUT
    return both if wide or spared * both[1].size > MULTIPLIER else shared


def _power_of_two(channels: list[_Channel], found: list[tuple[Fraction, Fraction]]) -> "_Chosen | None":
    """The smallest power of two for one leaf with which each channel has an integer for the other one."""
    for shift in range(MOST_SHIFT):
        numbers = [_nearest(*interval, c.line.ratios[0], shift) for interval, c in zip(found, channels, strict=True)]
        if None not in numbers:
            return _tables(channels, [[1 << shift, number] for number in numbers if number is not None])
    return None


def _nearest(low: Fraction, high: Fraction, ratio: Fraction, shift: int) -> int | None:
    """The integer nearest to ``ratio * 2**shift`` between ``low * 2**shift`` and ``high * 2**shift``, if any."""
    first, last = floor(low * (1 << shift)) + 1, ceil(high * (1 << shift)) - 1
    return None if first > last else min(max(round(ratio * (1 << shift)), first), last)


def _cheapest(channels: list[_Channel], low: Fraction, high: Fraction) -> "_Chosen | None":
    """The cheapest pair of coefficients, the same in all channels, whose ratio lies between two bounds.

    If there are free pairs, several are tried, and the one with the fewest differences is taken.
    """
    least = _simplest(low, high).denominator
    free = any(channel.possible is not channel.sure for channel in channels)
    found: list[tuple[tuple[int, int, int], list[int]]] = []
    for main in range(least, least + TRIED):
        first = floor(low * main) + 1
        others = [other for other in range(first, min(ceil(high * main), first + 2)) if other]
        found += [(_cost(channels, main, other), [main, other]) for other in others]
        if (found and main > 4 * least) or len(found) > CANDIDATES:
            break
    rows = [row for _, row in sorted(found, key=lambda each: each[0])]
    best = _best(channels, rows if free else rows[:1])
    if best is not None and int(best[2].sum()) * RARE <= sum(channel.line.pairs for channel in channels):
        return best
    # Many sums are equal to a decision point: here, a finer ratio can agree with the model more often.
    ratio = channels[0].line.ratios[0]
    fine = [[1 << shift, round(ratio * (1 << shift))] for shift in range(MOST_SHIFT)]
    return _best(channels, rows + [row for row in fine if row[1] and low < Fraction(row[1], row[0]) < high])


def _best(channels: list[_Channel], rows: list[list[int]]) -> "_Chosen | None":
    """Of some coefficients, the first with which the fewest pairs differ; None if none of them tells codes apart."""
    tried = [made for row in rows if (made := _tables(channels, [row] * len(channels))) is not None]
    return min(tried, key=lambda each: int(each[2].sum()), default=None)


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction with the smallest denominator between two others (by continued fractions)."""
    whole = floor(low)
    if whole + 1 < high:
        return Fraction(min((n for n in (whole + 1, 0) if low < n < high), key=abs))
    below, above = low - whole, high - whole
    # 1 / x for x in (below, above), which lies in (0, 1].
    if below == 0:
        return whole + 1 / Fraction(floor(1 / above) + 1)
    return whole + 1 / _simplest(1 / above, 1 / below)


def _digits(number: int) -> int:
    """The non-zero signed digits of an integer."""
    return (abs(number) ^ 3 * abs(number)).bit_count()


def _cost(channels: list[_Channel], main: int, other: int) -> tuple[int, int, int]:
    """The order of two coefficients: by the bits of their sums, which thresholds have, too, then by adders."""
    return _sum_bits(channels, np.array([[main, other]])), _digits(main) + _digits(other), main


def _sum_bits(channels: list[_Channel], factors: np.ndarray) -> int:
    """Bits of the sums with coefficients (channels or 1, leaves)."""
    ends = []
    rows = np.broadcast_to(factors, (len(channels), factors.shape[1])).tolist()
    for channel, row in zip(channels, rows, strict=True):
        line = channel.line
        products = int(line.columns[0, 0]) * row[1], int(line.columns[0, -1]) * row[1]
        ends += [row[0] * line.low + min(products), row[0] * line.high + max(products)]
    return smallest_dtype(min(ends), max(ends)).bitwidth()


def _several(channels: list[_Channel]) -> "_Chosen | None":
    """Coefficients of more than two leaves: rounded to the shortest binary fractions that tell all codes apart."""
    for loose in (False, True):
        if loose:
            channels = [_loosened(channel) for channel in channels]

        def rounded(shift: int, channels: list[_Channel] = channels) -> "_Chosen | None":
            rows = [[1 << shift, *(round(r * (1 << shift)) for r in c.line.ratios)] for c in channels]
            return _tables(channels, rows)

        made = rounded(MOST_SHIFT)
        if made is None:
            continue
        low, high = 0, MOST_SHIFT
        while low < high:
            middle = (low + high) // 2
            fewer = rounded(middle)
            if fewer is None:
                low = middle + 1
            else:
                made, high = fewer, middle
        return made
    return None


_Chosen = tuple[np.ndarray, np.ndarray, np.ndarray]
"""By channel: the coefficients, the thresholds, and the number of pairs that differ from the model."""


def _tables(channels: list[_Channel], factors: list[list[int]]) -> _Chosen | None:
    """The thresholds of all channels with coefficients (channels, leaves); None if they do not tell codes apart."""
    tables = []
    for channel, row in zip(channels, factors, strict=True):
        made = channel.table(row)
        if made is None:
            return None
        tables.append(made)
    return np.array(factors), np.array([table for table, _ in tables]), np.array([count for _, count in tables])
