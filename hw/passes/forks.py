"""Forks: a kernel that copies a stream, on every edge that several nodes read."""

from collections import Counter
from collections.abc import Iterator
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
    copies: dict[str, Iterator[str]] = {}
    first: dict[str, Stream] = {}
    for node in nodes:
        for edge, stream in zip(node.inputs, node.kernel.inputs(), strict=True):
            first.setdefault(edge, stream)

    def fork(edge: str, stream: Stream) -> list[Node]:
        if readers[edge] < 2:
            return []
        name = f"{edge}_fork"
        made = tuple(f"{name}_{i}" for i in range(readers[edge]))
        copies[edge] = iter(made)
        return [Node(name, Fork(stream.shape, stream.dtype, readers[edge]), (edge,), made)]

    def take(edge: str) -> str:
        return next(copies[edge]) if edge in copies else edge

    result: list[Node] = []
    for port in inputs:
        result += fork(port.edge, first[port.edge])
    for node in nodes:
        result.append(replace(node, inputs=tuple(take(edge) for edge in node.inputs)))
        for edge, stream in zip(node.outputs, node.kernel.outputs(), strict=True):
            result += fork(edge, stream)
    ends = {edge: take(edge) for edge in sorted(left)}
    return tuple(result), tuple(inputs), tuple(replace(port, edge=ends[port.edge]) for port in outputs)
