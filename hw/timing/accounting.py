"""Breakdown of the cycles of every node: busy, starved and blocked, from the cycles of the beats."""

import ctypes
from dataclasses import dataclass

import numpy as np

from hw.ir.graph import Graph
from hw.native.library import array
from hw.timing.recurrences import SOLVERS, Tables, tables


@dataclass(frozen=True)
class StallBreakdown:
    """The cycles of a node by cause.

    A firing that is later than the node itself allows has waited for the latest of its causes: a beat of an input or a
    credit of an output. If several causes come in the same cycle, the first counts, inputs before outputs.

    ``starved``: cycles of waiting, by input edge. ``blocked``: cycles of waiting, by output edge. ``busy``: all other
    cycles, in which the node fired or, where input goes through a buffer, a beat entered it or passed through it.
    """

    busy: int
    starved: dict[str, int]
    blocked: dict[str, int]

    @property
    def cycles(self) -> int:
        """The sum of all cycles."""
        return self.busy + sum(self.starved.values()) + sum(self.blocked.values())


def occupancy(arrivals: np.ndarray, departures: np.ndarray, cycles: int) -> np.ndarray:
    """By cycle, ``(cycles,)``: beats that have arrived in this cycle or before, and depart in this cycle or later."""
    arrived = np.bincount(arrivals, minlength=cycles)[:cycles]
    left = np.bincount(departures + 1, minlength=cycles)[:cycles]
    return np.cumsum(arrived - left)


_CYCLES = array(np.int64)
_count = SOLVERS.function(
    "count_stalls", Tables, _CYCLES, _CYCLES, ctypes.c_int64, ctypes.c_int64, _CYCLES, _CYCLES
)  # fmt: skip


def stall_breakdowns(
    graph: Graph, frames: int, last: int, offered: dict[str, np.ndarray], taken: dict[str, np.ndarray]
) -> dict[str, StallBreakdown]:
    """The breakdown of every node (by name) over the ``last`` of ``frames`` frames, from the cycles of all beats.

    ``offered`` and ``taken``: by edge the cycles of its beats, ``(frames * beats,)``.
    """
    given = tables(graph, frames)
    offers, takes = (np.concatenate([cycles[edge] for edge in graph.edges]) for cycles in (offered, taken))
    waited, spans = np.zeros(len(given.ports), np.int64), np.zeros(len(given.nodes), np.int64)
    _count(given, offers, takes, last, frames, waited, spans)
    result, port = {}, 0
    for node, span in zip(graph, spans, strict=True):
        cycles = [int(n) for n in waited[port : port + len(node.inputs) + len(node.outputs)]]
        port += len(cycles)
        inputs = dict(zip(node.inputs, cycles, strict=False))
        outputs = dict(zip(node.outputs, cycles[len(node.inputs) :], strict=True))
        result[node.name] = StallBreakdown(int(span) - sum(cycles), inputs, outputs)
    return result
