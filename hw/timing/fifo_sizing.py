"""FIFO depths: the smallest that keep the throughput of unbounded FIFOs, from the exact cycle model."""

from math import inf

from hw.host.errors import UsageError
from hw.ir.graph import Graph
from hw.passes.fifos import insert_fifos, streams
from hw.timing.cycles import Deadlock, steady
from hw.timing.periodic import PeriodicSchedule, fastest


def interval(graph: Graph, depths: dict[str, int]) -> float:
    """Cycles between frames with these FIFOs; infinite where they end in a deadlock."""
    try:
        return steady(insert_fifos(graph, depths)).interval
    except Deadlock:
        return inf


def _fastest(graph: Graph) -> PeriodicSchedule:
    """The schedule with the least interval, with a FIFO that is never full on every edge between kernels."""
    edges = list(streams(graph))
    return fastest(insert_fifos(graph, dict.fromkeys(edges, 2)), edges)


def least_interval(graph: Graph) -> int:
    """Cycles between frames with FIFOs that are never full."""
    return _fastest(graph).interval


def size_fifos(graph: Graph, interval: int | None = None) -> dict[str, int]:
    """The depths (edge -> beats, 0 left out) with which frames come every ``interval`` cycles, without a deadlock;
    by default as often as with unbounded FIFOs.

    The FIFOs begin with as many places as beats that come evenly need, and are shortened one after the other, each to
    the least depth that keeps the interval with the others as they are, until nothing changes; so no FIFO alone can
    be made shorter. Raises BitfabricError for an interval that no depths reach.
    """
    schedule = _fastest(graph)
    if interval is not None and interval < schedule.interval:
        best = f"{schedule.interval} is the least"
        raise UsageError(f"no FIFOs let a frame pass every {interval} cycles; {best}")
    if interval is not None and interval > schedule.interval:
        schedule = schedule.with_interval(interval)
    depths = {edge: max(2, peak) for edge, peak in schedule.peaks().items()}
    if not schedule.attempt(depths):
        raise AssertionError("a schedule does not hold with the places that it takes")

    def keeps(changes: dict[str, int]) -> bool:
        kept = schedule.attempt(changes)
        if kept:
            depths.update(changes)
        return kept

    def shorten(edge: str) -> None:
        """Leave a FIFO out if that keeps the interval, or cut it to the least depth that does."""
        if keeps({edge: 0}):
            return
        # The least depth is near, so it is looked for in growing steps.
        step = 1
        while depths[edge] > 2 and keeps({edge: max(2, depths[edge] - step)}):
            step *= 2
        low = max(2, depths[edge] - step + 1)
        while low < depths[edge]:
            middle = (low + depths[edge]) // 2
            if not keeps({edge: middle}):
                low = middle + 1

    # One by one: a change that holds is found to hold at once; one that fails is found slowly, in a group no faster.
    for edge in sorted(depths, key=lambda edge: depths[edge]):  # the ones that hold much stay, most likely
        shorten(edge)
    # A FIFO that is gone delays its branch no longer, and the other branch may need less.
    last: dict[str, int] = {}
    while last != depths:
        last = dict(depths)
        for edge in [edge for edge, depth in depths.items() if depth]:
            shorten(edge)
    return {edge: depth for edge, depth in depths.items() if depth}
