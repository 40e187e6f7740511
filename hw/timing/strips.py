"""Strips: a graph whose frames are a few rows of the images, with the same schedules otherwise.

The schedules of an image repeat with its rows, and so do the beats that FIFOs between them hold: a strip of a few rows
of every image, frame after frame, needs the same FIFOs as the whole images, at a fraction of the beats. That is no
proof: ``hw.timing.fifo_sizing`` solves the whole graph with the depths that a strip needs.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd
from typing import ClassVar, NoReturn, Self

import numpy as np

from hw.fabric.family import Family
from hw.ir.buffer import Buffer
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Folding, Kernel, Role, Rtl, Schedule
from hw.ir.stream import Stream

NARROWEST = 5
"""Parts of a frame in the narrowest strip."""


@dataclass(frozen=True)
class Division:
    """The division of a graph's frames into ``parts`` equal parts.

    ``rows``: names of the nodes whose firings in a frame are ``parts`` times the same. ``reducing``: of nodes that read
    from them and only consume until shortly before the end of a frame, as global pools do. All others read only from
    ``rows``, ``reducing`` and each other.
    """

    graph: Graph
    parts: int
    rows: Collection[str]
    reducing: Collection[str]

    def strip(self, share: int) -> Graph:
        """``rows`` and ``reducing``, with ``share`` parts of each frame."""
        kept = {*self.rows, *self.reducing}
        nodes = [node for node in self.graph if node.name in kept]
        return self._part([replace(node, kernel=Strip(node.kernel, share, self.parts)) for node in nodes])

    def rest(self) -> Graph | None:
        """What no strip has: the other nodes, with those that write what they read, and ``reducing``."""
        others = [node for node in self.graph if node.name not in self.rows]
        if not others:
            return None
        read = {edge for node in others if node.name not in self.reducing for edge in node.inputs}
        kept = {node.name for node in (*others, *self.graph) if node in others or read.intersection(node.outputs)}
        return self._part([node for node in self.graph if node.name in kept])

    def _part(self, nodes: list[Node]) -> Graph:
        """A graph of nodes: edges that no one of them writes are inputs, and those that no one reads are outputs."""
        written = {edge for node in nodes for edge in node.outputs}
        read = {edge for node in nodes for edge in node.inputs}

        def ports(edges: set[str]) -> tuple[Port, ...]:
            return tuple(Port(edge, edge, (), "") for edge in self.graph.edges if edge in edges)

        return Graph(tuple(nodes), ports(read - written), ports(written - read))


def divide(graph: Graph, least: int) -> Division | None:
    """The division of a graph into as many parts as its nodes allow; None if they are fewer than ``least``."""
    parts, rows, regular = 0, set(), {port.edge for port in graph.inputs}
    after: list[Node] = []
    for node in graph:
        if regular.issuperset(node.inputs):
            common = gcd(parts, _repeats(node.kernel.schedule()))
            if common >= least:
                parts = common
                rows.add(node.name)
                regular.update(node.outputs)
            else:
                after.append(node)
    reducing = {node.name for node in after if _reduces(node.kernel.schedule(), parts)}
    return Division(graph, parts, rows, reducing) if parts else None


def _row(buffer: Buffer) -> int:
    """The outermost loop of a buffer that turns and advances the read position."""
    return next((i for i, loop in enumerate(buffer.loops) if loop.turns > 1 and loop.step), 0)


def _repeats(schedule: Schedule) -> int:
    """How many times a frame's firings are the same, but for the padding of a buffer."""
    if schedule.buffer:
        return gcd(schedule.buffer.loops[_row(schedule.buffer)].turns, schedule.buffer.beats)
    return schedule.repeats


def _reduces(schedule: Schedule, parts: int) -> bool:
    """Whether all firings but those of the last parts of a frame only consume."""
    if schedule.repeats > 1 or schedule.buffer or not parts or schedule.firings % parts:
        return False
    dropped = schedule.firings // parts * (parts - NARROWEST)
    return bool(np.all([mask[:dropped] for mask in schedule.consumes])) and not np.any(
        [mask[:dropped] for mask in schedule.produces]
    )


@dataclass(frozen=True, eq=False)
class Strip(Kernel):
    """``share`` of ``parts`` equal parts of a kernel's frames: a behaviour in time, of no values and no cost."""

    op: ClassVar[str] = "strip"
    role: ClassVar[Role] = "plumbing"

    kernel: Kernel
    share: int
    parts: int

    def inputs(self) -> tuple[Stream, ...]:
        return tuple(map(self._part, self.kernel.inputs()))

    def outputs(self) -> tuple[Stream, ...]:
        whole = self.kernel.outputs()
        return whole if self._reducing else tuple(map(self._part, whole))

    def _part(self, stream: Stream) -> Stream:
        return Stream((stream.elements * self.share // self.parts,), stream.dtype, stream.lanes)

    @property
    def _reducing(self) -> bool:
        return bool(_repeats(self.kernel.schedule()) % self.parts)

    @cached_property
    def _schedule(self) -> Schedule:
        whole, buffer = self.kernel.schedule(), self.kernel.schedule().buffer
        if self._reducing:
            dropped = whole.firings // self.parts * (self.parts - self.share)
            consumes, produces = (tuple(mask[dropped:] for mask in each) for each in (whole.consumes, whole.produces))
            return replace(whole, consumes=consumes, produces=produces)
        if buffer:
            loops, row = list(buffer.loops), _row(buffer)
            loops[row] = loops[row]._replace(turns=loops[row].turns // self.parts * self.share)
            buffer = replace(buffer, beats=buffer.beats // self.parts * self.share, loops=tuple(loops))
        return replace(whole, repeats=whole.repeats // self.parts * self.share, buffer=buffer)

    def schedule(self) -> Schedule:
        return self._schedule

    def foldings(self) -> tuple[Folding, ...]:
        return (self.folding,)

    def fold(self, folding: Folding) -> Self:
        return self

    def execute(self, *frames: np.ndarray) -> NoReturn:
        raise TypeError("a strip has no values")

    def resources(self, family: Family) -> NoReturn:
        raise TypeError("a strip has no cost")

    def rtl(self, family: Family) -> Rtl:
        raise TypeError("a strip has no hardware")
