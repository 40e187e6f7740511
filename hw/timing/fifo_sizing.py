"""FIFO sizing: the smallest depths that keep the throughput of unbounded FIFOs, by the exact cycle model."""

from math import inf

from hw.host.errors import UsageError
from hw.ir.graph import Graph
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo
from hw.passes.fifos import insert_fifos, streams
from hw.timing.cycles import Deadlock, steady
from hw.timing.frames import Outcome, solve_frames
from hw.timing.periodic import PeriodicSchedule, fastest, slowest
from hw.timing.strips import NARROWEST, divide

MOST_BEATS = 1 << 20
"""Beats of a graph's edges in a frame up to which FIFOs are sized by all of them."""


def interval(graph: Graph, depths: dict[str, int]) -> float:
    """Cycles between frames with FIFOs of these depths; infinite if they cause a deadlock."""
    try:
        return steady(insert_fifos(graph, depths)).interval
    except Deadlock:
        return inf


def _fastest(graph: Graph) -> PeriodicSchedule:
    """The schedule with the minimum interval, with a FIFO that is never full on every edge between kernels."""
    edges = list(streams(graph))
    return fastest(insert_fifos(graph, dict.fromkeys(edges, 2)), edges)


def min_interval(graph: Graph) -> int:
    """The minimum of cycles between frames: with FIFOs that are never full."""
    return _fastest(graph).interval


def size_fifos(graph: Graph, interval: int | None = None, most_beats: int = MOST_BEATS) -> dict[str, int]:
    """FIFO depths (edge -> beats) that sustain a frame every ``interval`` cycles without a deadlock.

    The default interval is that of unbounded FIFOs. Edges that need no FIFO are absent. The depths start from the
    occupancy of a schedule with input at an even rate. Each FIFO in turn is reduced to the smallest depth that keeps
    the interval with the present depths of the others, until nothing changes. Therefore no single FIFO can be smaller.
    Raises UsageError for an interval that no depths sustain.

    The depths of a graph of more than ``most_beats`` beats are those that strips of its images need
    (``hw.timing.strips``), which are the same in all networks of the tests. That they keep the interval is proven by
    a solution of the whole graph; where they do not, strips are taken twice as wide, and the whole images in the end.
    """
    if sum(stream.beats for stream in streams(graph).values()) > most_beats:
        depths = _of_strips(graph, interval)
        if depths is not None:
            return depths
    return _of_beats(graph, interval)


def _of_strips(graph: Graph, interval: int | None) -> dict[str, int] | None:
    """The depths that strips need; None if those of no strip are proven to suffice."""
    division, least = divide(graph, NARROWEST + 1), slowest(graph)
    if division is None or (interval is not None and interval < least):
        return None
    wanted, rest = interval or least, division.rest()
    share = NARROWEST
    while share < division.parts:
        try:
            depths = _of_beats(division.strip(share), wanted * share // division.parts)
            depths |= {} if rest is None else _of_beats(rest, wanted)
        except UsageError:  # a strip is slower than its part of the frame
            depths = {}
        if solve_frames(insert_fifos(graph, depths), wanted).outcome is Outcome.REPEATS:
            return depths
        share *= 2
    return None


def _latency(stream: Stream, depth: int) -> int:
    """The cycles that a FIFO of this depth delays a beat; 0 where there is none."""
    return Fifo(stream, depth).schedule().latency if depth else 0


def _of_beats(graph: Graph, interval: int | None) -> dict[str, int]:
    """The depths by the schedule of every beat."""
    schedule = _fastest(graph)
    if interval is not None and interval < schedule.interval:
        best = f"{schedule.interval} is the least"
        raise UsageError(f"no FIFOs let a frame pass every {interval} cycles; {best}")
    if interval is not None and interval > schedule.interval:
        schedule = schedule.with_interval(interval)
    depths = {edge: max(2, peak) for edge, peak in schedule.peaks().items()}
    if not schedule.attempt(depths):
        raise AssertionError("a schedule does not hold with the places that it takes")

    between = streams(graph)
    latencies = {edge: _latency(between[edge], depth) for edge, depth in depths.items()}
    failed: set[tuple[str, int]] = set()

    def keeps(edge: str, depth: int) -> bool:
        """Set a depth if that keeps the interval. What failed fails again while FIFOs only become shorter: that delays
        beats. Only where another latency has come into it, as by a FIFO that was removed, it may hold."""
        if (edge, depth) in failed:
            return False
        if not schedule.attempt({edge: depth}):
            failed.add((edge, depth))
            return False
        depths[edge] = depth
        if latencies[edge] != (latency := _latency(between[edge], depth)):
            latencies[edge] = latency
            failed.clear()
        return True

    def shorten(edge: str) -> None:
        """Remove a FIFO if that keeps the interval; otherwise reduce it to the smallest depth that does."""
        if keeps(edge, 0):
            return
        # The smallest depth is usually near, so the step size of the search grows.
        step = 1
        while depths[edge] > 2 and keeps(edge, max(2, depths[edge] - step)):
            step *= 2
        low = max(2, depths[edge] - step + 1)
        while low < depths[edge]:
            middle = (low + depths[edge]) // 2
            if not keeps(edge, middle):
                low = middle + 1

    # FIFOs are tried one by one: a feasible change is accepted quickly, and an infeasible one is no faster in a group.
    for edge in sorted(depths, key=lambda edge: depths[edge]):  # deep FIFOs usually cannot be removed
        shorten(edge)
    # A removed FIFO no longer delays its branch, so the other branch may need less depth.
    last: dict[str, int] = {}
    while last != depths:
        last = dict(depths)
        for edge in [edge for edge, depth in depths.items() if depth]:
            shorten(edge)
    return {edge: depth for edge, depth in depths.items() if depth}
