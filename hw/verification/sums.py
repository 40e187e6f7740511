"""Inputs of a quantizer behind a sum of several tensors, directed at its decision points."""

from collections.abc import Mapping

import numpy as np

from hw.ir.kernel import Kernel
from hw.kernels.add.kernel import Add
from hw.kernels.requant.kernel import Requant
from hw.kernels.threshold.kernel import Threshold
from hw.verification.driven import MOVES, POINTS, Stimuli, count_points, legal, ranges
from hw.verification.segments import Cut, Segment, Tensors

COLUMNS = 1 << 10
"""Combinations of the integers of all tensors but one that are tried for each decision point."""
RANDOM = 2
"""Combinations taken at random for each decision point, besides those whose sums are closest to it."""
Factors = Mapping[str, np.ndarray]
"""By edge of a source, the factor of its integers in the sum, int64 (channels,)."""


def summands(segment: Segment) -> Factors | None:
    """The factors of a sum of the sources that a Threshold of the segment reads; None for other segments."""
    nodes = [node for node in segment.nodes if node.kernel.op not in MOVES]
    if len(segment.sources) < 2 or len(nodes) < 2 or not isinstance(nodes[-1].kernel, Threshold):
        return None
    channels = nodes[-1].kernel.channels
    known: dict[str, dict[str, np.ndarray]] = {
        cut.edge: {cut.edge: np.ones(channels, np.int64)} for cut in segment.sources
    }
    pairs: list[tuple[dict[str, np.ndarray], np.ndarray | np.int64]]
    for node in segment.nodes:
        kernel = node.kernel
        if node is nodes[-1]:
            return known[node.inputs[0]]
        if isinstance(kernel, Add):
            pairs = [
                (known[edge], np.int64(factor)) for edge, factor in zip(node.inputs, kernel.coefficients, strict=True)
            ]
        elif isinstance(kernel, Requant) and kernel.shift == 0 and not np.any(kernel.addend):
            pairs = [(known[node.inputs[0]], np.asarray(kernel.multiplier))]
        elif kernel.op in MOVES:
            pairs = [(known[node.inputs[0]], np.int64(1))]
        else:
            return None
        total: dict[str, np.ndarray] = {}
        for parts, factor in pairs:
            for edge, times in parts.items():
                if len(times) != channels:
                    return None
                total[edge] = total.get(edge, 0) + times * factor
        known.update(dict.fromkeys(node.outputs, total))
    return None


def joined(
    general: Tensors, sources: tuple[Cut, ...], factors: Factors, kernel: Kernel, rng: np.random.Generator
) -> Stimuli:
    """The ``general`` inputs, and for each channel integers whose sums lie on both sides of its decision points.

    The sums that are closest to a decision point are among them, on each side, and some others.
    """
    assert isinstance(kernel, Threshold)
    limits = [[bound.reshape(-1, kernel.channels) for bound in ranges(cut)] for cut in sources]
    most = max(1, POINTS // (2 * (RANDOM + 2) * kernel.channels))
    kept = kernel.thresholds
    if kept.shape[1] > most:
        kept = kept[:, np.linspace(0, kept.shape[1] - 1, most).astype(int)]
    columns, ends, covered = [], [], 0
    for channel in range(kernel.channels):
        low, high = (np.array([limit[side][:, channel] for limit in limits]) for side in (0, 1))
        times = np.array([factors[cut.edge][channel] for cut in sources])
        inside = low.max(axis=1), high.min(axis=1)
        points, parts = np.unique(kept[channel]), []
        # Those that the source of the widest range does not decide are decided by another one.
        for main in np.argsort(inside[0] - inside[1], kind="stable").tolist():
            if times[main] and len(points):
                found, decided = _around(points, times, *inside, main, rng)
                parts.append(found)
                covered += int(decided.sum())
                points = points[~decided]
        columns.append(np.concatenate(parts or [np.empty((len(times), 0), np.int64)], axis=1))
        ends.append([_end(times, low.min(axis=1), high.max(axis=1), side) for side in (0, 1)])
    least, largest = np.array(ends).T
    positions = len(limits[0][0])
    count = -(-max(each.shape[1] for each in columns) // positions)
    result: Tensors = {}
    for index, cut in enumerate(sources):
        low, high = limits[index]
        spare = rng.integers(low, high, (count, *low.shape), endpoint=True).reshape(-1, kernel.channels)
        for channel, found in enumerate(columns):
            spare[: found.shape[1], channel] = found[index]
        frames = legal(spare.reshape(count, *low.shape), low, high, cut.values.dtype)
        result[cut.edge] = np.concatenate([general[cut.edge], frames.reshape(-1, *cut.values.shape)])
    return Stimuli(result, count_points(kernel.thresholds, least, largest), covered)


def _end(times: np.ndarray, low: np.ndarray, high: np.ndarray, side: int) -> int:
    """The minimum (side 0) or maximum (1) of a sum."""
    ends = np.sort([times * low, times * high], axis=0)
    return int(ends[side].sum())


def _around(
    points: np.ndarray, times: np.ndarray, low: np.ndarray, high: np.ndarray, main: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Integers (sources, n) in pairs whose sums lie on both sides of decision points, and which points have a pair.

    All integers lie between ``low`` and ``high``. The two of a pair differ by 1 in the source ``main``.
    """
    others = [index for index in range(len(times)) if index != main]
    spans = [int(high[index] - low[index]) + 1 for index in others]
    total = int(np.prod(spans, dtype=object))
    if total <= COLUMNS:
        places = np.array(np.unravel_index(np.arange(total), spans))
    else:
        ends = np.array(np.meshgrid(*([0, span - 1] for span in spans), indexing="ij")).reshape(len(spans), -1)
        random = np.array([rng.integers(0, span, COLUMNS) for span in spans])
        places = np.concatenate([ends, random], axis=1)
    given = places + low[others, None]
    rest = times[others] @ given
    factor = abs(int(times[main]))
    # The first integer whose sum reaches the point if its factor is positive, and the last one otherwise.
    first = -((rest - points[:, None]) // factor)
    place = first if times[main] > 0 else -first
    before = place - np.sign(times[main])
    inside = (np.minimum(place, before) >= low[main]) & (np.maximum(place, before) <= high[main])
    beyond = first * factor + rest - points[:, None]
    rows = np.flatnonzero(inside.any(axis=1))
    pairs = []
    for scores in (beyond, -beyond, *(rng.random(beyond.shape) for _ in range(RANDOM))):
        column = np.where(inside, scores, np.inf).argmin(axis=1)[rows]
        for at in (place, before):
            found = np.empty((len(times), len(rows)), np.int64)
            found[main], found[others] = at[rows, column], given[:, column]
            pairs.append(found)
    return np.concatenate(pairs, axis=1), inside.any(axis=1)
