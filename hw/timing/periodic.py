"""Periodic schedules: whether a graph sustains a given interval between frames, and how FIFO depths affect that.

In a periodic schedule each firing of a frame comes ``interval`` cycles after the same firing of the frame before, so
one frame describes all. A graph sustains an interval if, and only if, it has such a schedule: if the recurrences of
``hw.timing.recurrences``, with all indices modulo the frame, have a solution. ``hw.timing.longest_path`` finds it from
an earlier schedule. A change of one FIFO disturbs few nodes, so a trial is much faster than a simulation.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from hw.ir.buffer import Buffer
from hw.ir.graph import Graph, Node
from hw.ir.kernel import Schedule
from hw.kernels.fifo.kernel import Fifo
from hw.timing.longest_path import BYPASSED, PRESENT, SPAN, UNBOUNDED, Events, begin, relax
from hw.timing.recurrences import Tables, event_firings, tables

_DEEP = 1 << 30
"""Depth of a FIFO that is never full."""


@dataclass(frozen=True, eq=False)
class _InputRegister(Fifo):
    """The register of an input (see Schedule) as a kernel: it offers a beat in the cycle in which it consumes it."""

    def schedule(self) -> Schedule:
        return replace(super().schedule(), latency=0, credits=1)


def _with_input_registers(graph: Graph) -> Graph:
    """The graph with input registers as nodes, so that their consumption of beats is an event.

    Every firing of a kernel with input registers consumes from all inputs, so it frees the registers for the next one.
    """
    nodes: list[Node] = []
    for node in graph:
        schedule = node.kernel.schedule()
        if schedule.input_registers:
            assert np.all(schedule.consumes), f"{node.name} has input registers, but does not always consume from all"
            registers = tuple(f"{edge}_register" for edge in node.inputs)
            for edge, register, stream in zip(node.inputs, registers, node.kernel.inputs(), strict=True):
                nodes.append(Node(register, _InputRegister(stream, 2), (edge,), (register,)))
            node = replace(node, inputs=registers)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


class PeriodicSchedule:
    """A schedule of ``graph`` with a frame every ``interval`` cycles.

    FIFOs on ``edges`` are never full at first; ``feasible`` states whether there is a schedule then. The graph has a
    FIFO of any depth on each of these edges, named ``EDGE_fifo`` (see ``hw.passes.fifos.insert_fifos``). ``attempt``
    changes the depths.
    """

    def __init__(self, graph: Graph, edges: Iterable[str], interval: int) -> None:
        self.graph, self.interval = graph, interval
        graph = _with_input_registers(graph)
        self._edges = {name: i for i, name in enumerate(graph.edges)}
        self._tables = tables(graph, 1)
        self._events = _events(graph, self._tables)
        nodes = {node.name: i for i, node in enumerate(graph)}
        self._fifos = {edge: nodes[f"{edge}_fifo"] for edge in edges}
        self._streams = {edge: graph.nodes[node].kernel.inputs()[0] for edge, node in self._fifos.items()}
        self._mode = np.full(len(nodes), PRESENT, np.int64)
        self._mode[list(self._fifos.values())] = UNBOUNDED
        for edge, node in self._fifos.items():
            self._tables.nodes["latency"][node] = Fifo(self._streams[edge], _DEEP).schedule().latency
        self._state = begin(len(self._events.requires), len(nodes))
        for port in graph.inputs:  # input at an even rate minimises the occupancy of the FIFOs
            consumers = self._events.consumer[self._span(port.edge)]
            self._state.cycle[consumers] = np.arange(len(consumers)) * interval // len(consumers)
        self.feasible = self._relax(np.ones(len(nodes), np.bool_))

    def with_interval(self, interval: int) -> "PeriodicSchedule":
        """A schedule of the same graph, with FIFOs on the same edges, with another interval."""
        return PeriodicSchedule(self.graph, self._fifos, interval)

    def _span(self, edge: str) -> slice:
        """The beats of an edge."""
        at = self._edges[edge]
        return slice(*self._tables.offset[at : at + 2])

    def _relax(self, changed: np.ndarray) -> bool:
        return relax(self._tables, self._events, self._state, self._mode, self.interval, changed)

    def cycles(self, edge: str) -> np.ndarray:
        """The cycles in which the beats of an edge are taken, ``(beats,)``."""
        return self._state.cycle[self._events.consumer[self._span(edge)]]

    def peaks(self) -> dict[str, int]:
        """The number of beats that each FIFO holds at most."""
        return {edge: self._peak(edge, f"{edge}_fifo") for edge in self._fifos}

    def _peak(self, before: str, after: str) -> int:
        arrivals, departures = self.cycles(before), self.cycles(after)
        # A place is free again in the cycle after its beat has left.
        frames, cycle = np.divmod(arrivals - departures[0], self.interval)
        left = frames * len(departures) + np.searchsorted(departures, cycle + departures[0])
        return int((np.arange(1, len(arrivals) + 1) - left).max())

    def attempt(self, depths: dict[str, int]) -> bool:
        """Set the depths of the FIFOs on these edges (0: no FIFO) if there is a schedule then; else change nothing."""
        before = self._tables.nodes.copy(), self._mode.copy()
        latency, credits = self._tables.nodes["latency"], self._tables.nodes["credits"]
        changed = np.zeros(len(self._mode), np.bool_)
        for edge, depth in depths.items():
            node = self._fifos[edge]
            was = self._mode[node], latency[node]
            self._mode[node] = PRESENT if depth else BYPASSED
            if depth:
                schedule = Fifo(self._streams[edge], depth).schedule()
                latency[node], credits[node] = schedule.latency, schedule.credits
            changed[node] = depth > 0
            self._connect(edge)
            if was != (self._mode[node], latency[node]):
                at = self._edges[edge], self._edges[f"{edge}_fifo"]
                changed[[self._events.writer[at[0]], self._events.reader[at[1]]]] = True
        if self._relax(changed):
            return True
        self._tables.nodes[:], self._mode[:] = before
        for edge in depths:
            self._connect(edge)
        return False

    def _connect(self, edge: str) -> None:
        """Connect the neighbours of a FIFO to its events, or to each other where it is bypassed."""
        node, events = self._fifos[edge], self._events
        before, after = self._edges[edge], self._edges[f"{edge}_fifo"]
        arrivals, departures = self._span(edge), self._span(f"{edge}_fifo")
        present = self._mode[node] != BYPASSED
        own = events.first[node] + np.arange(arrivals.stop - arrivals.start)
        events.writer[after] = node if present else events.writer[before]
        events.reader[before] = node if present else events.reader[after]
        events.producer[departures] = own if present else events.producer[arrivals]
        events.consumer[arrivals] = own if present else events.consumer[departures]


def slowest(graph: Graph) -> int:
    """The interval of the slowest kernel alone: a graph's interval is no shorter."""
    return max(node.kernel.schedule().interval for node in graph)


