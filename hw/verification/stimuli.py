"""Inputs of one layer that are directed at what can be wrong in it: sums, weights, decision points and channels."""

from collections.abc import Iterator
from math import prod

import numpy as np

from hw.ir.graph import Node
from hw.ir.kernel import Kernel
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.margin.kernel import Margin
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.merge.kernel import Merge
from hw.kernels.requant.kernel import Requant
from hw.kernels.table.kernel import Table, input_values
from hw.kernels.thermometer.kernel import Thermometer
from hw.kernels.threshold.kernel import Threshold
from hw.verification.driven import MOVES, POINTS, Stimuli, count_points, legal, ranges
from hw.verification.places import passed_on
from hw.verification.segments import Cut, Segment, Tensors
from hw.verification.sums import joined, summands

WORK = 1 << 22
"""Limit on the integers of a segment's widest edge, over all frames."""
PRODUCTS = 1 << 29
"""Limit on the products with weights that a segment computes, over all frames."""
RANDOM = 8
"""Frames of each random kind."""
SPARSE = 32
"""Elements of a sum that are not 0 in a sparse input: so few that the reference's sum in float32 shows each weight."""
CODES = 4096
"""Codes of a requant whose decision points are searched for the most critical ones."""
CRITICAL = 64
"""Decision points of a requant that are driven for being closest to an integer, on each side."""
HALVES = frozenset({"ROUND", "HALF_UP", "HALF_DOWN"})
"""Rounding modes whose decision points lie half-way between integers."""
MISSES = 6
"""Logarithm of the inverse of the expected number of addresses at which no random frame reads a table."""
WINDOWS = frozenset({"sliding_window", "sparse_window", "select", "reorder"})
"""Kernels whose outputs are elements of their input, or 0."""


def stimuli(segment: Segment, seed: int = 0) -> Stimuli:
    """The inputs of a segment: general ones for every kind of layer, and those for its quantizer or its weights."""
    rng = np.random.default_rng(seed)
    general = _general(segment, rng)
    kernels = [node.kernel for node in segment.nodes if node.kernel.op not in MOVES]
    margin = next((node for node in segment.nodes if isinstance(node.kernel, Margin)), None)
    if margin is not None and isinstance(kernels[-1], Merge):
        return _at_margin(segment, margin, general, rng)
    factors = summands(segment)
    if factors is not None:
        return joined(general, segment.sources, factors, kernels[-1], rng)
    if len(segment.sources) != 1 or not kernels:
        return Stimuli(general)
    source, last = segment.sources[0], kernels[-1]
    if isinstance(last, Table):  # The kernel before a table gives the number of a piece: it has the decision points.
        kernels = kernels[:-1] or [last]
        last = kernels[-1]
    if isinstance(last, Threshold | Requant | Table | Thermometer) and len(kernels) == 1:
        return _at_decision_points(source, last, rng)
    if isinstance(last, LookupLayer):
        addresses = _at_addresses(segment, last, rng)
        return Stimuli({source.edge: np.concatenate([general[source.edge], addresses])})
    if isinstance(last, MatrixVector | Depthwise) and all(kernel.op in WINDOWS for kernel in kernels[:-1]):
        directed, sums = _at_weights(segment, last, rng)
        return Stimuli({source.edge: np.concatenate([general[source.edge], directed])}, sums=sums)
    return Stimuli(general)


