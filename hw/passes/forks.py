"""Forks: a kernel that copies a stream, on every edge that several nodes read."""

from collections import Counter
from dataclasses import replace

from hw.ir.graph import Node, Port
from hw.ir.stream import Stream
from hw.kernels.fork.kernel import Fork


def forked(
    nodes: list[Node], inputs: list[Port], outputs: tuple[Port, ...]
) -> tuple[tuple[Node, ...], tuple[Port, ...], tuple[Port, ...]]:
    """Nodes, inputs and outputs of a graph in which a fork copies every edge with several readers."""
    left = {port.edge for port in outputs}
    readers = Counter([edge for node in nodes for edge in node.inputs] + sorted(left))
    copies: dict[str, list[str]] = {}

    def fork(edge: str, stream: Stream) -> list[Node]:
        if readers[edge] < 2:
            return []
        name = f"{edge}_fork"
        copies[edge] = [f"{name}_{i}" for i in range(readers[edge])]
        return [Node(name, Fork(stream.shape, stream.dtype, readers[edge]), (edge,), tuple(copies[edge]))]

    def take(edge: str) -> str:
        return copies[edge].pop(0) if edge in copies else edge

    result: list[Node] = []
    for port in inputs:
        taken = [
            s for node in nodes for edge, s in zip(node.inputs, node.kernel.inputs(), strict=True) if edge == port.edge
        ]
        result += fork(port.edge, taken[0])
    for node in nodes:
        result.append(replace(node, inputs=tuple(take(edge) for edge in node.inputs)))
        for edge, stream in zip(node.outputs, node.kernel.outputs(), strict=True):
            result += fork(edge, stream)
    ends = {edge: take(edge) for edge in sorted(left)}
    return tuple(result), tuple(inputs), tuple(replace(port, edge=ends[port.edge]) for port in outputs)
