"""Whether a graph can take a frame every so many cycles: periodic schedules, and how FIFOs change them.

In a periodic schedule each action of a frame comes ``cycles`` after that of the frame before, so one frame is all
there is. A graph keeps the interval if, and only if, it has such a schedule: the recurrences of
``hw.timing.recurrences`` with all indices modulo the frame have a solution. ``hw.timing.raising`` finds it, from an
earlier one: as a change of one FIFO disturbs few nodes, a try is much faster than a simulation.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numba
import numpy as np

from hw.ir.buffer import advance
from hw.ir.graph import Graph, Node
from hw.ir.kernel import Schedule
from hw.kernels.fifo.kernel import Fifo
from hw.timing.raising import ENDLESS, GONE, PLAIN, SPAN, Frame, begin, settle
from hw.timing.recurrences import Tables, tables

_DEEP = 1 << 30
"""Beats of a FIFO that is never full."""


@dataclass(frozen=True, eq=False)
class _Place(Fifo):
    """The place of an input that has one of its own (see Schedule): a kernel that offers a beat on at once."""

    def schedule(self) -> Schedule:
        return replace(super().schedule(), latency=0, credits=1)


def _apart(graph: Graph) -> Graph:
    """The graph with nodes for its inputs' places, whose beats are events then; every action of their kernels takes
    from all inputs, so it frees the places for the next one."""
    nodes: list[Node] = []
    for node in graph:
        plan = node.kernel.schedule()
        if plan.input_registers:
            assert np.all(plan.consumes), f"{node.name} has places, but its actions do not all take from all inputs"
            places = tuple(f"{edge}_place" for edge in node.inputs)
            for edge, place, stream in zip(node.inputs, places, node.kernel.inputs(), strict=True):
                nodes.append(Node(place, _Place(stream, 2), (edge,), (place,)))
            node = replace(node, inputs=places)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


class Periodic:
    """Schedules of ``graph`` with a frame every ``cycles`` cycles.

    ``feasible`` tells whether there is one with FIFOs that are never full on ``edges``; the graph has one of any depth
    there, ``EDGE_fifo`` (see ``hw.passes.fifos.insert``). Depths change by ``attempt``.
    """

    def __init__(self, graph: Graph, edges: Iterable[str], cycles: int) -> None:
        self.graph, self.cycles = graph, cycles
        graph = _apart(graph)
        self._edges = {name: i for i, name in enumerate(graph.edges)}
        self._tables = tables(graph, 1)
        self._frame = _frame(self._tables)
        nodes = {node.name: i for i, node in enumerate(graph)}
        self._fifos = {edge: nodes[f"{edge}_fifo"] for edge in edges}
        self._streams = {edge: graph.nodes[node].kernel.inputs()[0] for edge, node in self._fifos.items()}
        self._mode = np.zeros(len(nodes), np.int64)
        self._mode[list(self._fifos.values())] = ENDLESS
        for edge, node in self._fifos.items():
            self._tables.nodes[node, 2] = Fifo(self._streams[edge], _DEEP).schedule().latency
        self._state = begin(len(self._frame.memory), len(nodes))
        for port in graph.inputs:  # input that comes evenly fills the FIFOs least
            takers = self._frame.taker[self._span(port.edge)]
            self._state.when[takers] = np.arange(len(takers)) * cycles // len(takers)
        self.feasible = self._settle(np.ones(len(nodes), np.bool_))

    def every(self, cycles: int) -> "Periodic":
        """Schedules of the same graph, with FIFOs on the same edges, with a frame every so many cycles."""
        return Periodic(self.graph, self._fifos, cycles)

    def _span(self, edge: str) -> slice:
        """The beats of an edge."""
        at = self._edges[edge]
        return slice(*self._tables.offset[at : at + 2])

    def _settle(self, changed: np.ndarray) -> bool:
        return bool(settle(self._tables, self._frame, self._state, self._mode, self.cycles, changed))

    def peaks(self) -> dict[str, int]:
        """The most beats that each FIFO holds in the present schedule."""
        return {edge: self._peak(edge, f"{edge}_fifo") for edge in self._fifos}

    def _peak(self, before: str, after: str) -> int:
        come, gone = (self._state.when[self._frame.taker[self._span(edge)]] for edge in (before, after))
        # A place is free again in the cycle after its beat has left.
        frames, cycle = np.divmod(come - gone[0], self.cycles)
        left = frames * len(gone) + np.searchsorted(gone, cycle + gone[0])
        return int((np.arange(1, len(come) + 1) - left).max())

    def attempt(self, depths: dict[str, int]) -> bool:
        """Give the FIFOs on these edges these depths, 0 for none, if there is a schedule then; else change nothing."""
        before = self._tables.nodes.copy(), self._mode.copy()
        changed = np.zeros(len(self._mode), np.bool_)
        for edge, depth in depths.items():
            node = self._fifos[edge]
            was = self._mode[node], self._tables.nodes[node, 2]
            self._mode[node] = PLAIN if depth else GONE
            if depth:
                plan = Fifo(self._streams[edge], depth).schedule()
                self._tables.nodes[node, 2:4] = plan.latency, plan.credits
            changed[node] = depth > 0
            self._bind(edge)
            if was != (self._mode[node], self._tables.nodes[node, 2]):
                at = self._edges[edge], self._edges[f"{edge}_fifo"]
                changed[[self._frame.writer[at[0]], self._frame.reader[at[1]]]] = True
        if self._settle(changed):
            return True
        self._tables.nodes[:], self._mode[:] = before
        for edge in depths:
            self._bind(edge)
        return False

    def _bind(self, edge: str) -> None:
        """Show the neighbours of a FIFO its events, or those beyond where it is not there."""
        node, frame = self._fifos[edge], self._frame
        before, after = self._edges[edge], self._edges[f"{edge}_fifo"]
        come, gone = self._span(edge), self._span(f"{edge}_fifo")
        there = self._mode[node] != GONE
        events = frame.first[node] + np.arange(come.stop - come.start)
        frame.writer[after] = node if there else frame.writer[before]
        frame.reader[before] = node if there else frame.reader[after]
        frame.giver[gone], frame.taker[come] = (events, events) if there else (frame.giver[come], frame.taker[gone])


def fastest(graph: Graph, edges: Iterable[str] = ()) -> Periodic:
    """The schedule with the least interval, with FIFOs that are never full on ``edges``; none of the graph's own may
    end in a deadlock.

    In the long run that is the interval of the graph, rounded up: frames come as often as the slowest loop of events
    that wait for each other lets them, and there is a schedule if, and only if, no loop is slower than that.
    """
    bound = max(node.kernel.schedule().interval for node in graph)
    low, best = bound - 1, Periodic(graph, edges, bound)
    while not best.feasible:
        low, best = best.cycles, best.every(2 * best.cycles)
    while best.cycles - low > 1:
        tried = best.every((low + best.cycles) // 2)
        low, best = (low, tried) if tried.feasible else (tried.cycles, best)
    return best


def _frame(given: Tables) -> Frame:
    """The events, each as the tables say, and none left out."""
    first, own, size = np.zeros(len(given.nodes), np.int64), np.full(len(given.nodes), -1), 0
    for node, (total, buffer) in enumerate(given.nodes[:, [1, 8]]):
        first[node], size = size, size - -total // SPAN * SPAN
        if buffer >= 0:
            own[node], size = size, size - -given.buffers[buffer, 0] // SPAN * SPAN
    beats, edges = int(given.offset[-1]), len(given.offset) - 1
    taken, given_before = (np.zeros(len(set_) + len(given.ports) + 1, np.int32) for set_ in (given.takes, given.gives))
    frame = Frame(
        first=first, own=own, node=np.zeros(size // SPAN, np.int32), writer=np.full(edges, -1),
        reader=np.full(edges, -1), giver=np.full(beats, -1, np.int32), taker=np.full(beats, -1, np.int32), taken=taken,
        given=given_before, memory=np.zeros(size, np.int32), waiter=np.full(size, -1, np.int32),
    )  # fmt: skip
    _fill(given, frame)
    return frame


@numba.njit(cache=True)
def _fill(tables, frame):  # pragma: no cover - compiled
    """Fill in all but ``first`` and ``own``."""
    nodes, ports, _, takes, gives, offset, _, buffers, _, _ = tables
    for node in range(len(nodes)):
        _, total, _, _, in0, in1, out0, out1, buffer, _, _ = nodes[node]
        first, own = frame.first[node], frame.own[node]
        frame.node[first // SPAN : (first + total - 1) // SPAN + 1] = node
        for port in range(out0, out1):
            frame.writer[ports[port, 0]] = node
            _place(tables, first, node, port, gives, frame.given, frame.giver)
        for port in range(in0, in1):
            frame.reader[ports[port, 0]] = node
            _place(tables, first, node, port, takes, frame.taken, frame.taker)
        if own >= 0:
            beats = buffers[buffer, 0]
            frame.node[own // SPAN : (own + beats - 1) // SPAN + 1] = node
            at = offset[ports[in0, 0]]
            for beat in range(beats):
                frame.taker[at + beat] = own + beat
            nest = tables.nests[buffers[buffer, 6] : buffers[buffer, 7]]
            acts, beats_in = slice(first, first + total), slice(own, own + beats)
            _remember(nest, buffers[buffer], frame.memory[acts], frame.memory[beats_in])
            _invert(frame.memory[acts], first, frame.waiter[beats_in])
            _invert(frame.memory[beats_in], own, frame.waiter[acts])
    for edge in range(len(frame.reader)):
        if frame.reader[edge] < 0:
            frame.taker[offset[edge] : offset[edge + 1]] = frame.giver[offset[edge] : offset[edge + 1]]


@numba.njit(cache=True)
def _place(tables, first, node, port, pattern, counts, events):  # pragma: no cover - compiled
    """Which event of a node, from ``first`` on, moves which beat of a port; and how many there are in its pattern
    before each."""
    period, total = tables.nodes[node, :2]
    edge, at = tables.ports[port]
    for phase in range(period):
        counts[at + port + phase + 1] = counts[at + port + phase] + pattern[at + phase]
    beat, phase = tables.offset[edge], 0
    for event in range(total):
        if pattern[at + phase]:
            events[beat] = first + event
            beat += 1
        phase = phase + 1 if phase + 1 < period else 0


@numba.njit(cache=True)
def _remember(nest, buffer, needs, frees):  # pragma: no cover - compiled
    """Which beats the events of a buffer need, and which events free the places of its beats."""
    beats, places, start, reach = buffer[:4]
    together, total, words = buffer[10], len(needs), beats * buffer[10]
    index = np.zeros(len(nest), np.int64)
    # In this frame the beats of all later ones find their places as in it.
    last = (places + abs(start)) // words + 2
    position, oldest, most = start, start, -words * last
    for event in range((last + 2) * total):
        if event < total:
            most = max(most, -(-min(position + reach, words) // together) - 1)
            needs[event] = most
        row = advance(nest, index)
        position += nest[row, 1]
        free = (oldest + places) // together
        oldest += nest[row, 2]
        for beat in range(free - last * beats, (oldest + places) // together - last * beats):
            if 0 <= beat < beats:
                frees[beat] = event - last * total


@numba.njit(cache=True)
def _invert(memory, first, waiter):  # pragma: no cover - compiled
    """For each number modulo the frame the first event, counted from ``first``, whose ``memory`` it is."""
    before = memory[-1] - len(waiter)
    for event in range(len(memory)):
        if memory[event] != before:
            before = memory[event]
            waiter[before % len(waiter)] = first + event
