"""Schedules of a frame that repeats, found by raising the events of an earlier one that come too early.

An event comes too early where one that it waits for has been raised, or binds it now and did not before. Each event
that is raised remembers which one raised it, and by how much that one comes earlier: its *parent*. Raising goes on in
sweeps over the nodes, and after each the parents are followed: an event that is later than its parent knows passes that
on, however long the way is, and parents that form a loop raise each other for ever, so there is no schedule. (Around a
loop the cycles from parent to child sum to more than none: an event was less late than the sum when the last of the
parents was remembered.) Without that, what winds through the frame in many turns, a few beats on each time, would be
followed turn by turn.

What is found is the least schedule that is nowhere earlier than the one before.
"""

from typing import NamedTuple

import numba
import numpy as np

# Values of ``mode``: as its kernel, a FIFO that is not there, one that is never full.
PLAIN, GONE, ENDLESS = range(3)
# What a node's events do to others.
_TAKEN, _GIVEN, _UNSETTLED = 1, 2, 4


class Frame(NamedTuple):
    """The events of one frame and what binds them; all spans by node, edge or buffer follow those of ``Tables``.

    Besides events there are beats that a buffer takes on its own; their numbers (by edge and beat) follow those of the
    events. ``first``: by node its first event. ``node``: by event or beat its node. ``writer``, ``reader``: by edge the
    node, or -1. ``giver``, ``taker``: by beat the event that gives it, and the event or beat of a buffer that tells
    when it is taken; past FIFOs that are not there, and -1 outside. ``needs``: by event of a node with a buffer how many
    beats must have been taken. ``frees``: by beat of a buffer the event that frees its place (below zero in the
    frames before). ``own``: by node the first of its beats in ``frees``.
    """

    first: np.ndarray
    node: np.ndarray
    writer: np.ndarray
    reader: np.ndarray
    giver: np.ndarray
    taker: np.ndarray
    needs: np.ndarray
    frees: np.ndarray
    own: np.ndarray


class State(NamedTuple):
    """A schedule: the cycles of the events and of the beats as taken (``taken`` is the end of ``when``), of the beats as
    offered; by event and beat its parent, -1 between tries and where not raised, and the cycles since that."""

    when: np.ndarray
    taken: np.ndarray
    offered: np.ndarray
    parent: np.ndarray
    since: np.ndarray


@numba.njit(cache=True)
def settle(tables, frame, state, kept, mode, cycles, dirty):  # pragma: no cover - compiled
    """Raise events, those of ``dirty`` nodes first, until none comes too early; whether that ends. If it does not, all
    is as before. ``kept`` is for the schedule from before."""
    nodes, ports = tables.nodes, tables.ports
    count = len(nodes)
    touched = np.zeros(count, np.bool_)
    low, high = count, -1
    for node in range(count):
        if dirty[node]:
            low, high = min(low, node), max(high, node)
    walk = np.zeros(len(state.when), np.int32)
    path = np.empty(len(state.when), np.int32)
    walks = 0
    up = holds = True
    while holds:
        # Near the change first: what loops, mostly loops there.
        idle, more = True, False
        for step in range(count):
            node = step if up else count - 1 - step
            if not dirty[node]:
                continue
            if not low <= node <= high:
                more = True
                continue
            idle = dirty[node] = False
            if not touched[node]:
                touched[node] = True
                _copy(tables, frame, state, kept, node)
            what = _relax(tables, frame, state, mode, cycles, node)
            if what & _UNSETTLED:
                dirty[node] = True
            if what & _TAKEN:
                for port in range(nodes[node, 4], nodes[node, 5]):
                    if frame.writer[ports[port, 0]] >= 0:
                        dirty[frame.writer[ports[port, 0]]] = True
            if what & _GIVEN:
                for port in range(nodes[node, 6], nodes[node, 7]):
                    if frame.reader[ports[port, 0]] >= 0:
                        dirty[frame.reader[ports[port, 0]]] = True
        if idle:
            if not more:
                break
            low, high = low - (high - low) - 4, high + (high - low) + 4
            continue
        up = not up
        walks = _follow(tables, frame, state, touched, dirty, walk, path, walks)
        holds = walks >= 0
    for node in range(count):
        if touched[node]:
            state.parent[frame.first[node] : frame.first[node + 1]] = -1
            if nodes[node, 8] >= 0:
                edge = ports[nodes[node, 4], 0]
                first = frame.first[-1]
                state.parent[first + tables.offset[edge] : first + tables.offset[edge + 1]] = -1
            if not holds:
                _copy(tables, frame, kept, state, node)
    return holds


