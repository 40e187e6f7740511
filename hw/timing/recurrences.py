"""The max-plus recurrences of a dataflow graph as arrays, and their solution beat by beat, compiled.

Every array is flat: a row or a span for each node, port, edge or buffer. Actions that neither take nor give a beat
only let a cycle pass, so they are folded into the next one that does, an *event*: solving takes a time in proportion to
the beats, not to the cycles.
"""

from typing import NamedTuple

import numba
import numpy as np

from hw.ir.buffer import advance
from hw.ir.graph import Graph
from hw.ir.kernel import Schedule

UNKNOWN = -1


class Tables(NamedTuple):
    """A graph's recurrences for a number of frames.

    ``nodes`` has a row per node: events of its pattern, events in all, latency, credits, first row of its inputs
    and of its outputs in ``ports`` and the end of each, its row in ``buffers`` or -1, first event of its pattern in
    ``gaps``, whether its inputs have places. ``gaps`` has for each event of a pattern the actions from the one before
    it. ``ports`` has a row per port: edge, first element of its pattern in ``takes`` or ``gives``. ``offset`` has for
    each edge its first beat. ``clock`` has for each node the cycle of its last event, were there a frame before the
    first. ``buffers`` has a row per buffer: beats per frame, places, start, reach, delay, release, its first row in
    ``nests`` and the end, its first beat in ``allowed`` and the end, words of a beat. ``allowed`` has as many elements
    as the buffers have beats.
    """

    nodes: np.ndarray
    ports: np.ndarray
    gaps: np.ndarray
    takes: np.ndarray
    gives: np.ndarray
    offset: np.ndarray
    clock: np.ndarray
    buffers: np.ndarray
    nests: np.ndarray
    allowed: int


def _events(plan: Schedule) -> np.ndarray:
    """The actions of the pattern that take or give a beat; with a buffer, that is each."""
    return np.flatnonzero(np.any((*plan.consumes, *plan.produces), axis=0))


def tables(graph: Graph, frames: int) -> Tables:
    """The recurrences of ``graph`` for ``frames`` frames."""
    names = list(graph.edges)
    index = {name: i for i, name in enumerate(names)}
    sizes = np.array([graph.edges[name].beats * frames for name in names])
    rows: list[tuple[int, ...]] = []
    ports: list[tuple[int, int]] = []
    clock: list[int] = []
    gaps: list[np.ndarray] = []
    patterns: dict[str, list[np.ndarray]] = {"takes": [], "gives": []}
    position = {"takes": 0, "gives": 0, "gaps": 0}
    buffers: list[tuple[int, ...]] = []
    nests, turns, kept = [np.zeros((0, 3), np.int64)], 0, 0
    for node in graph:
        plan = node.kernel.schedule()
        for edge, stream in zip(node.outputs, node.kernel.outputs(), strict=True):
            sizes[index[edge]] = stream.beats * frames
        events, period = _events(plan), plan.firings // plan.repeats
        bounds: list[int] = []
        for kind, edges, masks in (("takes", node.inputs, plan.consumes), ("gives", node.outputs, plan.produces)):
            bounds += [len(ports), len(ports) + len(edges)]
            for edge, mask in zip(edges, masks, strict=True):
                ports.append((index[edge], position[kind]))
                patterns[kind].append(mask[events])
                position[kind] += len(events)
        own = -1
        if memory := plan.buffer:
            own = len(buffers)
            buffers.append((
                *(memory.beats, memory.places, memory.start, memory.reach, memory.delay, memory.release),
                *(turns, turns + len(memory.nest), kept, kept + memory.beats * frames, memory.together),
            ))  # fmt: skip
            nests.append(memory.nest)
            turns, kept = buffers[-1][7], buffers[-1][9]
        count = len(events)
        rows.append((
            *(count, count * plan.repeats * frames, plan.latency, plan.credits, *bounds, own, position["gaps"]),
            int(plan.input_registers),
        ))  # fmt: skip
        clock.append(int(events[-1]) - period)
        gaps.append(np.diff(events, prepend=clock[-1]))
        position["gaps"] += count
    return Tables(
        np.array(rows, np.int64), np.array(ports, np.int64), np.concatenate(gaps), np.concatenate(patterns["takes"]),
        np.concatenate(patterns["gives"]), np.concatenate(([0], np.cumsum(sizes))), np.array(clock, np.int64),
        np.array(buffers, np.int64).reshape(-1, 11), np.concatenate(nests), kept,
    )  # fmt: skip


