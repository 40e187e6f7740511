"""The cycles of all beats of a simulated graph."""

from dataclasses import dataclass

import numpy as np

from hw.host.errors import UsageError
from hw.ir.graph import Graph
from hw.ir.verdicts import Verdicts
from hw.timing import accounting
from hw.timing.accounting import StallBreakdown
from hw.timing.recurrences import UNKNOWN, solve, tables


@dataclass(frozen=True, eq=False)
class Trace:
    """The cycles of every beat on every edge, counted from the first cycle after reset.

    ``offered[edge]``, ``(frames * beats,)``: the first cycle in which the beat is valid, provided that the beats before
    it have moved. ``taken[edge]``: the cycle in which it moves (valid and ready). ``period``: the number of frames
    after which the schedule repeats for ever at the end of the trace, usually 1; None if that is not known. An edge
    behind an early exit has only the beats of the frames that it carries.
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
        """Cycles between the ends of frames in the steady state; the mean, rounded up, if ``period`` is several frames.
        Of the last two frames if the steady state is not reached."""
        ends, frames = self._frame_ends(), self.period or 1
        return -int((ends[-1 - frames] - ends[-1]) // frames) if len(ends) > frames else self.latency

    @property
    def latencies(self) -> np.ndarray:
        """By frame, cycles from its first beat in to its last beat out, both counted."""
        starts = [self.taken[port.edge].reshape(self.frames, -1)[:, 0] for port in self.graph.inputs]
        return self._frame_ends() - np.min(starts, axis=0) + 1

    @property
    def mean_interval(self) -> float:
        """The mean of cycles between the ends of all frames of the trace, of which there are two or more."""
        ends = self._frame_ends()
        return float(ends[-1] - ends[0]) / (len(ends) - 1)

    def stall_breakdowns(self, frames: int | None = None) -> dict[str, StallBreakdown]:
        """The cycles of every node (by name) in its last ``frames`` frames, by default in one period.

        A node's frame begins after its last firing of the frame before and ends with its own last firing. In the
        steady state it has ``interval`` cycles for every node. Raises UsageError if the trace has no frame before
        those.
        """
        frames = self.period or 1 if frames is None else frames
        if not 0 < frames < self.frames:
            raise UsageError(f"accounts of {frames} frames need a longer trace than one of {self.frames}")
        return accounting.stall_breakdowns(self.graph, self.frames, frames, self.offered, self.taken)

    def occupancy(self, edge: str) -> np.ndarray:
        """The number of beats in the writer of ``edge``, by cycle, until the last cycle of the trace.

        The writer is a FIFO, or a kernel with an output buffer, of ``credits`` beats. A beat occupies a place from the
        firing that produces it to the cycle in which it is transferred, both included.
        Raises UsageError if no node writes the edge.
        """
        for node in self.graph:
            if edge in node.outputs:
                end = max(int(taken[-1]) for taken in self.taken.values()) + 1
                made = self.offered[edge] - node.kernel.schedule().latency
                return accounting.occupancy(made, self.taken[edge], end)
        raise UsageError(f"no node writes an edge {edge}")


def attempt(
    graph: Graph,
    frames: int,
    offers: dict[str, np.ndarray] | None = None,
    ready: dict[str, np.ndarray] | None = None,
    verdicts: Verdicts | None = None,
) -> tuple[Trace, dict[str, str]]:
    """As ``hw.timing.cycles.simulate``, but a deadlock is returned: the nodes that wait -> the edge they wait for."""
    given = tables(graph, frames, verdicts)
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
    waits = solve(given, offered, taken, sinks, np.concatenate(stalls))
    spans = {name: slice(offset[i], offset[i + 1]) for name, i in index.items()}
    trace = Trace(
        graph,
        frames,
        {name: offered[span] for name, span in spans.items()},
        {name: taken[span] for name, span in spans.items()},
    )
    return trace, {node.name: names[given.ports["edge"][p]] for node, p in zip(graph, waits, strict=True) if p >= 0}