@numba.njit(cache=True)
def _follow(tables, frame, state, touched, dirty, walk, path, walks):  # pragma: no cover - compiled
    """Make all as late as their parents know, and the nodes ``dirty`` where that is later; the number of the last walk,
    or -1 where parents form a loop. ``walk`` has for each the last walk that came by, of ``walks`` before this;
    ``path`` has room for one."""
    before, inner = walks, frame.first[-1]
    for node in range(len(touched)):
        if not touched[node]:
            continue
        for span in range(2):
            start, end = frame.first[node], frame.first[node + 1]
            if span:
                if tables.nodes[node, 8] < 0:
                    continue
                edge = tables.ports[tables.nodes[node, 4], 0]
                start, end = inner + tables.offset[edge], inner + tables.offset[edge + 1]
            for event in range(start, end):
                walks += 1
                length, at = 0, event
                while state.parent[at] >= 0 and walk[at] <= before:
                    walk[at] = walks
                    path[length] = at
                    length += 1
                    at = state.parent[at]
                if length and walk[at] == walks:
                    return -1
                for i in range(length - 1, -1, -1):
                    at = path[i]
                    cycle = state.when[state.parent[at]] + state.since[at]
                    if cycle > state.when[at]:
                        state.when[at] = cycle
                        dirty[frame.node[at]] = True
                        if at >= inner:
                            edge = tables.ports[tables.nodes[frame.node[at], 4], 0]
                            if frame.writer[edge] >= 0:
                                dirty[frame.writer[edge]] = True
    return walks


@numba.njit(cache=True)
def _copy(tables, frame, source, target, node):  # pragma: no cover - compiled
    """Copy what a node determines: its events, when its inputs are taken and its outputs offered."""
    nodes, ports, offset = tables.nodes, tables.ports, tables.offset
    first, end = frame.first[node], frame.first[node + 1]
    target.when[first:end] = source.when[first:end]
    for port in range(nodes[node, 4], nodes[node, 5]):
        first, end = offset[ports[port, 0]], offset[ports[port, 0] + 1]
        target.taken[first:end] = source.taken[first:end]
    for port in range(nodes[node, 6], nodes[node, 7]):
        edge = ports[port, 0]
        first, end = offset[edge], offset[edge + 1]
        target.offered[first:end] = source.offered[first:end]
        if frame.reader[edge] < 0:
            target.taken[first:end] = source.taken[first:end]


