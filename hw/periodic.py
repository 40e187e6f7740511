"""Whether a graph can take a frame every so many cycles: periodic schedules, and how FIFOs change them.

In a periodic schedule each action of a frame comes ``cycles`` after that of the frame before, so one frame is all there
is. A graph keeps the interval if, and only if, it has such a schedule: the recurrences of ``hw.recurrences`` with all
indices modulo the frame have a solution. The solution is found by raising the events of an earlier one that come too
early until none does. Where there is none, some events would raise themselves for ever around a loop; the events that
raised each other tell. As a change of one FIFO disturbs few nodes, a try is much faster than a simulation.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numba
import numpy as np

from hw.graph import Graph
from hw.kernels.buffer import advance
from hw.kernels.fifo import Fifo
from hw.recurrences import Tables, tables

_DEEP = 1 << 30
"""Beats of a FIFO that is never full."""
# Values of ``mode``: as its kernel, a FIFO that is not there, one that is never full.
_PLAIN, _GONE, _ENDLESS = range(3)
# Values of ``cause`` and ``cause_in``: not raised; by the one before (a place: the event), by a memory, from 3 on by a
# port.
_NONE, _BEFORE, _MEMORY, _PORT = range(4)
# What a node's events do to others.
_TAKEN, _GIVEN, _UNSETTLED = 1, 2, 4


class _Frame(NamedTuple):
    """The events of one frame and what binds them; all spans by node, edge or buffer follow those of ``Tables``.

    ``first``: by node its first event. ``writer``, ``reader``: by edge the node, or -1. ``gives_at``, ``takes_at``: by
    beat the event (of the node) that gives and that takes it. ``needs``: by event of a node with a buffer how many
    beats must have been taken. ``frees``: by beat of a buffer the event that frees its place (below zero in the
    frames before). ``own``: by node the first of its beats in ``frees``.
    """

    first: np.ndarray
    writer: np.ndarray
    reader: np.ndarray
    gives_at: np.ndarray
    takes_at: np.ndarray
    needs: np.ndarray
    frees: np.ndarray
    own: np.ndarray


class _State(NamedTuple):
    """A schedule: the cycles of the events, of the beats as offered and as taken; and what raised an event or, where a
    buffer or a place of its own takes it, a beat last in this try (``cause``, ``cause_in``)."""

    when: np.ndarray
    offered: np.ndarray
    taken: np.ndarray
    cause: np.ndarray
    cause_in: np.ndarray


class Periodic:
    """Schedules of ``graph`` with a frame every ``cycles`` cycles.

    ``feasible`` tells whether there is one with FIFOs that are never full on ``edges``; the graph has one of any depth
    there, ``EDGE_fifo`` (see ``hw.fifo.insert``). Depths change by ``attempt``.
    """

    def __init__(self, graph: Graph, edges: Iterable[str], cycles: int) -> None:
        self._cycles, self._edges = cycles, {name: i for i, name in enumerate(graph.edges)}
        self._tables = tables(graph, 1)
        self._frame = _frame(self._tables)
        nodes = {node.name: i for i, node in enumerate(graph)}
        self._fifos = {edge: nodes[f"{edge}_fifo"] for edge in edges}
        self._streams = {edge: graph.nodes[node].kernel.inputs()[0] for edge, node in self._fifos.items()}
        self._mode = np.zeros(len(nodes), np.int64)
        self._mode[list(self._fifos.values())] = _ENDLESS
        for edge, node in self._fifos.items():
            self._tables.nodes[node, 2] = Fifo(self._streams[edge], _DEEP).schedule().latency
        events, beats = int(self._frame.first[-1]), int(self._tables.offset[-1])
        self._state = _State(
            *(np.zeros(size, np.int64) for size in (events, beats, beats)),
            *(np.zeros(size, np.int16) for size in (events, beats)),
        )
        for port in graph.inputs:  # input that comes evenly fills the FIFOs least
            self._even(self._edges[port.edge])
        self._kept = _State(*(values.copy() for values in self._state))
        self._seen = np.zeros(events + beats + 1, np.int64)
        self.feasible = self._settle(np.ones(len(nodes), np.bool_))

    def _even(self, edge: int) -> None:
        """Begin with the beats of an input edge taken evenly over the frame."""
        frame, (at, end) = self._frame, self._tables.offset[edge : edge + 2]
        spread = np.arange(end - at) * self._cycles // (end - at)
        self._state.taken[at:end] = spread
        reader = frame.reader[edge]
        if self._tables.nodes[reader, 8] < 0:
            self._state.when[frame.first[reader] + frame.takes_at[at:end]] = spread

    def _settle(self, dirty: np.ndarray) -> bool:
        return bool(
            _settle(self._tables, self._frame, self._state, self._kept, self._mode, self._cycles, dirty, self._seen)
        )

    def peaks(self) -> dict[str, int]:
        """The most beats that each FIFO holds in the present schedule."""
        return {edge: self._peak(edge, f"{edge}_fifo") for edge in self._fifos}

    def _peak(self, before: str, after: str) -> int:
        come, gone = (
            self._state.taken[self._tables.offset[i] : self._tables.offset[i + 1]]
            for i in (self._edges[before], self._edges[after])
        )
        # A place is free again in the cycle after its beat has left.
        frames, cycle = np.divmod(come - gone[0], self._cycles)
        left = frames * len(gone) + np.searchsorted(gone, cycle + gone[0])
        return int((np.arange(1, len(come) + 1) - left).max())

    def attempt(self, depths: dict[str, int]) -> bool:
        """Give the FIFOs on these edges these depths, 0 for none, if there is a schedule then; else change nothing."""
        before = self._tables.nodes.copy(), self._mode.copy()
        dirty = np.zeros(len(self._mode), np.bool_)
        for edge, depth in depths.items():
            node = self._fifos[edge]
            self._mode[node] = _PLAIN if depth else _GONE
            if depth:
                plan = Fifo(self._streams[edge], depth).schedule()
                self._tables.nodes[node, 2:4] = plan.latency, plan.credits
            dirty[node] = True
        if self._settle(dirty):
            return True
        self._tables.nodes[:], self._mode[:] = before
        return False


def _frame(given: Tables) -> _Frame:
    first = np.concatenate(([0], np.cumsum(given.nodes[:, 1])))
    beats, edges = int(given.offset[-1]), len(given.offset) - 1
    own = np.full(len(given.nodes), -1)
    size = 0
    for node, buffer in enumerate(given.nodes[:, 8]):
        if buffer >= 0:
            own[node] = size
            size += given.buffers[buffer, 0]
    frame = _Frame(
        first, np.full(edges, -1), np.full(edges, -1), np.zeros(beats, np.int64), np.zeros(beats, np.int64),
        np.zeros(first[-1], np.int64), np.zeros(size, np.int64), own,
    )  # fmt: skip
    _fill_frame(given, frame)
    return frame


@numba.njit(cache=True)
def _fill_frame(tables, frame):  # pragma: no cover - compiled
    nodes, ports, _, takes, gives, offset, _, buffers, nests, _ = tables
    for node in range(len(nodes)):
        period, total, _, _, in0, in1, out0, out1, buffer, _, _ = nodes[node]
        for port in range(in0, in1):
            edge, pattern = ports[port]
            frame.reader[edge] = node
            beat = offset[edge]
            for event in range(total):
                if takes[pattern + event % period]:
                    frame.takes_at[beat] = event
                    beat += 1
        for port in range(out0, out1):
            edge, pattern = ports[port]
            frame.writer[edge] = node
            beat = offset[edge]
            for event in range(total):
                if gives[pattern + event % period]:
                    frame.gives_at[beat] = event
                    beat += 1
        if buffer >= 0:
            per_frame, places, start, reach, _, _, nest0, nest1, _, _, together = buffers[buffer]
            words = per_frame * together
            nest, index = nests[nest0:nest1], np.zeros(nest1 - nest0, np.int64)
            # In this frame the beats of all later ones find their places as in it.
            last = (places + abs(start)) // words + 2
            position, oldest = start, start
            for event in range((last + 2) * total):
                if event < total:
                    frame.needs[frame.first[node] + event] = -(-min(position + reach, words) // together)
                row = advance(nest, index)
                position += nest[row, 1]
                free = (oldest + places) // together
                oldest += nest[row, 2]
                for beat in range(free - last * per_frame, (oldest + places) // together - last * per_frame):
                    if 0 <= beat < per_frame:
                        frame.frees[frame.own[node] + beat] = event - last * total


@numba.njit(cache=True)
def _settle(tables, frame, state, kept, mode, cycles, dirty, seen):  # pragma: no cover - compiled
    """Raise events until none comes too early; whether that ends. If it does not, all is as before.

    ``seen`` has a place for every event and beat, for the number of the walk that saw it, and that number as its last.
    """
    nodes, ports = tables.nodes, tables.ports
    count = len(nodes)
    touched, raised = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    low, high = count, -1
    for node in range(count):
        if dirty[node]:
            low, high = min(low, node), max(high, node)
    up = True
    while True:
        # Near the change first: what loops, mostly loops there.
        idle, more = True, False
        raised[:] = False
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
                state.cause[frame.first[node] : frame.first[node + 1]] = _NONE
                for port in range(nodes[node, 4], nodes[node, 5]):
                    edge = ports[port, 0]
                    state.cause_in[tables.offset[edge] : tables.offset[edge + 1]] = _NONE
            what = _relax(tables, frame, state, mode, cycles, node)
            raised[node] = what > 0
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
                return True
            low, high = low - (high - low) - 4, high + (high - low) + 4
            continue
        up = not up
        before = seen[-1]
        for node in range(count):
            if raised[node] and mode[node] != _GONE and _loops(tables, frame, state, mode, touched, node, seen, before):
                for back in range(count):
                    if touched[back]:
                        _copy(tables, frame, kept, state, back)
                return False


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
    when, offered, taken, cause, cause_in = state
    period, total, latency, credits, in0, in1, out0, out1, buffer, pattern, apart = nodes[node]
    first, raised = frame.first[node], 0
    if mode[node] == _GONE:
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
                        by = _PORT if cycle == offered[at + beat] else _MEMORY if cycle == place else _BEFORE
                        cause_in[at + beat] = by
                        raised |= _TAKEN
                    before = taken[at + beat]
                before -= cycles
                if before + 1 <= taken[at]:
                    break
        clock, phase = when[first + total - 1] - cycles, 0
        beats[:] = 0
        for event in range(total):
            earliest, by = clock + gaps[pattern + phase], _BEFORE
            cycle = earliest
            for port in range(in0, in1):
                if takes[ports[port, 1] + phase]:
                    beat = offered[offset[ports[port, 0]] + beats[port - in0]]
                    if beat >= cycle:
                        cycle, by = beat, _PORT + port - in0
            if buffer >= 0:
                need = frame.needs[first + event] - 1
                turn = need // per_frame
                beat = taken[at + need - turn * per_frame] + turn * cycles + delay
                if beat >= cycle:
                    cycle, by = beat, _MEMORY
            if mode[node] == _PLAIN:
                for port in range(out0, out1):
                    if gives[ports[port, 1] + phase]:
                        edge = ports[port, 0]
                        size = offset[edge + 1] - offset[edge]
                        back = beats[in1 - in0 + port - out0] - credits
                        turn = back // size
                        beat = taken[offset[edge] + back - turn * size] + turn * cycles + 1
                        if beat >= cycle:
                            cycle, by = beat, _PORT + in1 - in0 + port - out0
            later = cycle > when[first + event]
            if later:
                when[first + event] = cycle
                cause[first + event] = by
            else:
                cycle = when[first + event]
            for port in range(in0, in1):
                if takes[ports[port, 1] + phase]:
                    beat = offset[ports[port, 0]] + beats[port - in0]
                    leaves = max(earliest, offered[beat]) if apart else cycle
                    if leaves > taken[beat]:
                        taken[beat] = leaves
                        cause_in[beat] = _PORT if leaves == offered[beat] else _BEFORE
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


@numba.njit(cache=True)
def _loops(tables, frame, state, mode, touched, node, seen, before):  # pragma: no cover - compiled
    """Whether the events that raised each other form a loop, followed back from an event of a node until one that no
    walk after number ``before`` has seen."""
    nodes, ports, offset = tables.nodes, tables.ports, tables.offset
    events = len(state.when)
    seen[-1] += 1
    event = -1
    for i in range(frame.first[node], frame.first[node + 1]):
        if state.cause[i] != _NONE:
            event = i - frame.first[node]
            break
    if event < 0:
        return False
    beat, edge = -1, -1  # of a memory's input, or one with a place, where not negative; else the event counts
    while True:
        if not touched[node]:
            return False
        in0, in1, out0, memory = nodes[node, 4], nodes[node, 5], nodes[node, 6], nodes[node, 8] >= 0
        mark = events + beat if beat >= 0 else frame.first[node] + event
        if seen[mark] == seen[-1]:
            return True
        if seen[mark] > before:
            return False
        seen[mark] = seen[-1]
        total = nodes[node, 1]
        if beat >= 0:
            by, size = state.cause_in[beat], offset[edge + 1] - offset[edge]
            if by == _NONE:
                return False
            if by == _BEFORE and memory:
                beat = offset[edge] + (beat - offset[edge] - 1) % size
                continue
            if by == _BEFORE:
                event, beat = (frame.takes_at[beat] - 1) % total, -1
                continue
            if by == _MEMORY:
                event = frame.frees[frame.own[node] + beat - offset[edge]] % total
                beat = -1
                continue
            port = in0
            at = beat - offset[edge]
        else:
            by = state.cause[frame.first[node] + event]
            if by == _NONE:
                return False
            if by == _BEFORE:
                event = (event - 1) % total
                continue
            if by == _MEMORY:
                edge = ports[in0, 0]
                size = offset[edge + 1] - offset[edge]
                beat = offset[edge] + (frame.needs[frame.first[node] + event] - 1) % size
                continue
            port = in0 + by - _PORT
            if port < in1:
                edge = ports[port, 0]
                at = np.searchsorted(frame.takes_at[offset[edge] : offset[edge + 1]], event)
            else:
                port = out0 + port - in1
                edge = ports[port, 0]
                size = offset[edge + 1] - offset[edge]
                at = np.searchsorted(frame.gives_at[offset[edge] : offset[edge + 1]], event)
                at = (at - nodes[node, 3]) % size
        if port < in1 and port >= in0:
            node = frame.writer[edge]
            while node >= 0 and mode[node] == _GONE:
                edge = ports[nodes[node, 4], 0]
                node = frame.writer[edge]
            if node < 0:
                return False
            event, beat = frame.gives_at[offset[edge] + at], -1
        else:
            node = frame.reader[edge]
            while node >= 0 and mode[node] == _GONE:
                edge = ports[nodes[node, 6], 0]
                node = frame.reader[edge]
            if node < 0:
                node = frame.writer[edge]
                event, beat = frame.gives_at[offset[edge] + at], -1
            elif nodes[node, 8] >= 0 or nodes[node, 10]:
                event, beat = -1, offset[edge] + at
            else:
                event, beat = frame.takes_at[offset[edge] + at], -1
