"""The size of a lookup network: its tables and the bits of its encoders."""

from flows.facts.network import LookupTables
from hw.ir.graph import Graph
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.thermometer.kernel import Thermometer


def lookup_tables(graph: Graph) -> LookupTables | None:
    """The tables of a graph, each counted once, whatever the number of positions; None where there are none.

    A table that only passes an input on is a register, and does not count.
    """
    layers = [node.kernel for node in graph if isinstance(node.kernel, LookupLayer)]
    encoders = [node.kernel for node in graph if isinstance(node.kernel, Thermometer)]
    if not layers:
        return None
    return LookupTables(
        tables=sum(int((~each.passes).sum()) for each in layers),
        table_bits=sum(each.table_bits for each in layers),
        encoder_bits=sum(len(each.levels) for each in encoders),
    )
