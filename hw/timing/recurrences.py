"""The max-plus recurrences of a dataflow graph as tables, and their solution beat by beat (in C++).

The cycle of a firing is the maximum of a few earlier cycles, each plus a constant: a linear recurrence in the
(max, +) algebra (Baccelli, Cohen, Olsder, Quadrat, "Synchronization and Linearity", 1992). ``docs/timing.md`` derives
it from ``hw.ir.kernel.Schedule``.

Firings that neither consume nor produce a beat only let a cycle pass. They are merged into the next firing that does,
an *event*, so the time to solve is proportional to the beats and not to the cycles.
"""

import ctypes
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from hw.ir.buffer import Buffer, Loop
from hw.ir.graph import Graph
from hw.ir.kernel import Schedule
from hw.ir.verdicts import Verdicts, carried
from hw.native.library import Library, Struct, array

UNKNOWN = -1
"""The cycle of a beat that is not solved."""


def _row(*names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names])


NODE = _row(
    "events", "total", "latency", "credits", "inputs", "inputs_end", "outputs", "outputs_end", "buffer", "pattern",
    "input_registers",
)  # fmt: skip
"""A node: events of its pattern, events of all frames, latency, credits, the range of its inputs and of its outputs in
``ports``, its row in ``buffers`` or -1, the first event of its pattern in ``gaps``, whether its inputs have
registers."""
PORT = _row("edge", "pattern")
"""A port of a node: its edge, and the first element of its pattern in ``consumes`` or ``produces``."""
BUFFER = _row(
    "beats", "places", "start", "reach", "delay", "release", "loops", "loops_end", "first", "end", "words_per_beat"
)
"""A buffer (``hw.ir.buffer.Buffer``): its range in ``loops``, and the range of its beats among those of all buffers."""
LOOP = _row("turns", "position", "oldest")
"""A row of ``Buffer.nest``."""
SINK = _row("edge", "first", "cycles")
"""An edge that leaves the graph: its first element in ``ready``, and the number of cycles stated there."""


@dataclass(frozen=True, eq=False)
class Tables(Struct):
    """A graph's recurrences for a number of frames. Nodes and edges are numbered in the graph's order.

    ``gaps``: by event of a pattern the cycles from the event before it. ``consumes`` and ``produces``: by event of a
    pattern whether the port moves a beat. ``offset``: by edge the number of its first beat; one element more than
    edges. ``clock``: by node the cycle of its last event in an assumed frame before the first one.
    """

    nodes: Annotated[np.ndarray, NODE]
    ports: Annotated[np.ndarray, PORT]
    gaps: Annotated[np.ndarray, np.int64]
    consumes: Annotated[np.ndarray, np.bool_]
    produces: Annotated[np.ndarray, np.bool_]
    offset: Annotated[np.ndarray, np.int64]
    clock: Annotated[np.ndarray, np.int64]
    buffers: Annotated[np.ndarray, BUFFER]
    loops: Annotated[np.ndarray, LOOP]


def event_firings(schedule: Schedule) -> tuple[np.ndarray, Buffer | None]:
    """The firings of the pattern that are events, and the buffer, whose firings are the events.

    They are the firings that consume or produce a beat. With a buffer they are all firings; but if those of the pattern
    all read the same words, they are the first one, which waits for the words, and those that produce a beat. (The last
    one, which frees the words, produces a beat.)
    """
    moving, buffer = np.any((*schedule.consumes, *schedule.produces), axis=0), schedule.buffer
    if buffer and buffer.loops[-1] == Loop(len(moving), 0, 0) and moving[-1]:
        moving[0] = True
        buffer = replace(buffer, loops=(*buffer.loops[:-1], Loop(int(np.count_nonzero(moving)), 0, 0)))
    elif buffer:
        moving[:] = True
    return np.flatnonzero(moving), buffer


