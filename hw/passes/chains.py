"""Chains of kernels as one pipeline each, and the chains again.

A chain of kernels that take whole positions becomes one kernel, which has one output buffer instead of one behind every
layer (docs/adr/0009): before folding a chain of lookup layers with encoder, popcount and arg-max (``fused``), and
after it a chain of products and thresholds whose constants are logic (``joined``). The kernel knows the nodes that it
was made from, so that ``unfused`` and ``parted`` restore the graph with all its names.
"""

from collections.abc import Iterator, Sequence

from hw.ir.graph import Graph, Node
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_network.kernel import ConstantNetwork
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_network.chain import LookupChain
from hw.kernels.lookup_network.kernel import LookupNetwork
from hw.kernels.shared.chain import Layer

WORDS = 16
"""Words of a memory in lookup tables: what a buffer of fewer places takes as well."""


def fused(graph: Graph) -> Graph:
    """The graph with a ``lookup_network`` for each chain that has a lookup layer; its node has the name of the first
    one of the chain. The same object where there is no such chain."""
    made: list[Node] = []
    for chain in _chains(graph, LookupNetwork):
        if any(isinstance(node.kernel, LookupLayer) for node in chain):
            made.append(_one(chain, LookupNetwork))
        else:
            made += chain
    return _with(graph, made)


def joined(graph: Graph) -> Graph:
    """The folded graph with a ``constant_network`` for each chain that has a ``constant_matrix``; its node has the name
    of the first one of the chain. The same object where there is no such chain.

    The buffer of a long chain has many places. So it is cut where the buffers of all parts take less memory together.
    """
    made: list[Node] = []
    for chain in _chains(graph, ConstantNetwork):
        for part in _parts(chain):
            if any(isinstance(node.kernel, ConstantMatrix) for node in part):
                made.append(_one(part, ConstantNetwork))
            else:
                made += part
    return _with(graph, made)


def unfused(graph: Graph) -> Graph:
    """The graph with the nodes that each chain, folded or not, was made from; the same object where there is none."""
    return _apart(graph, (LookupChain, ConstantNetwork))


def parted(graph: Graph) -> Graph:
    """The graph with the nodes that each ``constant_network`` was made from; the same object where there is none."""
    return _apart(graph, (ConstantNetwork,))


def _apart(graph: Graph, kinds: tuple[type[LookupChain | ConstantNetwork], ...]) -> Graph:
    if not any(isinstance(node.kernel, kinds) for node in graph):
        return graph
    nodes: list[Node] = []
    for node in graph:
        if not isinstance(node.kernel, kinds):
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


def _with(graph: Graph, nodes: Sequence[Node]) -> Graph:
    return Graph(tuple(nodes), graph.inputs, graph.outputs) if len(nodes) < len(graph.nodes) else graph


def _one(chain: Sequence[Node], kind: type[LookupNetwork | ConstantNetwork]) -> Node:
    """The node of a chain; that of a single node is the node itself."""
    if len(chain) == 1:
        return chain[0]
    layers = tuple(Layer(each.name, each.outputs[0], each.kernel, each.origin) for each in chain)
    return Node(chain[0].name, kind(layers), chain[0].inputs, chain[-1].outputs, chain[0].origin)


def _chains(graph: Graph, kind: type[LookupNetwork | ConstantNetwork]) -> Iterator[list[Node]]:
    """All nodes, in chains that are as long as possible; what cannot be in one is alone."""
    readers = {edge: node for node in graph for edge in node.inputs}
    inner: set[Node] = set()
    for node in graph:
        if node in inner:
            continue
        chain = [node]
        if kind.suits(None, node.kernel):
            while (reader := readers.get(chain[-1].outputs[0])) and kind.suits(chain[-1].kernel, reader.kernel):
                chain.append(reader)
        inner.update(chain)
        yield chain


def _parts(chain: list[Node]) -> list[list[Node]]:
    """A chain of layers in logic, cut so that the buffers take the least memory, and then into the fewest parts."""
    if len(chain) == 1:
        return [chain]
    latencies = [node.kernel.schedule().latency for node in chain]
    best: list[tuple[int, int, list[list[Node]]]] = [(0, 0, [])]
    for end in range(1, len(chain) + 1):
        width = chain[end - 1].kernel.outputs()[0].width
        among = []
        for first in range(end):
            bits, count, parts = best[first]
            places = sum(latencies[first:end]) + 1
            among.append((bits + width * -(-places // WORDS), count + 1, [*parts, chain[first:end]]))
        best.append(min(among, key=lambda each: each[:2]))
    return best[-1][2]
