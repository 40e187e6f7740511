"""The network's behaviour in time, beat by beat.

A static dataflow network obeys max-plus recurrences: the cycle of an action is the largest of a few
earlier cycles, each plus a constant (Schedule states which). They are solved action by action, which is
exact for any FIFO depths, input gaps and output stalls, and equal to the RTL to the cycle.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hw.host.errors import BitfabricError
from hw.ir.graph import Graph
from hw.timing import deadlock
from hw.timing.periodic import fastest
from hw.timing.trace import Trace, attempt


class Deadlock(BitfabricError):
    """Nodes wait for each other for ever."""


def simulate(
    graph: Graph,
    frames: int,
    offers: dict[str, np.ndarray] | None = None,
    ready: dict[str, np.ndarray] | None = None,
) -> Trace:
    """Solve the recurrences of ``graph`` for ``frames`` frames.

    ``offers[edge]`` gives for each beat of an input edge the first cycle in which it may be offered
    (default: all at once); ``ready[edge]`` gives for each cycle whether the reader of an output edge is
    ready (afterwards, and by default, always). Without either, frames beyond those until everything repeats are
    not solved again. Raises Deadlock, naming the FIFO or the edge that is full and the depth that frees it.
    """
    if offers is None and ready is None:
        return _extended(steady(graph, frames), frames)
    return _solved(graph, *attempt(graph, frames, offers, ready))


def _solved(graph: Graph, trace: Trace, waits: dict[str, str]) -> Trace:
    """The trace, if nothing waits for ever."""
    if waits:
        raise Deadlock(deadlock.explain(graph, waits))
    return trace


class SteadyState(NamedTuple):
    """Cycles between frames in the steady state (the mean, rounded up, where that takes several frames to repeat), and
    from the first beat in to the last beat of the first frame out, both counted."""

    interval: int
    latency: int


def steady_state(graph: Graph) -> SteadyState:
    """What ``steady`` tells of these two, without going there: that may take hundreds of frames where the first nodes
    are a little faster than the last, and run ahead until all FIFOs between are full.

    The interval is that of the fastest periodic schedule; the latency that of one frame, which waits for none after
    it. Raises Deadlock as ``simulate``.
    """
    first = _solved(graph, *attempt(graph, 1))
    return SteadyState(fastest(graph).interval, first.latency)


def steady(graph: Graph, limit: int = 128) -> Trace:
    """A trace until everything repeats, frame after frame, or of ``limit`` frames where it does not before.

    The recurrences look back over no more than some frames: what has repeated that long, goes on for ever.
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
    """The trace of as many frames, where it is shorter and repeats."""
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
    """Frames over which the recurrences look back."""
    back = 1
    for node in graph:
        plan = node.kernel.schedule()
        back = max(back, *(1 + -(-plan.credits // stream.beats) for stream in node.kernel.outputs()))
        if plan.buffer:
            back = max(back, 2 + -(-plan.buffer.places // plan.buffer.frame))
    return back


def _repeats(trace: Trace, period: int, back: int) -> bool:
    """Whether each beat of the last ``back`` frames comes as many cycles after that of ``period`` frames before."""
    ends = trace._frame_ends()
    cycles = ends[-1] - ends[-1 - period]
    inputs = {port.edge for port in trace.graph.inputs}
    for times in (trace.taken, {edge: offered for edge, offered in trace.offered.items() if edge not in inputs}):
        for beats in times.values():
            late = beats.reshape(trace.frames, -1)[-back - period :]
            if not np.array_equal(late[period:], late[:-period] + cycles):
                return False
    return True
