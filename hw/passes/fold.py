"""Application of a folding to the kernels of a graph."""

from dataclasses import replace

from hw.host.errors import BitfabricError, UsageError
from hw.ir.graph import Graph
from hw.ir.kernel import Folding, Kernel
from hw.kernels.sparse_window.kernel import SparseWindow
from hw.passes import columns

FoldingTable = dict[str, Folding]
"""Layer name -> its parallelism."""


def current_folding(graph: Graph) -> FoldingTable:
    """The folding of all layers that have several legal foldings or implementations."""
    table = {}
    for node in graph:
        several = len(node.kernel.implementations()) > 1 or isinstance(node.kernel, SparseWindow)
        if several or len(node.kernel.foldings()) > 1:
            table[node.name] = replace(node.kernel.folding, implementation=node.kernel.op if several else "")
    return table


def apply_folding(graph: Graph, table: FoldingTable) -> Graph:
    """The graph with the folding ``table``.

    Raises BitfabricError for an unknown layer, an unknown implementation, and a folding that is not legal.
    """
    graph, kernels = columns.reformed(graph, table), dict[str, Kernel]()
    for name, folding in table.items():
        node = graph.node(name)
        try:
            kernels[name] = _implementation(node.kernel, folding.implementation).fold(folding)
        except BitfabricError as error:
            raise UsageError(f"layer {node.title}: {error}") from None
    return graph.with_kernels(kernels)


def _implementation(kernel: Kernel, op: str) -> Kernel:
    """The kernel ``op`` that computes the same function; the kernel itself where ``op`` is ""."""
    if op in ("", kernel.op):
        return kernel
    known = {each.op: each for each in kernel.implementations()}
    if op not in known:
        raise BitfabricError(f"no implementation {op}; there are {', '.join(known)}")
    return known[op]
