"""A model file as a dataflow graph, whichever of the two forms it has: QONNX, or FINN's dataflow dialect."""

import os
from dataclasses import replace

import onnx

from hw import finn_io, qonnx_file
from hw.graph import Graph, Node
from hw.kernels.fifo import Fifo
from hw.kernels.width_converter import WidthConverter
from hw.lower import lower

Source = str | os.PathLike[str] | onnx.ModelProto


def of_finn(model: Source) -> bool:
    """Whether a file holds FINN's dataflow graph. Raises BitfabricError (status 2) for one that cannot be read."""
    return finn_io.is_finn(qonnx_file.read(model))


def check(model: Source) -> None:
    """Raises BitfabricError (status 2) for a file that is missing, damaged, or of neither form."""
    if not of_finn(model):
        qonnx_file.load(model)


def graph(model: Source) -> Graph:
    """The dataflow graph: lowered from QONNX, not folded; or as FINN folded it, without FIFOs and width converters.

    Raises BitfabricError for files that cannot be read (status 2) and for what has no exact form here.
    """
    return _bare(finn_io.read(model)) if of_finn(model) else lower(model)


def _bare(graph: Graph) -> Graph:
    """The graph without what belongs to one folding only, but for a FIFO that is all there is between two ports."""
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