def _limit(segment: Segment) -> int:
    """The number of frames that a segment can be driven with; never less than four."""
    products = sum(
        node.kernel.weights.size * node.kernel.outputs()[0].elements // len(node.kernel.weights)
        for node in segment.nodes
        if isinstance(node.kernel, MatrixVector | Depthwise)
    )
    return max(4, min(WORK // segment.elements, PRODUCTS // max(1, products)))


def _general(segment: Segment, rng: np.random.Generator) -> Tensors:
    """All minima and all maxima of the sources in every combination, and random integers: uniform, at the ends of the
    ranges, and mostly 0."""
    count = min(_limit(segment), 3 * RANDOM + 2 ** len(segment.sources))
    result: Tensors = {}
    for index, cut in enumerate(segment.sources):
        low, high = ranges(cut)
        shape = RANDOM, low.size
        ends = rng.integers(0, 1, (2, *shape), endpoint=True, dtype=np.int8)
        extreme, sparse = (np.where(each, high, low) for each in ends)
        sparse = np.where(rng.random(shape) < 1 / SPARSE, sparse, 0)
        uniform = rng.integers(low, high, shape, endpoint=True)
        corners = np.array([[low, high][number >> index & 1] for number in range(2 ** len(segment.sources))])
        frames = np.concatenate([corners, uniform, extreme, sparse])[:count]
        result[cut.edge] = legal(frames, low, high, cut.values.dtype).reshape(-1, *cut.values.shape)
    return result


def _at_margin(segment: Segment, node: Node, general: Tensors, rng: np.random.Generator) -> Stimuli:
    """The general inputs, and first logits whose margins are at a threshold, one below it and one above it.

    The largest and the second largest of them take every place in turn; the others are anything below.
    """
    writers = {edge: each.inputs[0] for each in segment.nodes for edge in each.outputs if len(each.inputs) == 1}
    edge, sources = node.inputs[0], {cut.edge: cut for cut in segment.sources}
    while edge not in sources and edge in writers:
        edge = writers[edge]
    kernel = node.kernel
    assert isinstance(kernel, Margin)
    if edge not in sources or sources[edge].values.shape != (kernel.classes,):
        return Stimuli(general)
    low, high = ranges(sources[edge])
    least, most = int(low.max()), int(high.min())
    margins = [m for m in (kernel.threshold - 1, kernel.threshold, kernel.threshold + 1) if 0 <= m <= most - least]
    rows = []
    for number in range(kernel.classes * len(margins)):
        margin = margins[number % len(margins)]
        second = int(rng.integers(least, most - margin, endpoint=True))
        row = rng.integers(least, second, kernel.classes, endpoint=True)
        place = number // len(margins)
        row[place], row[(place + 1 + number % (kernel.classes - 1)) % kernel.classes] = second + margin, second
        rows.append(row)
    if not rows:
        return Stimuli(general)
    result = {}
    for name, cut in sources.items():
        ends = ranges(cut)
        spare = rng.integers(ends[0], ends[1], (len(rows), ends[0].size), endpoint=True)
        more = np.array(rows) if name == edge else legal(spare, *ends, cut.values.dtype)
        result[name] = np.concatenate([general[name], more.reshape(-1, *cut.values.shape)])
    return Stimuli(result, 1, 1)


def _at_addresses(segment: Segment, kernel: LookupLayer, rng: np.random.Generator) -> np.ndarray:
    """Random frames, so many that every table is likely read at each of its addresses."""
    source = segment.sources[0]
    low, high = ranges(source)
    expected = kernel.tables.shape[1] * (np.log(kernel.tables.size) + MISSES)
    count = max(1, int(min(expected / prod(kernel.prefix), _limit(segment))))
    frames = legal(rng.integers(low, high, (count, low.size), endpoint=True), low, high, source.values.dtype)
    return frames.reshape(-1, *source.values.shape)


def _levels(kernel: Thermometer) -> np.ndarray:
    """The levels of each channel (C, n), filled up with the smallest integer, at which nothing changes."""
    rows = [np.unique(kernel.levels[kernel.features == channel]) for channel in range(kernel.channels)]
    points = np.full((kernel.channels, max(map(len, rows))), int(kernel.input_dtype.min()))
    for row, levels in zip(points, rows, strict=True):
        row[: len(levels)] = levels
    return points


def _at_decision_points(
    source: Cut, kernel: Threshold | Requant | Table | Thermometer, rng: np.random.Generator
) -> Stimuli:
    """Each channel's integers at its decision points, one below and one above, and at the ends of its range."""
    low, high = (bound.reshape(-1, kernel.channels) for bound in ranges(source))
    positions = len(low)
    match kernel:
        case Threshold():
            points = kernel.thresholds
        case Table():  # Every input.
            points = np.broadcast_to(input_values(kernel.input_dtype), kernel.values.shape)
        case Requant():
            points = _critical(kernel)
        case Thermometer():
            points = _levels(kernel)
    least, largest = low.min(axis=0), high.max(axis=0)
    most = max(1, POINTS // (3 * kernel.channels))
    kept = points
    if points.shape[1] > most:
        kept = points[:, np.linspace(0, points.shape[1] - 1, most).astype(int)]
    ends = np.stack([least, largest, np.zeros_like(least)], axis=1)
    values = np.concatenate([ends, kept - 1, kept, kept + 1], axis=1).T
    count = -(-len(values) // positions)
    spare = rng.integers(low, high, (count, *low.shape), endpoint=True).reshape(-1, kernel.channels)
    spare[: len(values)] = values
    frames = legal(spare.reshape(count, *low.shape), low, high, source.values.dtype)
    counts = count_points(points, least, largest), count_points(kept, least, largest)
    if isinstance(kernel, Requant):  # It steps at every code between those of the ends, or at every integer.
        codes = kernel.execute(np.stack([least, largest]))[0].astype(np.int64)
        total = int(np.minimum(np.abs(codes[1] - codes[0]), largest - least).sum())
        counts = total, min(total, counts[1])
    return Stimuli({source.edge: frames.reshape(-1, *source.values.shape)}, *counts)


def _critical(kernel: Requant) -> np.ndarray:
    """Integers (C, n), each the first on the other side of a code's decision point.

    They belong to codes across the range, and to those whose decision points are closest to an integer: there, the
    smallest change of a constant changes the code.
    """
    count = min(CODES, kernel.high - kernel.low + 1)
    codes = np.unique(np.linspace(kernel.low, kernel.high, count).astype(np.int64))
    half = kernel.rounding in HALVES
    low, high = int(kernel.input_dtype.min()), int(kernel.input_dtype.max())
    rows = []
    for multiplier, addend in zip(kernel.multiplier.tolist(), kernel.addend.tolist(), strict=True):
        bounds = [((2 * code - half) << kernel.shift >> 1) - addend for code in codes.tolist()]
        # multiplier * x >= bound for x from -quotient on, or up to quotient where it falls, with this much to spare.
        pairs = [divmod(-bound, abs(multiplier) or 1) for bound in bounds]
        first = np.array([quotient + 1 if multiplier < 0 else -quotient for quotient, _ in pairs])
        order = sorted(range(len(pairs)), key=[spare for _, spare in pairs].__getitem__)
        chosen = *order[:CRITICAL], *order[-CRITICAL:], *np.linspace(0, len(order) - 1, 4 * CRITICAL).astype(int)
        rows.append(np.clip(first[np.resize(chosen, 6 * CRITICAL)], low, high))
    return np.array(rows)


def _at_weights(segment: Segment, kernel: Kernel, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Frames whose windows are directed at the weights of the last kernel, and the number of sums at both ends.

    Every element of a sum is not 0 in some window in which few others are; every sum reaches its minimum and maximum,
    as far as the limit on the frames allows.
    """
    source = segment.sources[0]
    elements = prod(source.values.shape)
    places = np.arange(1, elements + 1).reshape(1, *source.values.shape)
    for node in segment.nodes:
        if node.kernel is not kernel:
            places = passed_on(node.kernel, places.reshape(1, *node.kernel.inputs()[0].shape))
    windows = places.reshape(-1, kernel.inputs()[0].shape[-1]) - 1
    apart = list(_disjoint(windows))
    if not apart:
        return np.empty((0, *source.values.shape), np.int64), 0
    low, high = ranges(source)
    vectors, pairs = _vectors(kernel, low[windows[apart[0]]], high[windows[apart[0]]], rng)
    room = _limit(segment) * len(apart)
    kept = vectors[:room]
    frames = rng.integers(low, high, (-(-len(kept) // len(apart)), elements), endpoint=True)
    for number, vector in enumerate(kept):
        frames[number // len(apart), windows[apart[number % len(apart)]]] = vector
    frames = legal(frames, low, high, source.values.dtype)
    return frames.reshape(-1, *source.values.shape), min(pairs, max(0, (len(kept) - len(vectors)) // 2 + pairs))


def _disjoint(windows: np.ndarray) -> Iterator[int]:
    """The numbers of windows ``(windows, elements)`` that lie inside the frame (no index is -1) and do not overlap."""
    taken = np.zeros(windows.max() + 1, bool)
    for number, window in enumerate(windows):
        if window.min() >= 0 and not taken[window].any():
            taken[window] = True
            yield number


def _vectors(kernel: Kernel, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Windows ``(n, elements)`` for elements between ``low`` and ``high``: sparse ones, random ones, and, in pairs at
    the end, those with the minimum and the maximum of each sum; and the number of these pairs."""
    size = low.size
    larger = np.where(np.abs(low) > np.abs(high), low, high)
    teeth = np.arange(-(-size // SPARSE))
    comb = np.where(np.arange(size) % len(teeth) == teeth[:, None], larger, 0)
    ends = rng.integers(0, 1, (RANDOM, size), endpoint=True)
    random = np.concatenate([rng.integers(low, high, (RANDOM, size), endpoint=True), np.where(ends, high, low)])
    if isinstance(kernel, Depthwise):
        # One window holds the elements of all sums.
        signs = kernel.weights.T.reshape(1, size)
    else:
        assert isinstance(kernel, MatrixVector)
        signs = kernel.weights
    most, least = np.where(signs > 0, high, low), np.where(signs > 0, low, high)
    pairs = np.stack([least, most], axis=1).reshape(-1, size)
    return np.concatenate([comb, random, pairs]), len(signs)
