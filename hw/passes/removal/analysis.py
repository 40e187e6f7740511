"""The analysis of a graph: which channels of every edge remain, and how the others follow from them."""

import numpy as np

from hw.ir.graph import Graph
from hw.ir.kernel import Kernel
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.concat.kernel import Concat
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.fork.kernel import Fork
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.reorder.kernel import Reorder
from hw.kernels.requant.kernel import Requant
from hw.kernels.select.kernel import Select
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.table.kernel import Table
from hw.kernels.thermometer.kernel import Thermometer
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.upsample.kernel import Upsample
from hw.passes.removal.channels import Channels
from hw.passes.removal.lookups import LookupLayerRule, PopcountClassRule, ThermometerRule
from hw.passes.removal.moves import (
    AddRule,
    ConcatRule,
    ForkRule,
    PoolRule,
    SelectRule,
    SlidingWindowRule,
    UpsampleRule,
    WholeRule,
)
from hw.passes.removal.products import DepthwiseRule, MatrixVectorRule
from hw.passes.removal.quantizers import RequantRule, TableRule, ThresholdRule
from hw.passes.removal.state import Rule, State

RULES: dict[type[Kernel], Rule] = {
    AccumulatePool: PoolRule(),
    Add: AddRule(),
    ArgMax: WholeRule("input_dtype", any_offset=True),
    Concat: ConcatRule(),
    Depthwise: DepthwiseRule(),
    Fifo: WholeRule(),
    Fork: ForkRule(),
    LookupLayer: LookupLayerRule(),
    MatrixVector: MatrixVectorRule(),
    MaxPool: PoolRule(),
    PopcountClass: PopcountClassRule(),
    Reorder: WholeRule("dtype"),
    Requant: RequantRule(),
    Select: SelectRule(),
    SlidingWindow: SlidingWindowRule(),
    Table: TableRule(),
    Thermometer: ThermometerRule(),
    Threshold: ThresholdRule(),
    Upsample: UpsampleRule(),
}
"""The rules by kernel. A graph with another kernel is left as it is."""
EXACT = 1 << 53
"""Integers from which on the host's first step behind an output, in float64, does not add an offset exactly."""


def analysed(graph: Graph, granularity: int) -> State | None:
    """The state in which nothing is refused; None for a graph with a kernel that has no rule.

    Layers keep a multiple of ``granularity`` channels, or all of them.
    """
    if any(type(node.kernel) not in RULES for node in graph):
        return None
    state = State(graph, lambda kernel: RULES[type(kernel)])
    while True:
        state.changed = False
        _forward(state)
        if not state.changed:
            _keep(state)
        if not state.changed:
            _round_up(state, granularity)
        if not state.changed:
            return state


def depends_on_inputs(graph: Graph) -> bool:
    """Whether an output of a graph may depend on an input; True for a graph with a kernel that has no rule."""
    if any(type(node.kernel) not in RULES for node in graph):
        return True
    state = State(graph, lambda kernel: RULES[type(kernel)])
    _forward(state)
    constant = {edge for edge, channels in state.channels.items() if np.array_equal(channels.low, channels.high)}
    for node in graph:
        if constant.issuperset(node.inputs):
            constant.update(node.outputs)
    return not constant.issuperset(graph.output_edges)


def _forward(state: State) -> None:
    """Find the channels of every edge."""
    graph = state.graph
    for port in graph.inputs:
        dtype, size = graph.edges[port.edge].dtype, state.sizes[port.edge]
        ends = (np.full(size, int(end)) for end in (dtype.min(), dtype.max()))
        state.channels[port.edge] = Channels.independent(*ends)
    for node in graph:
        made = state.rule_of(node.kernel).forward(state, node)
        state.channels.update(zip(node.outputs, made, strict=True))
    for edge in graph.output_edges:
        channels = state.channels[edge]
        state.refuse(edge, ~channels.own)
        if max(int(np.abs(each).max()) for each in (channels.low, channels.high, channels.offset)) >= EXACT:
            state.keep_level(edge)


def _keep(state: State) -> None:
    """Find the channels that remain: those that the outputs need, and those that cannot be parted from them."""
    graph = state.graph
    state.kept = {edge: each.copy() for edge, each in state.forced.items()}
    for edge in (*graph.output_edges, *(port.edge for port in graph.inputs)):
        state.kept[edge][:] = True
    before = -1
    while (count := sum(int(each.sum()) for each in state.kept.values())) > before:
        before = count
        for node in reversed(graph.nodes):
            state.rule_of(node.kernel).need(state, node)
        for node in graph:
            state.rule_of(node.kernel).follow(state, node)


def _round_up(state: State, granularity: int) -> None:
    """Keep more channels, the first ones that would be removed, where those that remain are no multiple."""
    for edge, kept in state.kept.items():
        have, all_of_them = int(kept.sum()), len(kept)
        rounded = isinstance(state.writers[edge].kernel, MatrixVector | Depthwise) if edge in state.writers else False
        want = min(all_of_them, -(-max(have, 1) // granularity) * granularity) if rounded else max(have, 1)
        if want > have:
            more = np.zeros(all_of_them, bool)
            more[np.flatnonzero(~kept)[: want - have]] = True
            state.force(edge, more)
