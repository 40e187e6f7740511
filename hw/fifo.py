"""FIFO depths: the smallest that keep the throughput of unbounded FIFOs, from the exact cycle model."""

from dataclasses import replace

from hw.errors import BitfabricError
from hw.graph import Graph, Node
from hw.kernels.fifo import Fifo
from hw.stream import Stream
from hw.timing import steady


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


def size(graph: Graph) -> dict[str, int]:
    """The depths (edge -> beats, 0 left out) with which the interval is that of unbounded FIFOs.

    Edges are shortened one after the other, each to the least depth that keeps the interval with the
    others as they are; the result is minimal in the sense that no FIFO alone can be made shorter.
    """
    bare = steady(graph).interval
    bound = max(node.kernel.schedule().actions for node in graph)
    if bare == bound:
        return {}
    depths = {edge: max(2, 2 * stream.beats) for edge, stream in _streams(graph).items()}
    best = steady(insert(graph, depths)).interval
    if bare == best:
        return {}

    def keeps(edge: str, depth: int) -> bool:
        return steady(insert(graph, depths | {edge: depth})).interval <= best

    for edge in depths:
        if keeps(edge, 0):
            depths[edge] = 0
            continue
        low, high = 2, depths[edge]
        while low < high:
            middle = (low + high) // 2
            if keeps(edge, middle):
                high = middle
            else:
                low = middle + 1
        depths[edge] = low
    return {edge: depth for edge, depth in depths.items() if depth}
