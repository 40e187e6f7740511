"""The cycle model: in which cycle every beat of a network moves.

A static dataflow network obeys max-plus recurrences: the cycle of a firing is the maximum of a few earlier cycles,
each plus a constant (see Schedule). They are solved firing by firing. The result is exact for any FIFO depths, input
gaps and output stalls, and equal to the RTL to the cycle. ``docs/timing.md`` explains the method.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hw.host.errors import BitfabricError
from hw.ir.graph import Graph
from hw.ir.verdicts import Verdicts
from hw.timing import deadlock
from hw.timing.frames import Outcome, solve_frames
from hw.timing.periodic import fastest, slowest
from hw.timing.trace import Trace, attempt


class Deadlock(BitfabricError):
    """Nodes wait for each other in a circle, so no beat moves again."""


def simulate(
    graph: Graph,
    frames: int,
    offers: dict[str, np.ndarray] | None = None,
    ready: dict[str, np.ndarray] | None = None,
    verdicts: Verdicts | None = None,
) -> Trace:
    """Solve the recurrences of ``graph`` for ``frames`` frames.

    ``offers[edge]``: by beat of an input edge, ``(frames * beats,)``, the first cycle in which it is valid (default 0).
    ``ready[edge]``: by cycle, whether the reader of an output edge is ready (later, and by default, always). With
    neither, frames are solved only until the schedule repeats, and the rest follows from the period. ``verdicts`` say
    which frames leave at the exits of the graph (``hw.ir.verdicts``); without them all frames go on, which no verdicts
    make later. Raises Deadlock, with the FIFO or the edge that is full and the depth that resolves it.
    """
    if offers is None and ready is None and not verdicts:
        return _extended(steady(graph, frames), frames)
    return _solved(graph, *attempt(graph, frames, offers, ready, verdicts or None))


def _solved(graph: Graph, trace: Trace, waits: dict[str, str]) -> Trace:
    """The trace. Raises Deadlock if nodes wait for each other."""
    if waits:
        raise Deadlock(deadlock.explain(graph, waits))
    return trace


class SteadyState(NamedTuple):
    """``interval``: cycles between frames in the steady state; the mean, rounded up, if the schedule repeats only after
    several frames. ``latency``: cycles from the first beat in to the last beat of the first frame out, both counted."""

    interval: int
    latency: int


def steady_state(graph: Graph) -> SteadyState:
    """Interval and latency of the steady state, without simulating until it is reached.

    A simulation may need hundreds of frames: nodes that are slightly faster than the later ones run ahead until all
    FIFOs between them are full. Instead, the interval is that of the fastest periodic schedule. Mostly that is the
    interval of the slowest kernel, for which frames repeat that come no faster (``hw.timing.frames``). The latency is
    that of a single frame, because no frame waits for a later one. Raises Deadlock as ``simulate`` does.
    """
    least = slowest(graph)
    frames = solve_frames(graph, least)
    if frames.outcome is Outcome.DEADLOCK:
        _solved(graph, *attempt(graph, 1))
    return SteadyState(least if frames.outcome is Outcome.REPEATS else fastest(graph).interval, frames.latency)


def steady(graph: Graph, limit: int = 128) -> Trace:
    """A trace that ends when the schedule repeats, or after ``limit`` frames.

    The recurrences look back over a bounded number of frames. A schedule that has repeated for that many frames
    repeats for ever, so the steady state is proven, not observed. Raises Deadlock as ``simulate`` does.
    """
    back = _look_back(graph)
    frames = back + 2
    while True:
        trace = _solved(graph, *attempt(graph, min(frames, limit)))
        for period in range(1, trace.frames - back + 1):
            if _repeats(trace, period, back):
                return replace(trace, period=period)
        if frames >= limit:
            return trace
        frames *= 2


def _extended(trace: Trace, frames: int) -> Trace:
    """The trace continued to ``frames`` frames, if it is shorter and repeats."""
    more, period, ends = frames - trace.frames, trace.period, trace._frame_ends()
    if not more or period is None:
        return trace
    turns = -(-more // period)
    late = (1 + np.arange(turns))[:, None] * (ends[-1] - ends[-1 - period])

    def longer(times: np.ndarray, late: np.ndarray) -> np.ndarray:
        size, span = len(times), len(times) // trace.frames * period
        result = np.empty(size + turns * span, times.dtype)
        result[:size] = times
        np.add(times[size - span :], late, out=result[size:].reshape(turns, span))
        return result[: size // trace.frames * frames]

    inputs = {port.edge for port in trace.graph.inputs}
    return replace(
        trace,
        frames=frames,
        offered={edge: longer(times, late * (edge not in inputs)) for edge, times in trace.offered.items()},
        taken={edge: longer(times, late) for edge, times in trace.taken.items()},
    )


def _look_back(graph: Graph) -> int:
    """The number of frames over which the recurrences look back."""
    back = 1
    for node in graph:
        plan = node.kernel.schedule()
        back = max(back, *(1 + -(-plan.credits // stream.beats) for stream in node.kernel.outputs()))
        if plan.buffer:
            back = max(back, 2 + -(-plan.buffer.places // plan.buffer.frame))
    return back


def _repeats(trace: Trace, period: int, back: int) -> bool:
    """Whether the last ``back`` frames repeat those ``period`` frames before, all beats the same cycles later."""
    ends = trace._frame_ends()
    cycles = ends[-1] - ends[-1 - period]
    inputs = {port.edge for port in trace.graph.inputs}
    for times in (trace.taken, {edge: offered for edge, offered in trace.offered.items() if edge not in inputs}):
        for beats in times.values():
            late = beats.reshape(trace.frames, -1)[-back - period :]
            if not np.array_equal(late[period:], late[:-period] + cycles):
                return False
    return True
