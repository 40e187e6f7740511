"""Whether a graph can take a frame every so many cycles: periodic schedules, and how FIFOs change them.

In a periodic schedule each action of a frame comes ``cycles`` after that of the frame before, so one frame is all there
is. A graph keeps the interval if, and only if, it has such a schedule: the recurrences of ``hw.recurrences`` with all
indices modulo the frame have a solution. ``hw.raising`` finds it, from an earlier one: as a change of one FIFO disturbs
few nodes, a try is much faster than a simulation.
"""

from collections.abc import Iterable

import numba
import numpy as np

from hw.graph import Graph
from hw.kernels.buffer import advance
from hw.kernels.fifo import Fifo
from hw.raising import ENDLESS, GONE, PLAIN, Frame, State, settle
from hw.recurrences import Tables, tables

_DEEP = 1 << 30
"""Beats of a FIFO that is never full."""


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
        self._mode[list(self._fifos.values())] = ENDLESS
        for edge, node in self._fifos.items():
            self._tables.nodes[node, 2] = Fifo(self._streams[edge], _DEEP).schedule().latency
        events, beats = int(self._frame.first[-1]), int(self._tables.offset[-1])
        self._numbers = np.arange(events, dtype=np.int32)
        when = np.zeros(events + beats, np.int64)
        self._state = State(
            when, when[events:], np.zeros(beats, np.int64), np.full(len(when), -1, np.int32), np.zeros_like(when)
        )
        for port in graph.inputs:  # input that comes evenly fills the FIFOs least
            self._even(port.edge)
        when = when.copy()
        self._kept = self._state._replace(when=when, taken=when[events:], offered=self._state.offered.copy())
        self.feasible = self._settle(np.ones(len(nodes), np.bool_))

    def _span(self, edge: str) -> slice:
        """The beats of an edge."""
        at = self._edges[edge]
        return slice(*self._tables.offset[at : at + 2])

    def _even(self, edge: str) -> None:
        """Begin with the beats of an input edge taken evenly over the frame."""
        span = self._span(edge)
        beats = span.stop - span.start
        self._state.taken[span] = np.arange(beats) * self._cycles // beats
        self._state.when[self._frame.taker[span]] = self._state.taken[span]

    def _settle(self, dirty: np.ndarray) -> bool:
        return bool(settle(self._tables, self._frame, self._state, self._kept, self._mode, self._cycles, dirty))

    def peaks(self) -> dict[str, int]:
        """The most beats that each FIFO holds in the present schedule."""
        return {edge: self._peak(edge, f"{edge}_fifo") for edge in self._fifos}

    def _peak(self, before: str, after: str) -> int:
        come, gone = self._state.taken[self._span(before)], self._state.taken[self._span(after)]
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
            self._mode[node] = PLAIN if depth else GONE
            if depth:
                plan = Fifo(self._streams[edge], depth).schedule()
                self._tables.nodes[node, 2:4] = plan.latency, plan.credits
            self._bind(edge)
            dirty[node] = True
        if self._settle(dirty):
            return True
        self._tables.nodes[:], self._mode[:] = before
        for edge in depths:
            self._bind(edge)
        return False

    def _bind(self, edge: str) -> None:
        """Tell the neighbours of a FIFO whose events they see: its own, or those beyond where it is not there."""
        node, frame = self._fifos[edge], self._frame
        before, after = self._span(edge), self._span(f"{edge}_fifo")
        gone, own = self._mode[node] == GONE, slice(*frame.first[node : node + 2])
        frame.giver[after] = frame.giver[before] if gone else self._numbers[own]
        frame.taker[before] = frame.taker[after] if gone else self._numbers[own]


def _frame(given: Tables) -> Frame:
    first = np.concatenate(([0], np.cumsum(given.nodes[:, 1])))
    beats, edges = int(given.offset[-1]), len(given.offset) - 1
    own = np.full(len(given.nodes), -1)
    size = 0
    for node, buffer in enumerate(given.nodes[:, 8]):
        if buffer >= 0:
            own[node] = size
            size += given.buffers[buffer, 0]
    frame = Frame(
        first, np.repeat(np.arange(len(own), dtype=np.int32), np.diff(first)), np.full(edges, -1), np.full(edges, -1),
        np.full(beats, -1, np.int32), np.full(beats, -1, np.int32), np.zeros(first[-1], np.int64),
        np.zeros(size, np.int64), own,
    )  # fmt: skip
    _fill_frame(given, frame)
    for edge in np.flatnonzero(frame.reader < 0):  # the outside takes it at once
        at, end = given.offset[edge : edge + 2]
        frame.taker[at:end] = frame.giver[at:end]
    readers = np.repeat(frame.reader, np.diff(given.offset)).astype(np.int32)
    return frame._replace(node=np.concatenate((frame.node, readers)))


@numba.njit(cache=True)
def _fill_frame(tables, frame):  # pragma: no cover - compiled
    nodes, ports, _, takes, gives, offset, _, buffers, nests, _ = tables
    for node in range(len(nodes)):
        period, total, _, _, in0, in1, out0, out1, buffer, _ = nodes[node]
        first = frame.first[node]
        for port in range(in0, in1):
            edge, pattern = ports[port]
            frame.reader[edge] = node
            if buffer >= 0:
                for beat in range(offset[edge], offset[edge + 1]):
                    frame.taker[beat] = frame.first[-1] + beat
                continue
            beat = offset[edge]
            for event in range(total):
                if takes[pattern + event % period]:
                    frame.taker[beat] = first + event
                    beat += 1
        for port in range(out0, out1):
            edge, pattern = ports[port]
            frame.writer[edge] = node
            beat = offset[edge]
            for event in range(total):
                if gives[pattern + event % period]:
                    frame.giver[beat] = first + event
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
