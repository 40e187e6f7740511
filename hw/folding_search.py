"""The cheapest folding of a graph: exact, under the resource model, for chains and for graphs that fork and join.

Every node is a variable, its values the lanes that its legal foldings take and give; it costs what its cheapest
folding with those lanes costs, and every edge what the width converters between its ends cost. The sum is
minimised by eliminating one node after the other: a table says for all values of its neighbours which of its own
is best (dynamic programming, generalised from chains to graphs). A residual block needs tables over two nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np

from hw.graph import Graph
from hw.kernels.kernel import Folding, Kernel, Resources
from hw.kernels.width_converter import WidthConverter
from hw.stream import Stream, divides
from hw.synth.family import Family

LARGEST_TABLE = 1 << 24
"""Entries of a table; where paths are so tangled that it would take more, a node is fixed to its own cheapest value."""

Variables = tuple[int, ...]
Factor = tuple[Variables, np.ndarray]
"""A cost that depends on these nodes: an array with an axis for each."""


@dataclass(frozen=True, eq=False)
class _Choices:
    """The foldings of a node: cycles a frame, cost, and the row of ``lanes`` (distinct lanes of all ports) of each."""

    foldings: tuple[Folding, ...]
    intervals: np.ndarray
    costs: np.ndarray
    group: np.ndarray
    lanes: np.ndarray

    def cheapest(self, cycles: int) -> tuple[np.ndarray, np.ndarray]:
        """For each row of ``lanes`` the least cost within ``cycles`` (inf if there is none), and whose it is."""
        costs = np.where(self.intervals <= cycles, self.costs, np.inf)
        order = np.lexsort((costs, self.group))
        first = order[np.searchsorted(self.group[order], np.arange(len(self.lanes)))]
        return costs[first], first


def share(cost: Resources, available: Resources) -> float:
    """Cost as a sum of shares of the device: what one layer takes, others cannot have."""
    parts = ((cost.lut, available.lut), (cost.ff, available.ff), (cost.bram, available.bram), (cost.dsp, available.dsp))
    return sum(used / have if have else used * 1e3 for used, have in parts)


def choices(kernel: Kernel) -> list[Kernel]:
    """The kernel in all its foldings."""
    return [kernel.fold(folding) for folding in kernel.foldings()]


def converters(stream: Stream, want: Stream) -> list[WidthConverter]:
    """What takes a stream to the lanes of ``want``, its reader's: nothing, one, or two through the least common
    multiple."""
    have, need = stream.lanes, want.lanes
    if have == need:
        return []
    steps = [need] if max(have, need) % min(have, need) == 0 else [int(np.lcm(have, need)), need]
    shape = want.shape if all(divides(lanes, want.shape) for lanes in (have, *steps)) else (want.elements,)
    result = []
    current = Stream(shape, stream.dtype, have)
    for lanes in steps:
        result.append(WidthConverter(current, lanes))
        current = current.with_lanes(lanes)
    return result


class Search:
    """The foldings of a graph's nodes and their costs, computed once for all rates."""

    def __init__(self, graph: Graph, family: Family, available: Resources) -> None:
        self.nodes = list(graph)
        self.choices = [_node_choices(node.kernel, family, available) for node in self.nodes]

        @cache
        def converting(have: int, want: Stream) -> float:
            steps = converters(Stream((want.elements,), want.dtype, have), want)
            return sum(share(step.resources(family), available) for step in steps)

        writers = {
            edge: (i, len(node.inputs) + port)
            for i, node in enumerate(self.nodes)
            for port, edge in enumerate(node.outputs)
        }
        self.edges: list[Factor] = []
        for reader, node in enumerate(self.nodes):
            for port, edge in enumerate(node.inputs):
                if edge in writers:
                    writer, out = writers[edge]
                    given, taken = self.choices[writer].lanes[:, out], self.choices[reader].lanes[:, port]
                    stream = node.kernel.inputs()[port]
                    wanted = [stream.with_lanes(int(lanes)) for lanes in taken]
                    table = np.array([[converting(int(have), want) for want in wanted] for have in given])
                    self.edges.append(((writer, reader), table))

    def intervals(self) -> list[int]:
        """All cycles a frame that some folding of some node has."""
        return sorted({int(value) for each in self.choices for value in each.intervals})

    def cheapest(self, cycles: int) -> dict[str, Folding]:
        """The cheapest foldings with at most ``cycles`` cycles a frame, of the nodes that have a choice.

        Every node must have a folding that is as fast.
        """
        found = [each.cheapest(cycles) for each in self.choices]
        own: list[Factor] = [((i,), costs) for i, (costs, _) in enumerate(found)]
        best = _minimise([*own, *self.edges], [len(costs) for costs, _ in found])
        picked = [each.foldings[of[value]] for each, (_, of), value in zip(self.choices, found, best, strict=True)]
        several = (len(each.foldings) > 1 for each in self.choices)
        return {n.name: f for n, f, free in zip(self.nodes, picked, several, strict=True) if free}


def _node_choices(kernel: Kernel, family: Family, available: Resources) -> _Choices:
    kernels = choices(kernel)
    lanes = np.array([[s.lanes for s in (*each.inputs(), *each.outputs())] for each in kernels])
    rows, group = np.unique(lanes, axis=0, return_inverse=True)
    return _Choices(
        kernel.foldings(),
        np.array([each.schedule().interval for each in kernels]),
        np.array([share(each.resources(family), available) for each in kernels]),
        group.ravel(),
        rows,
    )


def _minimise(factors: Sequence[Factor], sizes: Sequence[int]) -> list[int]:
    """The values (0 to ``sizes[i]`` - 1) of all variables at which the sum of the factors is least."""
    left, remaining = list(factors), set(range(len(sizes)))
    eliminated: list[tuple[int, Variables, np.ndarray]] = []
    values: dict[int, int] = {}

    def around(variable: int) -> Variables:
        """The variables that share a factor with this one."""
        return tuple(sorted({v for scope, _ in left if variable in scope for v in scope} - {variable}))

    def work(variable: int) -> int:
        return sizes[variable] * prod(sizes[v] for v in around(variable))

    while remaining:
        variable = min(remaining, key=lambda v: (work(v), v))
        scope = around(variable)
        if work(variable) > LARGEST_TABLE:
            variable = max(remaining, key=lambda v: (len(around(v)), sizes[v]))
            own = sum(table for scope, table in left if scope == (variable,))
            values[variable] = int(np.argmin(own))
            left = [_pinned(each, variable, values[variable]) for each in left]
        else:
            total = sum(_aligned(each, (*scope, variable)) for each in left if variable in each[0])
            left = [each for each in left if variable not in each[0]]
            left.append((scope, np.min(total, axis=-1)))
            eliminated.append((variable, scope, np.argmin(total, axis=-1)))
        remaining.remove(variable)
    for variable, scope, best in reversed(eliminated):
        values[variable] = int(best[tuple(values[v] for v in scope)])
    return [values[i] for i in range(len(sizes))]


def _aligned(factor: Factor, scope: Variables) -> np.ndarray:
    """A factor's table with an axis for each variable of ``scope``."""
    variables, table = factor
    order = sorted(range(len(variables)), key=lambda i: scope.index(variables[i]))
    table = np.transpose(table, order)
    sizes = iter(table.shape)
    return table.reshape([next(sizes) if variable in variables else 1 for variable in scope])


def _pinned(factor: Factor, variable: int, value: int) -> Factor:
    """A factor where a variable has one value."""
    variables, table = factor
    if variable not in variables:
        return factor
    axis = variables.index(variable)
    return tuple(v for v in variables if v != variable), table.take(value, axis)
