"""Chains of lookup layers as one pipeline each, and the chains again.

A chain of kernels that take whole positions (encoder, layers of tables, popcount, arg-max) becomes one
``lookup_network``, which has one output buffer instead of one behind every layer (docs/adr/0009). It knows the nodes
that it was made from, so that ``unfused`` restores the graph with all its names.
"""

from collections.abc import Iterator

from hw.ir.graph import Graph, Node
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_network.chain import Layer, LookupChain, suits
from hw.kernels.lookup_network.kernel import LookupNetwork


def fused(graph: Graph) -> Graph:
    """The graph with a ``lookup_network`` for each chain that has a lookup layer; its node has the name of the first
    one of the chain. The same object where there is no such chain."""
    made = list(_nodes(graph))
    return Graph(tuple(made), graph.inputs, graph.outputs) if len(made) < len(graph.nodes) else graph


def unfused(graph: Graph) -> Graph:
    """The graph with the nodes that each ``lookup_network``, folded or not, was made from; the same object where there
    is none."""
    if not any(isinstance(node.kernel, LookupChain) for node in graph):
        return graph
    nodes: list[Node] = []
    for node in graph:
        if not isinstance(node.kernel, LookupChain):
            nodes.append(node)
            continue
        if len(node.kernel.layers) == 1:  # the folded form of one layer, which is this node
            nodes.append(Node(node.name, node.kernel.kernels[0], node.inputs, node.outputs, node.origin))
            continue
        edge = node.inputs[0]
        for layer in node.kernel.layers:
            last = layer is node.kernel.layers[-1]
            output = node.outputs[0] if last else layer.output
            nodes.append(Node(layer.name, layer.kernel, (edge,), (output,), layer.origin))
            edge = output
    return Graph(tuple(nodes), graph.inputs, graph.outputs)


def _nodes(graph: Graph) -> Iterator[Node]:
    """The nodes, those of a chain joined."""
    readers = {edge: node for node in graph for edge in node.inputs}
    inner: set[Node] = set()
    for node in graph:
        if node in inner:
            continue
        chain = [node] if suits(None, node.kernel) else []
        while chain and (reader := readers.get(chain[-1].outputs[0])) and suits(chain[-1].kernel, reader.kernel):
            chain.append(reader)
        if len(chain) < 2 or not any(isinstance(each.kernel, LookupLayer) for each in chain):
            yield node
            continue
        inner.update(chain)
        layers = tuple(Layer(each.name, each.outputs[0], each.kernel, each.origin) for each in chain)
        yield Node(node.name, LookupNetwork(layers), node.inputs, chain[-1].outputs, node.origin)
