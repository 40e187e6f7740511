"""Early exits in time: the rate and the latencies of frames of which some leave, and the FIFOs that this takes.

The rest of a network behind an exit may be folded for the frames that go on alone. Frames do not go on at an even rate,
so FIFOs take up what comes at once: behind the exit the streams of frames that go on, before the merge the results of
frames that left after one that went on, for results keep the order of the frames. And layers before the exit need the
FIFOs for their own rate, at which frames come that leave.

The case that all frames go on is that of a graph without exits, and what it needs is guaranteed for all verdicts: a
frame that leaves takes away firings, and no other firing comes later without them (``docs/timing.md``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar, NamedTuple, NoReturn, Self

import numpy as np

from hw.fabric.family import Family
from hw.ir.graph import Graph, Node
from hw.ir.kernel import Folding, Kernel, Role, Schedule
from hw.ir.stream import Stream
from hw.ir.verdicts import Verdicts, branches
from hw.passes.fifos import insert_fifos, streams
from hw.timing.cycles import simulate
from hw.timing.fifo_sizing import size_fifos

LOAD = 0.8
"""The part of the time in which layers behind an exit are to be busy: frames come at random, and a layer that never
waits makes them wait ever longer."""
FRAMES = 256
"""Frames that a mean is taken over where none are given."""
MOST_BEATS = 1 << 23
"""Beats of all edges that are simulated at most, or four frames."""
HELD = (0, 1, 2, 4, 8, 16, 32)
"""Frames whose results the FIFOs before a merge are tried to hold."""
BEHIND = 2
"""Frames that a FIFO behind an exit holds at most: those that come while another one is processed."""
NEAR = 1.01
"""A mean interval that is this close to the least counts as it."""


class Pace(NamedTuple):
    """What frames took. ``interval``: the mean of cycles between their ends. ``mean``, ``median``, ``high`` (of 99 % of
    the frames) and ``worst``: cycles from a frame's first beat in to its last beat out, both counted, where the next
    frame is always there."""

    frames: int
    interval: float
    mean: float
    median: int
    high: int
    worst: int


def provided(going_on: float) -> float:
    """The share of frames that layers behind an exit are folded for, where a share ``going_on`` goes on."""
    return min(1.0, going_on / LOAD)


def drawn(graph: Graph, frames: int, going_on: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Random verdicts of frames of which the share ``going_on``, rounded up to whole frames, goes on at each exit.

    Which frames leave at one exit does not depend on the others.
    """
    rng, by_edge = np.random.default_rng(seed), dict[str, np.ndarray]()
    leaves = np.arange(frames) >= ceil(going_on * frames)
    sources = _sources(graph)
    for node in graph:
        if node.kernel.verdict is not None:
            by_edge.setdefault(sources[node.inputs[node.kernel.verdict]], rng.permutation(leaves))
    return {
        node.name: by_edge[sources[node.inputs[node.kernel.verdict]]]
        for node in graph
        if node.kernel.verdict is not None
    }


def _sources(graph: Graph) -> dict[str, str]:
    """By edge, the edge whose integers it has, behind forks, FIFOs and width converters."""
    result = {port.edge: port.edge for port in graph.inputs}
    for node in graph:
        passes = node.kernel.role == "plumbing" or node.kernel.op == "fork"
        result |= {edge: result[node.inputs[0]] if passes else edge for edge in node.outputs}
    return result