@numba.njit(cache=True)
def solve(tables, offered, taken, sinks, ready):  # pragma: no cover - compiled
    """Solve the recurrences in place; for each node the row of the port that it waits for in the end, or -1.

    ``offered`` and ``taken`` have the cycle of each beat, or UNKNOWN. ``sinks`` has a row per output edge: edge, first
    cycle in ``ready``, cycles there. Every node goes on as far as what is known allows, in turn, until nothing moves.
    """
    nodes, ports, gaps, takes, gives, offset, clocks, buffers, nests, kept = tables
    count = len(nodes)
    done, phases = np.zeros(count, np.int64), np.zeros(count, np.int64)
    clock = clocks.copy()
    waits = np.full(count, -1)
    allowed = np.full(kept, UNKNOWN)
    beats = np.zeros(len(ports), np.int64)
    drained = np.zeros(len(sinks), np.int64)
    index = np.zeros(len(nests), np.int64)
    frame = np.zeros(len(buffers), np.int64)
    position, oldest = buffers[:, 2].copy(), buffers[:, 2].copy()
    for buffer in range(len(buffers)):
        first, end, together = buffers[buffer, 8:11]
        allowed[first : min(end, first + max(0, oldest[buffer] + buffers[buffer, 1]) // together)] = 0
    writer, reader = np.full(len(offset) - 1, count), np.full(len(offset) - 1, count)
    for node in range(count):
        for port in range(nodes[node, 4], nodes[node, 5]):
            reader[ports[port, 0]] = node
        for port in range(nodes[node, 6], nodes[node, 7]):
            writer[ports[port, 0]] = node
    awake = np.ones(count + 1, np.bool_)  # whether a neighbour has moved; the last stands for the outside
    moved = True
    while moved:
        moved = False
        for node in range(count):
            if not awake[node]:
                continue
            awake[node] = False
            started = done[node]
            period, total, latency, credits, in0, in1, out0, out1, buffer, pattern, apart = nodes[node]
            phase = phases[node]
            waits[node] = -1
            progress = False
            if buffer < 0 and in1 == in0 + 1 and out1 == out0 + 1 and not apart:
                # As below, for what most nodes are: one input, one output, no memory; they run a few events at a time.
                event, cycle = started, clock[node]
                (in_edge, take), (out_edge, give) = ports[in0], ports[out0]
                come, go = offset[in_edge] + beats[in0], offset[out_edge] + beats[out0]
                free = offset[out_edge] + credits
                while event < total:
                    earliest = cycle + gaps[pattern + phase]
                    if takes[take + phase]:
                        if offered[come] == UNKNOWN:
                            waits[node] = in0
                        earliest = max(earliest, offered[come])
                    if gives[give + phase] and go >= free:
                        if taken[go - credits] == UNKNOWN:
                            waits[node] = out0
                        earliest = max(earliest, taken[go - credits] + 1)
                    if waits[node] >= 0:
                        break
                    if takes[take + phase]:
                        taken[come] = earliest
                        come += 1
                    if gives[give + phase]:
                        offered[go] = earliest + latency
                        go += 1
                    cycle = earliest
                    event += 1
                    phase = phase + 1 if phase + 1 < period else 0
                beats[in0], beats[out0] = come - offset[in_edge], go - offset[out_edge]
                clock[node], done[node], phases[node] = cycle, event, phase
                if event > started:
                    moved = True
                    awake[writer[in_edge]] = awake[reader[out_edge]] = True
                continue
            if buffer >= 0:
                per_frame, places, _, reach, delay, release, nest0, nest1, first, end, together = buffers[buffer]
                at, before = offset[ports[in0, 0]], beats[in0]
            while done[node] < total:
                cycle = earliest = clock[node] + gaps[pattern + phase]
                waits[node] = -1
                for port in range(in0, in1):
                    if takes[ports[port, 1] + phase]:
                        here = offset[ports[port, 0]] + beats[port]
                        if offered[here] == UNKNOWN:
                            waits[node] = port
                        elif apart and taken[here] == UNKNOWN:
                            taken[here] = max(earliest, offered[here])
                            progress = True
                        cycle = max(cycle, offered[here])
                for port in range(out0, out1):
                    if gives[ports[port, 1] + phase] and beats[port] >= credits:
                        beat = taken[offset[ports[port, 0]] + beats[port] - credits]
                        if beat == UNKNOWN:
                            waits[node] = port
                        cycle = max(cycle, beat + 1)
                if buffer >= 0:
                    need = min(position[buffer] + reach, (frame[buffer] + 1) * per_frame * together)
                    if together > 1:
                        need = -(-need // together)
                    if need > beats[in0]:
                        beats[in0] = _fill(beats[in0], offered[at:], taken[at:], allowed[first:end])
                    if need > beats[in0]:
                        waits[node] = in0
                    elif need > 0:
                        cycle = max(cycle, taken[at + need - 1] + delay)
                if waits[node] >= 0:
                    break
                for port in range(in0, in1):
                    if takes[ports[port, 1] + phase]:
                        if not apart:
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
                    if nests[nest0 + row, 2]:
                        free = max(0, oldest[buffer] + places) // together
                        oldest[buffer] += nests[nest0 + row, 2]
                        for beat in range(free, min(end - first, max(0, oldest[buffer] + places) // together)):
                            allowed[first + beat] = cycle + release
                clock[node] = cycle
                done[node] += 1
                phase = phase + 1 if phase + 1 < period else 0
            phases[node] = phase
            progress = progress or done[node] > started
            if buffer >= 0:
                beats[in0] = _fill(beats[in0], offered[at:], taken[at:], allowed[first:end])
                progress = progress or beats[in0] > before
            if progress:
                moved = True
                for port in range(in0, in1):
                    awake[writer[ports[port, 0]]] = True
                for port in range(out0, out1):
                    awake[reader[ports[port, 0]]] = True
        for sink in range(len(sinks)):
            edge, first, cycles = sinks[sink]
            at, end = offset[edge] + drained[sink], offset[edge + 1]
            cycle = taken[at - 1] if drained[sink] else -1
            while at < end and offered[at] != UNKNOWN:
                cycle = max(cycle + 1, offered[at])
                while cycle < cycles and not ready[first + cycle]:
                    cycle += 1
                taken[at] = cycle
                at += 1
                moved = awake[writer[edge]] = True
            drained[sink] = at - offset[edge]
    return waits


@numba.njit(cache=True)
def _fill(written, offered, taken, allowed):  # pragma: no cover - compiled
    """Take the beats of a buffer from number ``written`` on, as far as is known; how many there are then."""
    while written < len(allowed) and offered[written] != UNKNOWN and allowed[written] != UNKNOWN:
        taken[written] = max(offered[written], allowed[written], taken[written - 1] + 1 if written else 0)
        written += 1
    return written
