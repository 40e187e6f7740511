"""Removal of width converters and FIFOs, which belong to one folding."""

from dataclasses import replace

from hw.ir.graph import Graph, Node
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.width_converter.kernel import WidthConverter


def strip(graph: Graph) -> Graph:
    """The graph without width converters and FIFOs, except a FIFO that is the only node between two ports."""
    sources: dict[str, str] = {}
    nodes: list[Node] = []
    ports = {port.edge for port in graph.inputs}
    ends = {port.edge for port in graph.outputs}
    for node in graph:
        node = replace(node, inputs=tuple(sources.get(edge, edge) for edge in node.inputs))
        if isinstance(node.kernel, Fifo | WidthConverter) and not (node.inputs[0] in ports and node.outputs[0] in ends):
            sources[node.outputs[0]] = node.inputs[0]
        else:
            nodes.append(node)
    outputs = tuple(replace(port, edge=sources.get(port.edge, port.edge)) for port in graph.outputs)
    return Graph(tuple(nodes), graph.inputs, outputs)
