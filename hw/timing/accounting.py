"""What the nodes of a graph do with their cycles, from the cycle numbers of the beats."""

from dataclasses import dataclass

import numba
import numpy as np

from hw.ir.buffer import advance
from hw.ir.graph import Graph
from hw.timing.recurrences import tables


@dataclass(frozen=True)
class StallBreakdown:
    """A node's cycles. An action that comes later than the node itself allows has waited for what came last: for a
    beat of an input or for a credit of an output (of several in the same cycle for the first, inputs before outputs).

    ``starved``: cycles of waiting by input edge. ``blocked``: by output edge. ``busy``: all others, in which an action
    happened or, where input goes through a memory, a beat went into it or was on its way through.
    """

    busy: int
    starved: dict[str, int]
    blocked: dict[str, int]

    @property
    def cycles(self) -> int:
        """All of them."""
        return self.busy + sum(self.starved.values()) + sum(self.blocked.values())


def held(made: np.ndarray, taken: np.ndarray, cycles: int) -> np.ndarray:
    """Beats by cycle that were ``made`` in this cycle or before, and ``taken`` in it, later or never."""
    arrived = np.bincount(made, minlength=cycles)[:cycles]
    left = np.bincount(taken + 1, minlength=cycles)[:cycles]
    return np.cumsum(arrived - left)


def accounts(
    graph: Graph, frames: int, last: int, offered: dict[str, np.ndarray], taken: dict[str, np.ndarray]
) -> dict[str, StallBreakdown]:
    """The accounts of every node over the ``last`` of ``frames`` frames, from the cycles of the beats by edge."""
    offers, takes = (np.concatenate([cycles[edge] for edge in graph.edges]) for cycles in (offered, taken))
    waited, spans = _count(tables(graph, frames), offers, takes, last, frames)
    result, port = {}, 0
    for node, span in zip(graph, spans, strict=True):
        cycles = [int(n) for n in waited[port : port + len(node.inputs) + len(node.outputs)]]
        port += len(cycles)
        inputs = dict(zip(node.inputs, cycles, strict=False))
        outputs = dict(zip(node.outputs, cycles[len(node.inputs) :], strict=True))
        result[node.name] = StallBreakdown(int(span) - sum(cycles), inputs, outputs)
    return result


@numba.njit(cache=True)
def _count(tables, offered, taken, last, frames):  # pragma: no cover - compiled
    """Cycles of waiting by port, and all cycles by node, in the last frames."""
    nodes, ports, gaps, takes, gives, offset, clocks, buffers, nests, _ = tables
    waited, spans = np.zeros(len(ports), np.int64), np.zeros(len(nodes), np.int64)
    beats = np.zeros(len(ports), np.int64)
    index = np.zeros(len(nests), np.int64)
    for node in range(len(nodes)):
        period, total, _, credits, in0, in1, out0, out1, buffer, pattern, _ = nodes[node]
        clock, first, phase = clocks[node], total - total // frames * last, 0
        if buffer >= 0:
            per_frame, _, position, reach, delay, _, nest0, nest1, _, _, together = buffers[buffer]
            at, frame, written = offset[ports[in0, 0]], 0, 0
        for event in range(total):
            if event == first:
                spans[node] = -clock
            earliest = clock + gaps[pattern + phase]
            cycle, cause = earliest, -1
            for port in range(in0, in1):
                if takes[ports[port, 1] + phase]:
                    beat = offered[offset[ports[port, 0]] + beats[port]]
                    beats[port] += 1
                    if beat > cycle:
                        cycle, cause = beat, port
            if buffer >= 0:
                need = -(-min(position + reach, (frame + 1) * per_frame * together) // together)
                if need > 0 and taken[at + need - 1] + delay > cycle:
                    cycle, cause = taken[at + need - 1] + delay, in0
            for port in range(out0, out1):
                if gives[ports[port, 1] + phase]:
                    if beats[port] >= credits:
                        beat = taken[offset[ports[port, 0]] + beats[port] - credits] + 1
                        if beat > cycle:
                            cycle, cause = beat, port
                    beats[port] += 1
            if buffer >= 0:
                row = advance(nests[nest0:nest1], index[nest0:nest1])
                position += nests[nest0 + row, 1]
                frame += row == 0
            if cause >= 0 and event >= first:
                if buffer >= 0 and cause == in0:
                    # Of these cycles, those in which the memory could have taken a beat that was not there.
                    while taken[at + written] < earliest:
                        written += 1
                    beat = written
                    before = taken[at + beat - 1] if beat else -1
                    while beat < need and before < cycle - 1:
                        if taken[at + beat] == offered[at + beat]:
                            start, end = max(before + 1, earliest), min(taken[at + beat], cycle)
                            waited[in0] += max(0, end - start)
                        before = taken[at + beat]
                        beat += 1
                else:
                    waited[cause] += cycle - earliest
            clock = cycle
            phase = phase + 1 if phase + 1 < period else 0
        spans[node] += clock
    return waited, spans
