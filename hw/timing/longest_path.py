"""Periodic schedules as longest paths, found incrementally from an earlier schedule (Bellman-Ford, in C++).

The events of one frame are the vertices of a graph. Event b depends on event a with a constant d, perhaps over some
frames k: ``cycle[b] >= cycle[a] + d - k * interval``. The least cycles that satisfy all dependences, and are nowhere
less than given ones, are longest paths. They exist if, and only if, no loop of dependences has a positive sum; the
longest paths of Bellman and Ford find them by raising the cycle of an event until every dependence holds.

The method is incremental: only events whose dependences have changed, or whose causes have been raised, are examined
again. Events are examined in spans of SPAN, node by node, in sweeps up and down the graph.

A raised event stores the event that raised it, its *parent*, and the difference of their cycles at that time. At
intervals the parents are followed. If a parent has become later since, its descendants are raised at once, however long
the path is. If the parents form a loop, the loop has a positive sum, and there is no schedule: when the last parent of
the loop was recorded, the child's cycle was less than the sum of the differences around the loop. This is the
detection of negative cycles in the parent graph (Cherkassky, Goldberg, "Negative-cycle detection algorithms", 1999).
Without it, the iteration would follow a loop that shifts by a few beats per turn through the entire frame.
"""

import ctypes
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from hw.native.library import Struct, array
from hw.timing.recurrences import SOLVERS, Tables

PRESENT, BYPASSED, UNBOUNDED = range(3)
"""Modes of a node: a kernel with its own schedule; a bypassed FIFO; a FIFO that is never full."""
SPAN = 32
"""Events that are examined together. The events of a node begin at a multiple of it. (As in longest_path.cpp.)"""


@dataclass(frozen=True, eq=False)
class Events(Struct):
    """The events of one frame and their dependences. Nodes, edges, ports and beats are numbered as in ``Tables``.

    Beats that a buffer takes on its own are events as well.

    - ``first``: by node its first event; ``first_beat``: by node the first event that is a beat of its buffer, or -1.
    - ``node``: by span of events the node.
    - ``writer``, ``reader``: by edge the node, or -1. ``producer``, ``consumer``: by beat the event that produces it
      and the event that takes it. The consumer of a beat that leaves the graph is its producer. All four pass over
      FIFOs that are bypassed.
    - ``consumed``, ``produced``: by element of ``Tables.consumes`` and ``produces`` the beats before it in its
      pattern; each pattern has one element more, the beats of the whole pattern.
    - ``requires``: for an event of a node with a buffer the last beat that it, or one before it, needs; for a beat the
      event that frees its place. Negative in frames before. ``required_by``: the first event that requires it, or -1.
    """

    first: Annotated[np.ndarray, np.int64]
    first_beat: Annotated[np.ndarray, np.int64]
    node: Annotated[np.ndarray, np.int32]
    writer: Annotated[np.ndarray, np.int64]
    reader: Annotated[np.ndarray, np.int64]
    producer: Annotated[np.ndarray, np.int32]
    consumer: Annotated[np.ndarray, np.int32]
    consumed: Annotated[np.ndarray, np.int32]
    produced: Annotated[np.ndarray, np.int32]
    requires: Annotated[np.ndarray, np.int32]
    required_by: Annotated[np.ndarray, np.int32]


@dataclass(frozen=True, eq=False)
class State(Struct):
    """A schedule, ``cycle`` by event, and the working state of ``relax``.

    By event: ``parent`` (-1 where not raised), ``delay`` (cycles after the parent), ``previous`` (cycle before it was
    raised), ``pending`` (raised, and its dependents are not marked yet), ``visited`` and ``path`` (to follow parents).
    ``raised``: the events that are raised, in order. ``dirty``: by span whether its events must be examined.
    ``awake``: by node whether one of its spans is dirty.
    """

    cycle: Annotated[np.ndarray, np.int64]
    parent: Annotated[np.ndarray, np.int32]
    delay: Annotated[np.ndarray, np.int64]
    raised: Annotated[np.ndarray, np.int32]
    previous: Annotated[np.ndarray, np.int64]
    dirty: Annotated[np.ndarray, np.bool_]
    pending: Annotated[np.ndarray, np.bool_]
    awake: Annotated[np.ndarray, np.bool_]
    visited: Annotated[np.ndarray, np.int32]
    path: Annotated[np.ndarray, np.int32]


def begin(events: int, nodes: int) -> State:
    """All events in cycle 0."""

    def zeros(dtype: type, size: int = events) -> np.ndarray:
        return np.zeros(size, dtype)

    return State(
        cycle=zeros(np.int64), parent=np.full(events, -1, np.int32), delay=zeros(np.int64), raised=zeros(np.int32),
        previous=zeros(np.int64), dirty=zeros(np.bool_, events // SPAN), pending=zeros(np.bool_),
        awake=zeros(np.bool_, nodes), visited=zeros(np.int32), path=zeros(np.int32),
    )  # fmt: skip


_relax = SOLVERS.function(
    "relax", Tables, Events, State, array(np.int64), ctypes.c_int64, array(np.bool_), result=ctypes.c_bool
)


def relax(tables: Tables, events: Events, state: State, mode: np.ndarray, interval: int, changed: np.ndarray) -> bool:
    """Raise events of ``state`` until every dependence holds; whether there is such a schedule.

    ``mode``: by node (PRESENT, ...). ``changed``: by node whether its dependences have changed. The result is the
    least schedule that is nowhere earlier than the one before. Where there is none, the state is left as it was.
    """
    return _relax(tables, events, state, mode, interval, changed)
