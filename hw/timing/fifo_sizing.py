"""FIFO sizing: the smallest depths that keep the throughput of unbounded FIFOs, by the exact cycle model."""

from math import inf

from hw.host.errors import UsageError
from hw.ir.graph import Graph
from hw.passes.fifos import insert_fifos, streams
from hw.timing.cycles import Deadlock, steady
from hw.timing.periodic import PeriodicSchedule, fastest


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


def size_fifos(graph: Graph, interval: int | None = None) -> dict[str, int]:
    """FIFO depths (edge -> beats) that sustain a frame every ``interval`` cycles without a deadlock.

    The default interval is that of unbounded FIFOs. Edges that need no FIFO are absent. The depths start from the
    occupancy of a schedule with input at an even rate. Each FIFO in turn is reduced to the smallest depth that keeps
    the interval with the present depths of the others, until nothing changes. Therefore no single FIFO can be smaller.
    Raises UsageError for an interval that no depths sustain.
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
        """Remove a FIFO if that keeps the interval; otherwise reduce it to the smallest depth that does."""
        if keeps({edge: 0}):
            return
        # The smallest depth is usually near, so the step size of the search grows.
        step = 1
        while depths[edge] > 2 and keeps({edge: max(2, depths[edge] - step)}):
            step *= 2
        low = max(2, depths[edge] - step + 1)
        while low < depths[edge]:
            middle = (low + depths[edge]) // 2
            if not keeps({edge: middle}):
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
