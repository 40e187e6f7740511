"""Insertion of FIFOs into a graph."""

from dataclasses import replace

from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo


def streams(graph: Graph) -> dict[str, Stream]:
    """The edges between two kernels: edge -> stream, with its lanes."""
    inner = {edge: s for n in graph for edge, s in zip(n.outputs, n.kernel.outputs(), strict=True)}
    for port in graph.outputs:
        inner.pop(port.edge, None)
    return inner


def insert_fifos(graph: Graph, depths: dict[str, int]) -> Graph:
    """The graph with FIFOs on edges between two kernels; ``depths``: edge -> depth in beats, 0 for no FIFO.

    Raises BitfabricError for an edge that is not between two kernels.
    """
    inner = streams(graph)
    if unknown := sorted(set(depths) - set(inner)):
        raise BitfabricError(f"no edge {', '.join(unknown)} between two kernels")
    nodes = []
    for node in graph:
        inputs = []
        for edge in node.inputs:
            if depth := depths.get(edge, 0):
                name = f"{edge}_fifo"
                nodes.append(Node(name, Fifo(inner[edge], depth), (edge,), (name,)))
                edge = name
            inputs.append(edge)
        nodes.append(replace(node, inputs=tuple(inputs)))
    return replace(graph, nodes=tuple(nodes))
