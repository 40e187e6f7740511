"""The network's behaviour in time, beat by beat.

A static dataflow network obeys max-plus recurrences: the cycle of an action is the largest of a few
earlier cycles, each plus a constant (Schedule states which). They are solved action by action, which is
exact for any FIFO depths, input gaps and output stalls, and equal to the RTL to the cycle.
"""

from dataclasses import dataclass

import numba
import numpy as np

from hw.errors import BitfabricError
from hw.graph import Graph

_UNKNOWN = -1


@numba.njit(cache=True)
def _advance(node, start, total, period, latency, credits, clock, ins, takes, in_count, outs, gives, out_count,
             offered, taken, offset):  # fmt: skip
    """Run the actions of ``node`` as far as what is known allows; how many there were."""
    done = 0
    while start[node] + done < total[node]:
        action = (start[node] + done) % period[node]
        cycle = clock[node] + 1
        ready = True
        for port in range(len(ins)):
            if takes[port, action]:
                beat = offered[offset[ins[port]] + in_count[port]]
                if beat == _UNKNOWN:
                    ready = False
                    break
                cycle = max(cycle, beat)
        if ready:
            for port in range(len(outs)):
                back = out_count[port] - credits[node]
                if gives[port, action] and back >= 0:
                    beat = taken[offset[outs[port]] + back]
                    if beat == _UNKNOWN:
                        ready = False
                        break
                    cycle = max(cycle, beat + 1)
        if not ready:
            break
        for port in range(len(ins)):
            if takes[port, action]:
                taken[offset[ins[port]] + in_count[port]] = cycle
                in_count[port] += 1
        for port in range(len(outs)):
            if gives[port, action]:
                offered[offset[outs[port]] + out_count[port]] = cycle + latency[node]
                out_count[port] += 1
        clock[node] = cycle
        done += 1
    start[node] += done
    return done


@numba.njit(cache=True)
def _drain(offered, taken, begin, count, size, ready):
    """The sink: take beats as they come in cycles in which it is ready; returns how many are taken now."""
    cycle = taken[begin + count - 1] if count else -1
    while count < size:
        beat = offered[begin + count]
        if beat == _UNKNOWN:
            break
        cycle = max(cycle + 1, beat)
        while cycle < len(ready) and not ready[cycle]:
            cycle += 1
        taken[begin + count] = cycle
        count += 1
    return count


@dataclass(frozen=True, eq=False)
class Trace:
    """Cycle numbers of every beat on every edge, from the first cycle after reset.

    ``offered[edge]`` is the cycle from which a beat may be taken (valid, once those before it are gone),
    ``taken[edge]`` the cycle in which it moves (valid and ready).
    """

    graph: Graph
    frames: int
    offered: dict[str, np.ndarray]
    taken: dict[str, np.ndarray]

    def _frame_ends(self) -> np.ndarray:
        edges = [port.edge for port in self.graph.outputs]
        return np.max([self.taken[edge].reshape(self.frames, -1)[:, -1] for edge in edges], axis=0)

    @property
    def latency(self) -> int:
        """Cycles from the first beat in to the last beat of the first frame out, both counted."""
        first = min(self.taken[port.edge][0] for port in self.graph.inputs)
        return int(self._frame_ends()[0] - first + 1)

    @property
    def interval(self) -> int:
        """Cycles between the last two frames' ends: the steady state, once the trace is long enough."""
        ends = self._frame_ends()
        return int(ends[-1] - ends[-2]) if len(ends) > 1 else self.latency


def simulate(
    graph: Graph,
    frames: int,
    offers: dict[str, np.ndarray] | None = None,
    ready: dict[str, np.ndarray] | None = None,
) -> Trace:
    """Solve the recurrences of ``graph`` for ``frames`` frames.

    ``offers[edge]`` gives for each beat of an input edge the first cycle in which it may be offered
    (default: all at once); ``ready[edge]`` gives for each cycle whether the reader of an output edge is
    ready (afterwards, and by default, always). Raises BitfabricError on a deadlock, naming the nodes.
    """
    names = list(graph.edges)
    index = {name: i for i, name in enumerate(names)}
    sizes = np.array([graph.edges[name].beats * frames for name in names])
    written = {edge: s.beats * frames for n in graph for edge, s in zip(n.outputs, n.kernel.outputs(), strict=True)}
    for name, beats in written.items():
        sizes[index[name]] = beats
    offset = np.concatenate(([0], np.cumsum(sizes)))
    offered, taken = np.full(offset[-1], _UNKNOWN), np.full(offset[-1], _UNKNOWN)
    for port in graph.inputs:
        at = index[port.edge]
        offered[offset[at] : offset[at + 1]] = 0 if offers is None else offers.get(port.edge, 0)

    nodes = list(graph)
    schedules = [node.kernel.schedule() for node in nodes]
    period = np.array([s.actions for s in schedules])
    start, total, clock = np.zeros_like(period), period * frames, np.full_like(period, -1)
    latency, credits = np.array([s.latency for s in schedules]), np.array([s.credits for s in schedules])
    ports = [
        (
            np.array([index[e] for e in node.inputs], np.int64),
            np.array(s.takes, bool).reshape(len(s.takes), -1),
            np.zeros(len(node.inputs), np.int64),
            np.array([index[e] for e in node.outputs], np.int64),
            np.array(s.gives, bool).reshape(len(s.gives), -1),
            np.zeros(len(node.outputs), np.int64),
        )
        for node, s in zip(nodes, schedules, strict=True)
    ]
    drained = {port.edge: 0 for port in graph.outputs}
    always = np.zeros(0, bool)
    while True:
        progress = 0
        for i in range(len(nodes)):
            progress += _advance(i, start, total, period, latency, credits, clock, *ports[i], offered, taken, offset)
        for edge, count in drained.items():
            at = index[edge]
            pattern = always if ready is None else np.asarray(ready.get(edge, always), bool)
            drained[edge] = _drain(offered, taken, offset[at], count, sizes[at], pattern)
            progress += drained[edge] - count
        if not progress:
            break
    if stuck := [node.name for node, s, t in zip(nodes, start, total, strict=True) if s < t]:
        raise BitfabricError(f"deadlock: {', '.join(stuck)} wait for each other; a FIFO in the loop is too short")
    spans = {name: slice(offset[i], offset[i + 1]) for name, i in index.items()}
    return Trace(
        graph,
        frames,
        {name: offered[span] for name, span in spans.items()},
        {name: taken[span] for name, span in spans.items()},
    )


def steady(graph: Graph, limit: int = 64) -> Trace:
    """A trace long enough that the interval between frames has settled (three equal ones in a row)."""
    frames = 4
    while True:
        trace = simulate(graph, frames)
        ends = np.diff(trace._frame_ends())
        if frames >= limit or len(set(ends[-3:])) == 1:
            return trace
        frames *= 2