def tables(graph: Graph, frames: int, given: Verdicts | None = None) -> Tables:
    """The recurrences of ``graph`` for ``frames`` frames; without verdicts, all of them go on at every exit.

    With them (``given``) an edge has the beats of the frames that it carries, a node the firings of the frames that it
    processes, and a node with a verdict one pattern of all its firings.
    """
    there = None if given is None else carried(graph, frames, given)
    names = list(graph.edges)
    index = {name: i for i, name in enumerate(names)}
    counts = {name: frames if there is None else int(np.count_nonzero(there[name])) for name in names}
    sizes = np.array([graph.edges[name].beats * counts[name] for name in names])
    nodes: list[tuple[int, ...]] = []
    ports: list[tuple[int, int]] = []
    clock: list[int] = []
    gaps: list[np.ndarray] = []
    patterns: dict[str, list[np.ndarray]] = {"consumes": [], "produces": []}
    position = {"consumes": 0, "produces": 0, "gaps": 0}
    buffers: list[tuple[int, ...]] = []
    loops: list[tuple[int, ...]] = []
    buffered = 0
    for node in graph:
        schedule, own_frames = node.kernel.schedule(), counts[node.inputs[node.kernel.verdict or 0]]
        if given is not None and node.kernel.verdict is not None and own_frames:
            assert there is not None
            schedule = node.kernel.schedule_of(given[node.name][there[node.inputs[node.kernel.verdict]]])
            own_frames = 1
        for edge, stream in zip(node.outputs, node.kernel.outputs(), strict=True):
            sizes[index[edge]] = stream.beats * counts[edge]
        (at, memory), period = event_firings(schedule), schedule.firings // schedule.repeats
        ranges: list[int] = []
        for kind, edges, masks in (
            ("consumes", node.inputs, schedule.consumes),
            ("produces", node.outputs, schedule.produces),
        ):
            ranges += [len(ports), len(ports) + len(edges)]
            for edge, mask in zip(edges, masks, strict=True):
                ports.append((index[edge], position[kind]))
                patterns[kind].append(mask[at])
                position[kind] += len(at)
        own = -1
        if memory:
            own = len(buffers)
            buffers.append((
                *(memory.beats, memory.places, memory.start, memory.reach, memory.delay, memory.release),
                *(len(loops), len(loops) + len(memory.nest), buffered, buffered + memory.beats * own_frames),
                memory.words_per_beat,
            ))  # fmt: skip
            loops += [tuple(row) for row in memory.nest.tolist()]
            buffered += memory.beats * own_frames
        count = len(at)
        nodes.append((
            *(count, count * schedule.repeats * own_frames, schedule.latency, schedule.credits, *ranges, own),
            *(position["gaps"], int(schedule.input_registers)),
        ))  # fmt: skip
        clock.append(int(at[-1]) - period)
        gaps.append(np.diff(at, prepend=clock[-1]))
        position["gaps"] += count
    return Tables(
        np.array(nodes, NODE), np.array(ports, PORT), np.concatenate(gaps), np.concatenate(patterns["consumes"]),
        np.concatenate(patterns["produces"]), np.concatenate(([0], np.cumsum(sizes))), np.array(clock, np.int64),
        np.array(buffers, BUFFER), np.array(loops, LOOP),
    )  # fmt: skip


SOLVERS = Library(
    "hw.timing", ("recurrences.cpp", "frames.cpp", "stalls.cpp", "longest_path.cpp"), headers=("tables.hpp",)
)
"""The compiled solvers of the timing model."""
_CYCLES = array(np.int64)
_solve = SOLVERS.function(
    "solve", Tables, _CYCLES, _CYCLES, array(SINK), ctypes.c_int64, array(np.bool_), _CYCLES
)  # fmt: skip


def solve(
    given: Tables, offered: np.ndarray, taken: np.ndarray, sinks: list[tuple[int, int, int]], ready: np.ndarray
) -> np.ndarray:
    """Solve the recurrences in place; returns for each node the row of the port that it waits for in the end, or -1.

    ``offered`` and ``taken`` hold the cycle of every beat of all edges, or UNKNOWN; on entry only beats of the graph's
    inputs are offered. ``sinks``: a row (see SINK) per edge that leaves the graph. ``ready``: by cycle whether its
    reader is ready, the sinks' parts one after the other; a reader is ready in all later cycles.
    """
    waits = np.full(len(given.nodes), -1, np.int64)
    _solve(given, offered, taken, np.array(sinks, SINK), len(sinks), ready, waits)
    return waits