def affordable(graph: Graph, frames: int = FRAMES) -> int:
    """The number of frames that are simulated, of so many."""
    beats = sum(stream.beats for stream in graph.edges.values())
    return min(frames, max(4, MOST_BEATS // beats))


def pace(graph: Graph, verdicts: Verdicts) -> Pace:
    """The pace of frames with these verdicts, in hardware with its FIFOs."""
    count = len(next(iter(verdicts.values())))
    trace = simulate(graph, count, verdicts=verdicts)
    latencies = np.sort(trace.latencies)
    return Pace(
        frames=count,
        interval=trace.mean_interval,
        mean=float(latencies.mean()),
        median=int(latencies[count // 2]),
        high=int(latencies[-1 - count // 100]),
        worst=int(latencies[-1]),
    )


@dataclass(frozen=True, eq=False)
class _Leaving(Kernel):
    """A kernel with a verdict where every frame leaves: a behaviour in time, without the other frames' streams."""

    op: ClassVar[str] = "leaving"
    role: ClassVar[Role] = "plumbing"

    kernel: Kernel

    def inputs(self) -> tuple[Stream, ...]:
        return self._carrying(self.kernel.inputs(), 0)

    def outputs(self) -> tuple[Stream, ...]:
        return self._carrying(self.kernel.outputs(), 1)

    def _carrying(self, streams: tuple[Stream, ...], side: int) -> tuple[Stream, ...]:
        there = self.kernel.carried(np.ones(1, bool))[side]
        return tuple(stream for stream, frames in zip(streams, there, strict=True) if frames[0])

    def schedule(self) -> Schedule:
        whole, (ins, outs) = self.kernel.schedule_of(np.ones(1, bool)), self.kernel.carried(np.ones(1, bool))
        consumes = tuple(mask for mask, frames in zip(whole.consumes, ins, strict=True) if frames[0])
        produces = tuple(mask for mask, frames in zip(whole.produces, outs, strict=True) if frames[0])
        return replace(whole, consumes=consumes, produces=produces)

    def foldings(self) -> tuple[Folding, ...]:
        return (self.folding,)

    def fold(self, folding: Folding) -> Self:
        return self

    def execute(self, *frames: np.ndarray) -> NoReturn:
        raise TypeError("a part of a schedule has no values")

    def resources(self, family: Family) -> NoReturn:
        raise TypeError("a part of a schedule has no cost")

    def rtl(self, family: Family) -> NoReturn:
        raise TypeError("a part of a schedule has no hardware")


def _without_rest(graph: Graph, verdict: str, sources: Mapping[str, str]) -> Graph:
    """The graph where every frame leaves at the exit of a ``verdict``: without what lies behind it."""
    nodes: list[Node] = []
    missing: set[str] = set()
    for node in graph:
        leaves = node.kernel.verdict is not None and sources[node.inputs[node.kernel.verdict]] == verdict
        if not leaves and not missing.isdisjoint(node.inputs):
            missing.update(node.outputs)
        elif not leaves:
            nodes.append(node)
        else:
            ins, outs = node.kernel.carried(np.ones(1, bool))
            inputs = tuple(edge for edge, frames in zip(node.inputs, ins, strict=True) if frames[0])
            outputs = tuple(edge for edge, frames in zip(node.outputs, outs, strict=True) if frames[0])
            missing.update(set(node.outputs) - set(outputs))
            nodes.append(replace(node, kernel=_Leaving(node.kernel), inputs=inputs, outputs=outputs))
    return replace(graph, nodes=tuple(nodes))


def _for_leaving(graph: Graph, depths: Mapping[str, int]) -> dict[str, int]:
    """The depths, and where frames that all leave at an exit need more to keep their own rate, those."""
    result, sources = dict(depths), _sources(graph)
    verdicts = {sources[node.inputs[node.kernel.verdict]] for node in graph if node.kernel.verdict is not None}
    for verdict in sorted(verdicts):
        for edge, depth in size_fifos(_without_rest(graph, verdict, sources)).items():
            result[edge] = max(result.get(edge, 0), depth)
    return result


def with_queues(graph: Graph, depths: Mapping[str, int], going_on: float) -> dict[str, int]:
    """FIFO depths with which frames keep the mean rate that long FIFOs give them, if the share ``going_on`` goes on.

    ``graph`` has no FIFOs; ``depths`` (edge -> beats) are those that it needs where all frames go on, and the result is
    nowhere less.
    """
    if not branches(graph) or going_on >= 1:
        return dict(depths)
    verdicts, depths = drawn(graph, affordable(graph), going_on), _for_leaving(graph, depths)

    def held(frames: int) -> dict[str, int]:
        return {**depths, **{edge: each for edge, each in _held(graph, depths, frames).items() if each}}

    found = [(frames, pace(insert_fifos(graph, held(frames)), verdicts).interval) for frames in HELD]
    least = min(interval for _, interval in found)
    return held(next(frames for frames, interval in found if interval <= NEAR * least))


def _held(graph: Graph, depths: Mapping[str, int], frames: int) -> dict[str, int]:
    """The depths of the FIFOs of exits and merges that hold so many frames besides what they need anyway."""
    inner, result = streams(graph), dict[str, int]()
    for node in graph:
        if node.kernel.verdict is None:
            continue
        ports = [*zip(node.inputs, node.kernel.inputs(), strict=True)]
        ahead = dict(ports[:2]) if node.kernel.op == "merge" else {}
        behind = dict(zip(node.outputs, node.kernel.outputs(), strict=True)) if node.kernel.op == "exit" else {}
        for edges, count in ((ahead, frames), (behind, min(frames, BEHIND))):
            for edge, stream in edges.items():
                if edge in inner:
                    wanted = depths.get(edge, 0) + count * stream.beats
                    result[edge] = max(2, wanted) if wanted else 0
    return result
