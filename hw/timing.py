"""The network's behaviour in time, beat by beat.

A static dataflow network obeys max-plus recurrences: the cycle of an action is the largest of a few
earlier cycles, each plus a constant (Schedule states which). They are solved action by action, which is
exact for any FIFO depths, input gaps and output stalls, and equal to the RTL to the cycle.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from hw import accounting
from hw.accounting import Account
from hw.errors import BitfabricError
from hw.graph import Graph
from hw.periodic import fastest
from hw.recurrences import UNKNOWN, solve, tables


class Deadlock(BitfabricError):
    """Nodes wait for each other for ever."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Cycle numbers of every beat on every edge, from the first cycle after reset.

    ``offered[edge]`` is the cycle from which a beat may be taken (valid, once those before it are gone),
    ``taken[edge]`` the cycle in which it moves (valid and ready). ``period``: the frames after which everything
    repeats at the trace's end, and would for ever, mostly 1; None where that is not known.
    """

    graph: Graph
    frames: int
    offered: dict[str, np.ndarray]
    taken: dict[str, np.ndarray]
    period: int | None = None

    def _frame_ends(self) -> np.ndarray:
        return np.max([self.taken[edge].reshape(self.frames, -1)[:, -1] for edge in self.graph.output_edges], axis=0)

    @property
    def latency(self) -> int:
        """Cycles from the first beat in to the last beat of the first frame out, both counted."""
        first = min(self.taken[port.edge][0] for port in self.graph.inputs)
        return int(self._frame_ends()[0] - first + 1)

    @property
    def interval(self) -> int:
        """Cycles between frames' ends: in the steady state (the mean, rounded up, where that takes several frames to
        repeat), or of the last two frames where that is not reached."""
        ends, frames = self._frame_ends(), self.period or 1
        return -int((ends[-1 - frames] - ends[-1]) // frames) if len(ends) > frames else self.latency

    def accounts(self, frames: int | None = None) -> dict[str, Account]:
        """What every node (by name) did in the cycles of its last ``frames`` frames, by default of one period.

        A node's frame lasts from after its last action of the frame before until its own last action. In the steady
        state that is the interval, for every node (as many intervals as frames). Raises BitfabricError where the
        trace has no frame before those.
        """
        frames = self.period or 1 if frames is None else frames
        if not 0 < frames < self.frames:
            raise BitfabricError(f"accounts of {frames} frames need a longer trace than one of {self.frames}", status=2)
        return accounting.accounts(self.graph, self.frames, frames, self.offered, self.taken)

    def occupancy(self, edge: str) -> np.ndarray:
        """Beats that the places behind ``edge`` hold, by cycle, up to the trace's last.

        The places are the writer's: a FIFO's where a FIFO writes the edge, else its output registers, from the
        action that makes a beat on, and there are as many as its ``credits``. One is held until the cycle in which the
        beat is taken, that included. Raises BitfabricError where no node writes the edge.
        """
        for node in self.graph:
            if edge in node.outputs:
                end = max(int(taken[-1]) for taken in self.taken.values()) + 1
                made = self.offered[edge] - node.kernel.schedule().latency
                return accounting.held(made, self.taken[edge], end)
        raise BitfabricError(f"no node writes an edge {edge}", status=2)


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
        from hw import deadlock  # which adds FIFOs, whose sizes come from here

        raise Deadlock(deadlock.explain(graph, waits))
    return trace


def attempt(
    graph: Graph,
    frames: int,
    offers: dict[str, np.ndarray] | None = None,
    ready: dict[str, np.ndarray] | None = None,
) -> tuple[Trace, dict[str, str]]:
    """As ``simulate``, but where nodes wait for ever, they are given: name -> the edge that each waits for."""
    given = tables(graph, frames)
    names, offset = list(graph.edges), given.offset
    index = {name: i for i, name in enumerate(names)}
    offered, taken = np.full(offset[-1], UNKNOWN), np.full(offset[-1], UNKNOWN)
    for port in graph.inputs:
        at = index[port.edge]
        offered[offset[at] : offset[at + 1]] = 0 if offers is None else offers.get(port.edge, 0)
    sinks, stalls, at = [], [], 0
    for edge in graph.output_edges:
        stall = np.zeros(0, bool) if ready is None else np.asarray(ready.get(edge, ()), bool)
        sinks.append((index[edge], at, len(stall)))
        stalls.append(stall)
        at += len(stall)
    waits = solve(given, offered, taken, np.array(sinks, np.int64), np.concatenate(stalls))
    spans = {name: slice(offset[i], offset[i + 1]) for name, i in index.items()}
    trace = Trace(
        graph,
        frames,
        {name: offered[span] for name, span in spans.items()},
        {name: taken[span] for name, span in spans.items()},
    )
    return trace, {node.name: names[given.ports[p, 0]] for node, p in zip(graph, waits, strict=True) if p >= 0}


class Pace(NamedTuple):
    """Cycles between frames in the steady state (the mean, rounded up, where that takes several frames to repeat), and
    from the first beat in to the last beat of the first frame out, both counted."""

    interval: int
    latency: int


def pace(graph: Graph) -> Pace:
    """What ``steady`` tells of these two, without going there: that may take hundreds of frames where the first nodes
    are a little faster than the last, and run ahead until all FIFOs between are full.

    The interval is that of the fastest periodic schedule; the latency that of one frame, which waits for none after
    it. Raises Deadlock as ``simulate``.
    """
    first = _solved(graph, *attempt(graph, 1))
    return Pace(fastest(graph).cycles, first.latency)


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
