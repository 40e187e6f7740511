"""Application of a folding to the kernels of a graph."""

from dataclasses import replace

from hw.host.errors import BitfabricError, UsageError
from hw.ir.graph import Graph
from hw.ir.kernel import SETTINGS, Folding, Kernel
from hw.kernels.sparse_window.kernel import SparseWindow
from hw.passes import chains, columns

FoldingTable = dict[str, Folding]
"""Layer name -> its parallelism."""


def current_folding(graph: Graph) -> FoldingTable:
    """The folding of all layers that have several legal foldings or implementations, or settings."""
    table = {}
    for node in chains.parted(graph):
        among = [each.op for each in node.kernel.implementations()]
        several = len(among) > 1 or len(node.kernel.foldings()) > 1 or node.kernel.folding.tunable
        if several or isinstance(node.kernel, SparseWindow):
            first = node.kernel.op == among[0] and not isinstance(node.kernel, SparseWindow)
            table[node.name] = replace(node.kernel.folding, implementation="" if first else node.kernel.op)
    return table


def apply_folding(graph: Graph, table: FoldingTable) -> Graph:
    """The graph with the folding ``table``.

    Raises BitfabricError for an unknown layer, an unknown implementation, a folding that is not legal, and a setting
    that the implementation does not have.
    """
    graph, kernels = columns.reformed(graph, table), dict[str, Kernel]()
    for name, folding in table.items():
        node = graph.node(name)
        try:
            kernels[name] = implementation(node.kernel, folding.implementation).fold(folding)
            _check_settings(kernels[name], folding)
        except BitfabricError as error:
            raise UsageError(f"layer {node.title}: {error}") from None
    return graph.with_kernels(kernels)


def _check_settings(folded: Kernel, folding: Folding) -> None:
    """Raise BitfabricError for settings that a kernel would ignore."""
    for name in SETTINGS:
        if getattr(folding, name) and not getattr(folded.folding, name):
            raise BitfabricError(f"{folded.op} has no setting {name}; leave it out, or choose another implementation")


def plain(graph: Graph) -> Graph:
    """The graph with the kernels that define the functions: in place of other implementations of them, and of chains
    that are one pipeline. All streams stay the same, but for their lanes."""
    graph = chains.unfused(graph)
    return graph.with_kernels({node.name: node.kernel.plain() for node in graph})


def implementation(kernel: Kernel, op: str) -> Kernel:
    """The kernel ``op`` that computes the same function; the one that defines it where ``op`` is "". Raises
    BitfabricError where there is none."""
    known = {each.op: each for each in kernel.implementations()}
    if not op:
        return next(iter(known.values()))
    if op not in known:
        raise BitfabricError(f"no implementation {op}; there are {', '.join(known)}")
    return known[op]
