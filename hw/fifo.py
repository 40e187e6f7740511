"""FIFO depths: the smallest that keep the throughput of unbounded FIFOs, from the exact cycle model."""

from dataclasses import replace
from math import inf

from hw.errors import BitfabricError
from hw.graph import Graph, Node
from hw.kernels.fifo import Fifo
from hw.stream import Stream
from hw.timing import Deadlock, steady


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

    def shorten(group: list[str]) -> None:
        """Leave out what can be left out of a group, and cut the rest; most groups are not needed at all."""
        if interval(graph, depths | dict.fromkeys(group, 0)) <= best:
            depths.update(dict.fromkeys(group, 0))
        elif len(group) > 1:
            shorten(group[: len(group) // 2])
            shorten(group[len(group) // 2 :])
        else:
            low, high = 2, depths[group[0]]
            while low < high:
                middle = (low + high) // 2
                if interval(graph, depths | {group[0]: middle}) <= best:
                    high = middle
                else:
                    low = middle + 1
            depths[group[0]] = low

    shorten(list(edges))
    # A FIFO that is gone delays its branch no longer, and the other branch may need less.
    last: dict[str, int] = {}
    while last != depths:
        last = dict(depths)
        for edge in [edge for edge, depth in depths.items() if depth]:
            shorten([edge])
    return {edge: depth for edge, depth in depths.items() if depth}
