"""The recurrences solved frame by frame, in memory that does not grow with the beats of a frame (in C++).

A later event depends on few of the cycles before it: on those of as many beats as an output has credits, or a buffer
places. Only those are kept, and every node proceeds as far as they allow, in turn.

Frames come at a given interval, each no earlier than its own start. Where all cycles on which later frames depend are
in a frame the same number of cycles after its start as in the frame before, the same holds for every frame after it: a
periodic schedule (``hw.timing.periodic``) of that interval is proven to exist.
"""

import ctypes
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from hw.ir.graph import Graph
from hw.native.library import array
from hw.timing.recurrences import SOLVERS, Tables, tables

FRAMES = 8
"""Most frames that are solved; a schedule repeats after a few."""

_solve = SOLVERS.function(
    "solve_frames", Tables, ctypes.c_int64, ctypes.c_int64, array(np.int64), array(np.int64), result=ctypes.c_int64
)


class Outcome(IntEnum):
    """What becomes of frames at an interval: they repeat, they had not repeated when the last one was solved, or nodes
    wait for each other. (As in frames.cpp.)"""

    REPEATS, UNDECIDED, DEADLOCK = range(3)


class Frames(NamedTuple):
    """``latency``: cycles from the first beat in to the last beat of the first frame out, both counted. ``waits``: the
    nodes that wait in a deadlock -> the edge they wait for."""

    outcome: Outcome
    latency: int
    waits: dict[str, str]


def solve_frames(graph: Graph, interval: int, limit: int = FRAMES) -> Frames:
    """Solve frames that come every ``interval`` cycles until they repeat, at most ``limit`` of them."""
    given, latency = tables(graph, 1), np.zeros(1, np.int64)
    waits = np.full(len(given.nodes), -1, np.int64)
    outcome = Outcome(_solve(given, interval, limit, latency, waits))
    names = list(graph.edges)
    waiting = {node.name: names[given.ports["edge"][p]] for node, p in zip(graph, waits, strict=True) if p >= 0}
    return Frames(outcome, int(latency[0]), waiting if outcome is Outcome.DEADLOCK else {})
