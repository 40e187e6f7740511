"""Application of a folding to the kernels of a graph."""

from hw.host.errors import BitfabricError, UsageError
from hw.ir.graph import Graph
from hw.ir.kernel import Folding, Kernel

FoldingTable = dict[str, Folding]
"""Layer name -> its parallelism."""


def current(graph: Graph) -> FoldingTable:
    """The folding that the graph has now, of the layers that have a choice."""
    return {node.name: node.kernel.folding for node in graph if len(node.kernel.foldings()) > 1}


def apply(graph: Graph, table: FoldingTable) -> Graph:
    """The graph with a folding. Raises BitfabricError for an unknown layer or a folding that does not divide."""
    kernels: dict[str, Kernel] = {}
    for name, folding in table.items():
        try:
            kernels[name] = graph.node(name).kernel.fold(folding)
        except BitfabricError as error:
            text = str(error)
            raise UsageError(text if name in text else f"layer {name}: {text}") from None
    return graph.with_kernels(kernels)
