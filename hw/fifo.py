"""FIFO depths: the smallest that keep the throughput of unbounded FIFOs, from the exact cycle model."""

from dataclasses import replace
from math import inf

import numpy as np

from hw.errors import BitfabricError
from hw.graph import Graph, Node
from hw.kernels.fifo import Fifo
from hw.stream import Stream
from hw.timing import Deadlock, simulate, steady

LONGEST = 64
"""Frames of the longest simulation."""


def _streams(graph: Graph) -> dict[str, Stream]:
    """The streams between kernels, with their lanes."""
    inner = {edge: s for n in graph for edge, s in zip(n.outputs, n.kernel.outputs(), strict=True)}
    for port in graph.outputs:
        inner.pop(port.edge, None)
    return inner


def insert(graph: Graph, depths: dict[str, int]) -> Graph:
    """The graph with a FIFO of this depth on each of these edges."""
    streams = _streams(graph)
    if unknown := sorted(set(depths) - set(streams)):
        raise BitfabricError(f"no edge {', '.join(unknown)} between two kernels")
    nodes = []
    for node in graph:
        inputs = []
        for edge in node.inputs:
            if depth := depths.get(edge, 0):
                name = f"{edge}_fifo"
                nodes.append(Node(name, Fifo(streams[edge], depth), (edge,), (name,)))
                edge = name
            inputs.append(edge)
        nodes.append(replace(node, inputs=tuple(inputs)))
    return replace(graph, nodes=tuple(nodes))


def interval(graph: Graph, depths: dict[str, int]) -> float:
    """Cycles between frames with these FIFOs; infinite where they end in a deadlock."""
    try:
        return steady(insert(graph, depths)).interval
    except Deadlock:
        return inf


def _peaks(graph: Graph, depths: dict[str, int], cycles: int) -> dict[str, int]:
    """The most beats that these FIFOs hold where input comes evenly, a frame every so many ``cycles``."""
    roomy, frames, peaks = insert(graph, depths), 4, dict[str, int]()
    while True:
        before, offers = peaks, {}
        for port in graph.inputs:
            beats = graph.edges[port.edge].beats
            offers[port.edge] = np.arange(beats * frames) * cycles // beats
        taken = simulate(roomy, frames, offers).taken
        # A place is free again in the cycle after its beat has left.
        peaks = {
            edge: int((np.arange(1, len(taken[edge]) + 1) - np.searchsorted(taken[f"{edge}_fifo"], taken[edge])).max())
            for edge in depths
        }
        if peaks == before or frames >= LONGEST:
            return peaks
        frames *= 2


def size(graph: Graph) -> dict[str, int]:
    """The depths (edge -> beats, 0 left out) with which the interval is that of unbounded FIFOs, without a deadlock.

    Edges are shortened one after the other, each to the least depth that keeps the interval with the
    others as they are, until nothing changes; so no FIFO alone can be made shorter.
    """
    bare = interval(graph, {})
    bound = max(node.kernel.schedule().interval for node in graph)
    if bare == bound:
        return {}
    # As many places as the deepest branch has frames in it are as good as any number.
    edges, frames, best = _streams(graph), 2, inf
    while True:
        depths = {edge: max(2, frames * stream.beats) for edge, stream in edges.items()}
        before, best = best, interval(graph, depths)
        if best == bound or best == before < inf:
            break
        frames *= 2
    if bare == best:
        return {}
    # Input that comes as fast as it can fills every FIFO before the slowest kernel; input at the rate of that does not.
    held = {edge: max(2, peak) for edge, peak in _peaks(graph, depths, int(best)).items()}
    if interval(graph, held) <= best:
        depths = held

    def keeps(edge: str, depth: int) -> bool:
        return interval(graph, depths | {edge: depth}) <= best

    def shorten(group: list[str]) -> None:
        """Leave out what can be left out of a group, and cut the rest; most groups are not needed at all."""
        if interval(graph, depths | dict.fromkeys(group, 0)) <= best:
            depths.update(dict.fromkeys(group, 0))
        elif len(group) > 1:
            shorten(group[: len(group) // 2])
            shorten(group[len(group) // 2 :])
        else:
            # The least depth is near, so it is looked for in growing steps.
            edge, step = group[0], 1
            while depths[edge] > 2 and keeps(edge, max(2, depths[edge] - step)):
                depths[edge] = max(2, depths[edge] - step)
                step *= 2
            low = max(2, depths[edge] - step + 1)
            while low < depths[edge]:
                middle = (low + depths[edge]) // 2
                if keeps(edge, middle):
                    depths[edge] = middle
                else:
                    low = middle + 1

    shorten(sorted(depths, key=lambda edge: depths[edge]))  # the ones that hold much stay, most likely
    # A FIFO that is gone delays its branch no longer, and the other branch may need less.
    last: dict[str, int] = {}
    while last != depths:
        last = dict(depths)
        for edge in [edge for edge, depth in depths.items() if depth]:
            shorten([edge])
    return {edge: depth for edge, depth in depths.items() if depth}