def fastest(graph: Graph, edges: Iterable[str] = ()) -> PeriodicSchedule:
    """The schedule with the minimum interval, with FIFOs that are never full on ``edges``.

    None of the graph's own FIFOs may cause a deadlock. The interval is the graph's in the long run, rounded up: the
    loop of dependences with the largest mean limits the rate, and there is a schedule if, and only if, no loop needs
    more cycles per frame than ``interval``.
    """
    bound = slowest(graph)
    low, best = bound - 1, PeriodicSchedule(graph, edges, bound)
    while not best.feasible:
        low, best = best.interval, best.with_interval(2 * best.interval)
    while best.interval - low > 1:
        tried = best.with_interval((low + best.interval) // 2)
        low, best = (low, tried) if tried.feasible else (tried.interval, best)
    return best


def _events(graph: Graph, given: Tables) -> Events:
    """The events of a frame and their dependences, every FIFO present."""
    nodes, ports, offset = given.nodes, given.ports, given.offset
    first, first_beat, size = np.zeros(len(nodes), np.int64), np.full(len(nodes), -1), 0
    for node, (total, buffer) in enumerate(nodes[["total", "buffer"]]):
        first[node], size = size, size - -total // SPAN * SPAN
        if buffer >= 0:
            first_beat[node], size = size, size - -given.buffers["beats"][buffer] // SPAN * SPAN
    edges, beats = len(offset) - 1, int(offset[-1])
    node_of_span = np.zeros(size // SPAN, np.int32)
    writer, reader = np.full(edges, -1), np.full(edges, -1)
    producer, consumer = np.full(beats, -1, np.int32), np.full(beats, -1, np.int32)
    consumed, produced = (np.zeros(len(p) + len(ports), np.int32) for p in (given.consumes, given.produces))
    requires, required_by = np.zeros(size, np.int32), np.full(size, -1, np.int32)
    for node, (row, kernel) in enumerate(zip(nodes, (each.kernel for each in graph), strict=True)):
        own = slice(first[node], first[node] + row["total"])
        node_of_span[own.start // SPAN : -(-own.stop // SPAN)] = node
        for begin_, end, ends, pattern, before, by_beat in (
            (row["outputs"], row["outputs_end"], writer, given.produces, produced, producer),
            (row["inputs"], row["inputs_end"], reader, given.consumes, consumed, consumer),
        ):
            for port in range(begin_, end):
                edge, at = ports[port]
                moves = pattern[at : at + row["events"]]
                ends[edge] = node
                before[at + port + 1 : at + port + 1 + len(moves)] = np.cumsum(moves)
                events = own.start + np.flatnonzero(np.tile(moves, row["total"] // len(moves)))
                by_beat[offset[edge] : offset[edge] + len(events)] = events
        if memory := event_firings(kernel.schedule())[1]:
            taken = slice(first_beat[node], first_beat[node] + memory.beats)
            node_of_span[taken.start // SPAN : -(-taken.stop // SPAN)] = node
            at = offset[ports["edge"][row["inputs"]]]
            consumer[at : at + memory.beats] = np.arange(taken.start, taken.stop)
            requires[own], requires[taken] = _requirements(memory)
            _invert(requires[own], own.start, required_by[taken])
            _invert(requires[taken], taken.start, required_by[own])
    for edge in np.flatnonzero(reader < 0):
        span = slice(*offset[edge : edge + 2])
        consumer[span] = producer[span]
    return Events(
        first, first_beat, node_of_span, writer, reader, producer, consumer, consumed, produced, requires, required_by
    )


def _requirements(buffer: Buffer) -> tuple[np.ndarray, np.ndarray]:
    """By firing of a frame the last beat that it or one before it needs, and by beat the firing that frees its place;
    negative in frames before."""
    position, oldest = buffer.offsets()
    needs = -(-np.minimum(position + (buffer.start + buffer.reach), buffer.frame) // buffer.words_per_beat) - 1
    # A beat finds a place after the firing before the first one whose oldest word is `behind` words after the start.
    behind = np.arange(1, buffer.beats + 1) * buffer.words_per_beat - buffer.places - buffer.start
    frame = -((oldest[-1] - behind) // buffer.frame)
    return np.maximum.accumulate(needs), frame * len(oldest) + np.searchsorted(
        oldest, behind - frame * buffer.frame
    ) - 1


def _invert(requires: np.ndarray, first: int, required_by: np.ndarray) -> None:
    """Write for each required number, modulo the frame, the first event that requires it, counted from ``first``."""
    changes = np.flatnonzero(np.diff(requires, prepend=requires[-1] - len(required_by)))
    required_by[requires[changes] % len(required_by)] = first + changes