@numba.njit(cache=True)
def _relax(tables, frame, state, mode, cycles, node):  # pragma: no cover - compiled
    """Raise what comes too early in a node; whether beats are _TAKEN or _GIVEN later then, and it is _UNSETTLED yet."""
    nodes, ports, gaps, takes, gives, offset, _, buffers, _, _ = tables
    when, taken, offered, parent, since = state
    period, total, latency, credits, in0, in1, out0, out1, buffer, pattern = nodes[node]
    first, inner, raised = frame.first[node], frame.first[-1], 0
    if mode[node] == GONE:
        at, to = offset[ports[in0, 0]], offset[ports[out0, 0]]
        for beat in range(total):
            if offered[at + beat] > offered[to + beat]:
                offered[to + beat] = offered[at + beat]
                raised |= _GIVEN
            if taken[to + beat] > taken[at + beat]:
                taken[at + beat] = taken[to + beat]
                raised |= _TAKEN
        return raised
    beats = np.empty(out1 - in0 + in1 - out0, np.int64)  # ports of a node follow one another
    turns = 0
    again = True
    while again and turns < 8:
        again = False
        turns += 1
        if buffer >= 0:
            per_frame, _, _, _, delay, release, _, _, _, _, _ = buffers[buffer]
            at = offset[ports[in0, 0]]
            before = taken[at + per_frame - 1] - cycles
            for _ in range(2):
                for beat in range(per_frame):
                    event = frame.frees[frame.own[node] + beat]
                    turn = event // total
                    place = when[first + event - turn * total] + turn * cycles + release
                    cycle = max(before + 1, offered[at + beat], place)
                    if cycle > taken[at + beat]:
                        taken[at + beat] = cycle
                        if cycle == offered[at + beat]:
                            by = frame.giver[at + beat]
                        elif cycle == place:
                            by = first + event - turn * total
                        else:
                            by = inner + at + (beat - 1 if beat else per_frame - 1)
                        parent[inner + at + beat] = by
                        since[inner + at + beat] = cycle - when[by]
                        raised |= _TAKEN
                    before = taken[at + beat]
                before -= cycles
                if before + 1 <= taken[at]:
                    break
        clock, phase = when[first + total - 1] - cycles, 0
        beats[:] = 0
        for event in range(total):
            cycle, by = clock + gaps[pattern + phase], first + (event - 1 if event else total - 1)
            for port in range(in0, in1):
                if takes[ports[port, 1] + phase]:
                    beat = offset[ports[port, 0]] + beats[port - in0]
                    if offered[beat] >= cycle:
                        cycle, by = offered[beat], frame.giver[beat]
            if buffer >= 0:
                need = frame.needs[first + event] - 1
                turn = need // per_frame
                beat = at + need - turn * per_frame
                if taken[beat] + turn * cycles + delay >= cycle:
                    cycle, by = taken[beat] + turn * cycles + delay, inner + beat
            if mode[node] == PLAIN:
                for port in range(out0, out1):
                    if gives[ports[port, 1] + phase]:
                        edge = ports[port, 0]
                        size = offset[edge + 1] - offset[edge]
                        back = beats[in1 - in0 + port - out0] - credits
                        turn = back // size
                        beat = offset[edge] + back - turn * size
                        if taken[beat] + turn * cycles + 1 >= cycle:
                            cycle, by = taken[beat] + turn * cycles + 1, frame.taker[beat]
            later = cycle > when[first + event]
            if later:
                when[first + event] = cycle
                parent[first + event] = by
                since[first + event] = cycle - when[by]
            else:
                cycle = when[first + event]
            for port in range(in0, in1):
                if takes[ports[port, 1] + phase]:
                    beat = offset[ports[port, 0]] + beats[port - in0]
                    if cycle > taken[beat]:
                        taken[beat] = cycle
                        raised |= _TAKEN
                    beats[port - in0] += 1
            for port in range(out0, out1):
                if gives[ports[port, 1] + phase]:
                    edge = ports[port, 0]
                    beat = offset[edge] + beats[in1 - in0 + port - out0]
                    if cycle + latency > offered[beat]:
                        offered[beat] = cycle + latency
                        raised |= _GIVEN
                    if frame.reader[edge] < 0 and cycle + latency > taken[beat]:
                        taken[beat] = cycle + latency  # the outside takes it at once
                        again = True
                    beats[in1 - in0 + port - out0] += 1
            if later and buffer >= 0:
                again = True
            clock = cycle
            phase = phase + 1 if phase + 1 < period else 0
        if clock - cycles + gaps[pattern] > when[first]:
            again = True
    return raised | _UNSETTLED if again else raised
