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
from hw.kernels.buffer import advance

_UNKNOWN = -1


class Deadlock(BitfabricError):
    """Nodes wait for each other for ever."""


@numba.njit(cache=True)
def _solve(
    nodes, ports, takes, gives, offset, offered, taken, sinks, ready, buffers, nests, allowed
):  # pragma: no cover - compiled
    """Solve the recurrences in place; how many actions each node has done.

    ``nodes`` has a row per node: actions of its pattern, actions in all, latency, credits, first row of its inputs
    and of its outputs in ``ports`` and the end of each, its row in ``buffers`` or -1. ``ports`` has a row per port:
    edge, first element of its pattern in ``takes`` or ``gives``. ``sinks`` has a row per output edge: edge, first
    cycle in ``ready``, cycles there. ``buffers`` has a row per buffer: beats per frame, places, start, reach, delay,
    release, its first row in ``nests`` and the end, its first beat in ``allowed`` and the end. ``allowed`` has for
    each beat of a buffer the cycle from which there is a place for it. Every node goes on as far as what is known
    allows, in turn, until nothing moves.
    """
    count = len(nodes)
    done = np.zeros(count, np.int64)
    clock = np.full(count, -1)
    beats = np.zeros(len(ports), np.int64)
    drained = np.zeros(len(sinks), np.int64)
    index = np.zeros(len(nests), np.int64)
    frame = np.zeros(len(buffers), np.int64)
    position, oldest = buffers[:, 2].copy(), buffers[:, 2].copy()
    for buffer in range(len(buffers)):
        first, end = buffers[buffer, 8:10]
        allowed[first : min(end, first + max(0, oldest[buffer] + buffers[buffer, 1]))] = 0
    moved = True
    while moved:
        moved = False
        for node in range(count):
            period, total, latency, credits, in0, in1, out0, out1, buffer = nodes[node]
            phase = done[node] % period
            if buffer >= 0:
                per_frame, places, _, reach, delay, release, nest0, nest1, first, end = buffers[buffer]
                at, before = offset[ports[in0, 0]], beats[in0]
            while done[node] < total:
                cycle = clock[node] + 1
                known = True
                for port in range(in0, in1):
                    if takes[ports[port, 1] + phase]:
                        beat = offered[offset[ports[port, 0]] + beats[port]]
                        known = known and beat != _UNKNOWN
                        cycle = max(cycle, beat)
                for port in range(out0, out1):
                    if gives[ports[port, 1] + phase] and beats[port] >= credits:
                        beat = taken[offset[ports[port, 0]] + beats[port] - credits]
                        known = known and beat != _UNKNOWN
                        cycle = max(cycle, beat + 1)
                if buffer >= 0:
                    need = min(position[buffer] + reach, (frame[buffer] + 1) * per_frame)
                    if need > beats[in0]:
                        beats[in0] = _fill(beats[in0], offered[at:], taken[at:], allowed[first:end])
                    known = known and need <= beats[in0]
                    if known and need > 0:
                        cycle = max(cycle, taken[at + need - 1] + delay)
                if not known:
                    break
                for port in range(in0, in1):
                    if takes[ports[port, 1] + phase]:
                        taken[offset[ports[port, 0]] + beats[port]] = cycle
                        beats[port] += 1
                for port in range(out0, out1):
                    if gives[ports[port, 1] + phase]:
                        offered[offset[ports[port, 0]] + beats[port]] = cycle + latency
                        beats[port] += 1
                if buffer >= 0:
                    row = advance(nests[nest0:nest1], index[nest0:nest1])
                    position[buffer] += nests[nest0 + row, 1]
                    frame[buffer] += row == 0
                    for place in range(nests[nest0 + row, 2]):
                        if 0 <= oldest[buffer] + places + place < end - first:
                            allowed[first + oldest[buffer] + places + place] = cycle + release
                    oldest[buffer] += nests[nest0 + row, 2]
                clock[node] = cycle
                done[node] += 1
                phase = phase + 1 if phase + 1 < period else 0
                moved = True
            if buffer >= 0:
                beats[in0] = _fill(beats[in0], offered[at:], taken[at:], allowed[first:end])
                moved = moved or beats[in0] > before
        for sink in range(len(sinks)):
            edge, first, cycles = sinks[sink]
            at, end = offset[edge] + drained[sink], offset[edge + 1]
            cycle = taken[at - 1] if drained[sink] else -1
            while at < end and offered[at] != _UNKNOWN:
                cycle = max(cycle + 1, offered[at])
                while cycle < cycles and not ready[first + cycle]:
                    cycle += 1
                taken[at] = cycle
                at += 1
                moved = True
            drained[sink] = at - offset[edge]
    return done


@numba.njit(cache=True)
def _fill(written, offered, taken, allowed):  # pragma: no cover - compiled
    """Take the beats of a buffer from number ``written`` on, as far as is known; how many there are then."""
    while written < len(allowed) and offered[written] != _UNKNOWN and allowed[written] != _UNKNOWN:
        taken[written] = max(offered[written], allowed[written], taken[written - 1] + 1 if written else 0)
        written += 1
    return written


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
    ready (afterwards, and by default, always). Raises Deadlock, naming the nodes.
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

    schedules = [node.kernel.schedule() for node in graph]
    rows: list[tuple[int, ...]] = []
    ports: list[tuple[int, int]] = []
    patterns: dict[str, list[np.ndarray]] = {"takes": [], "gives": []}
    position = {"takes": 0, "gives": 0}
    buffers: list[tuple[int, ...]] = []
    nests, turns, kept = [np.zeros((0, 3), np.int64)], 0, 0
    for node, plan in zip(graph, schedules, strict=True):
        bounds: list[int] = []
        for kind, edges, masks in (("takes", node.inputs, plan.takes), ("gives", node.outputs, plan.gives)):
            bounds += [len(ports), len(ports) + len(edges)]
            for edge, mask in zip(edges, masks, strict=True):
                ports.append((index[edge], position[kind]))
                patterns[kind].append(mask)
                position[kind] += len(mask)
        if memory := plan.buffer:
            buffers.append((
                *(memory.beats, memory.places, memory.start, memory.reach, memory.delay, memory.release),
                *(turns, turns + len(memory.nest), kept, kept + memory.beats * frames),
            ))  # fmt: skip
            nests.append(memory.nest)
            turns, kept = buffers[-1][7], buffers[-1][9]
        own = len(buffers) - 1 if memory else -1
        rows.append((plan.actions // plan.repeats, plan.actions * frames, plan.latency, plan.credits, *bounds, own))
    sinks, stalls, at = [], [], 0
    for port in graph.outputs:
        stall = np.zeros(0, bool) if ready is None else np.asarray(ready.get(port.edge, ()), bool)
        sinks.append((index[port.edge], at, len(stall)))
        stalls.append(stall)
        at += len(stall)
    done = _solve(
        np.array(rows, np.int64), np.array(ports, np.int64), np.concatenate(patterns["takes"]),
        np.concatenate(patterns["gives"]), offset, offered, taken, np.array(sinks, np.int64), np.concatenate(stalls),
        np.array(buffers, np.int64).reshape(-1, 10), np.concatenate(nests), np.full(kept, _UNKNOWN),
    )  # fmt: skip
    total = [row[1] for row in rows]
    if stuck := [node.name for node, d, t in zip(graph, done, total, strict=True) if d < t]:
        raise Deadlock(f"deadlock: {', '.join(stuck)} wait for each other; a FIFO in the loop is too short")
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
