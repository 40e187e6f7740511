"""The cheapest integer coefficients with which a sum of integers tells a quantizer's codes apart.

The codes ``f(a, b)`` of integers ``a`` and ``b`` are given by their decision points, the first ``a`` of every code for
every ``b`` (``hw.lowering.sum_decision_points``). A sum ``m1 * a + m2 * b`` computes ``f`` if some threshold for every
code lies above the sums of all pairs of smaller codes, and not above those of the others. It does so for all pairs if
it does so for the pairs at both sides of the decision points. For these, that is one linear inequality in ``m2 / m1``
for two values of ``b``: all inequalities together leave an open interval, and the fraction in it with the smallest
terms is the answer.

Float32 rounds pairs of equal sums differently in rare cases, and then no interval is left. The pairs of which rounding
can lead to either code are then free: the interval of all others holds the exact ratio. The coefficients with which the
fewest of these pairs get another code than the model's are taken, and the pairs are counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, prod

import numpy as np

from hw.host.steps import HostStep
from hw.ir.stream import smallest_dtype
from hw.kernels.requant.kernel import MAX_OUTPUT
from hw.lowering.integer_tensor import Steps, binary
from hw.lowering.monotone import monotone
from hw.lowering.pending_sum import PendingSum, steps_of_channel
from hw.lowering.sum_decision_points import FAR, ChannelPoints, SumCodes, channel_points, corners, loosened

MOST_POINTS = 1 << 24
"""Limit on the decision points of all channels together."""
NARROW = 1 << 10
"""A leaf with more integers than these counts as a sum. Two sums are not worth as many points: 8 times less."""
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
        SumCodes(pending.of_channels(np.flatnonzero(inverse == index)), steps_of_channel(rest, channel), two_valued)
        for index, channel in enumerate(first.tolist())
    ]
    ends = [corners(function) for function in functions]
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
        points = channel_points(function, main, wanted)
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


def _interval(channel: ChannelPoints) -> tuple[Fraction, Fraction] | None:
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


def _pairs(channels: list[ChannelPoints]) -> "_Chosen | None":
    """Coefficients of two leaves: the same in all channels, if possible.

    Otherwise each channel has its own for the leaf with fewer integers, and a power of two for the other one; or its
    own for both, if the sums then have so many bits less that a multiplier is worth it.
    """
    found = []
    for index, channel in enumerate(channels):
        interval = _interval(channel)
        if interval is None:
            channels[index] = loosened(channel)
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


def _power_of_two(channels: list[ChannelPoints], found: list[tuple[Fraction, Fraction]]) -> "_Chosen | None":
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


def _cheapest(channels: list[ChannelPoints], low: Fraction, high: Fraction) -> "_Chosen | None":
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


def _best(channels: list[ChannelPoints], rows: list[list[int]]) -> "_Chosen | None":
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


def _cost(channels: list[ChannelPoints], main: int, other: int) -> tuple[int, int, int]:
    """The order of two coefficients: by the bits of their sums, which thresholds have, too, then by adders."""
    return _sum_bits(channels, np.array([[main, other]])), _digits(main) + _digits(other), main


def _sum_bits(channels: list[ChannelPoints], factors: np.ndarray) -> int:
    """Bits of the sums with coefficients (channels or 1, leaves)."""
    ends = []
    rows = np.broadcast_to(factors, (len(channels), factors.shape[1])).tolist()
    for channel, row in zip(channels, rows, strict=True):
        line = channel.line
        products = int(line.columns[0, 0]) * row[1], int(line.columns[0, -1]) * row[1]
        ends += [row[0] * line.low + min(products), row[0] * line.high + max(products)]
    return smallest_dtype(min(ends), max(ends)).bitwidth()


def _several(channels: list[ChannelPoints]) -> "_Chosen | None":
    """Coefficients of more than two leaves: rounded to the shortest binary fractions that tell all codes apart."""
    for loose in (False, True):
        if loose:
            channels = [loosened(channel) for channel in channels]

        def rounded(shift: int, channels: list[ChannelPoints] = channels) -> "_Chosen | None":
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


def _tables(channels: list[ChannelPoints], factors: list[list[int]]) -> _Chosen | None:
    """The thresholds of all channels with coefficients (channels, leaves); None if they do not tell codes apart."""
    tables = []
    for channel, row in zip(channels, factors, strict=True):
        made = channel.table(row)
        if made is None:
            return None
        tables.append(made)
    return np.array(factors), np.array([table for table, _ in tables]), np.array([count for _, count in tables])
