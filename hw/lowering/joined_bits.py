"""Bits of several layers side by side, as lookup layers that pass bits on.

A layer that reads the bits of the layer before and earlier ones needs those later: each layer in between has a table
for each of them that only passes it on. That costs a register, as waiting does in any case, and the layers stay a
chain.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hw.ir.graph import Node
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.lowering.context import Lowering

PASSED = np.array([[0, 1]])
"""The table of an input that is passed on."""


@dataclass(frozen=True, eq=False)
class _Path:
    """The lookup layers from an edge to another one, the first first; ``edges`` has one more."""

    edges: tuple[str, ...]
    kernels: tuple[LookupLayer, ...]


def joined_bits(context: Lowering, kind: str, edges: list[str]) -> str | None:
    """The edge of the bits of ``edges``, one after another.

    None where no lookup layers lead from one edge to all of them. Appends a layer, named by ``kind``, for each layer
    on the longest way; the layers that nothing else reads are removed at the end.
    """
    writers = {node.outputs[0]: node for node in context.nodes}
    paths = [_path(writers, edge) for edge in edges]
    start = next((edge for edge in reversed(paths[0].edges) if all(edge in path.edges for path in paths)), None)
    if start is None or all(edge == start for edge in edges):
        return None
    depths = {edge: path.edges.index(edge) - path.edges.index(start) for path in paths for edge in path.edges}
    layers = {edge: kernel for path in paths for edge, kernel in zip(path.edges[1:], path.kernels, strict=True)}
    sources = {after: before for path in paths for before, after in pairwise(path.edges)}
    levels = [edges]
    for depth in range(max(depths[edge] for edge in edges), 0, -1):
        needed = (sources[edge] if depths[edge] == depth else edge for edge in levels[-1])
        levels.append(list(dict.fromkeys(needed)))
    levels.reverse()
    sizes = {start: _size(context, writers, start)} | {edge: len(each.wires) for edge, each in layers.items()}
    [edge] = levels[0]
    for depth, (given, wanted) in enumerate(pairwise(levels), 1):
        at = dict(zip(given, np.cumsum([0, *(sizes[each] for each in given)]).tolist(), strict=False))
        parts = [
            (layers[each].wires + at[sources[each]], layers[each].tables)
            if depths[each] == depth
            else _passed(sizes[each], at[each])
            for each in wanted
        ]
        inputs = max(wires.shape[1] for wires, _ in parts)
        wires, tables = zip(*(_widened(own, contents, inputs) for own, contents in parts), strict=True)
        kernel = LookupLayer(np.concatenate(wires), np.concatenate(tables), sum(sizes[each] for each in given))
        edge = context.append(context.name(kind), kernel, edge)
    return edge


def _path(writers: dict[str, Node], edge: str) -> _Path:
    """The lookup layers that lead to an edge, each of one position."""
    edges, kernels = [edge], []
    while edge in writers and isinstance(kernel := writers[edge].kernel, LookupLayer) and not kernel.prefix:
        edge = writers[edge].inputs[0]
        edges.append(edge)
        kernels.append(kernel)
    return _Path(tuple(reversed(edges)), tuple(reversed(kernels)))


def _size(context: Lowering, writers: dict[str, Node], edge: str) -> int:
    """The elements of an edge."""
    node = writers.get(edge)
    port = next((port for port in context.inputs if port.edge == edge), None)
    assert node is not None or port is not None
    if node is not None:
        return node.kernel.outputs()[node.outputs.index(edge)].elements
    assert port is not None
    return int(np.prod(port.shape))


def _passed(count: int, start: int) -> tuple[np.ndarray, np.ndarray]:
    """The wires and tables that pass on ``count`` bits from ``start`` on."""
    return np.arange(start, start + count)[:, None], np.repeat(PASSED, count, axis=0)


def _widened(wires: np.ndarray, tables: np.ndarray, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """The same tables with more inputs, which they do not depend on."""
    more = inputs - wires.shape[1]
    return np.concatenate([wires, np.repeat(wires[:, :1], more, axis=1)], axis=1), np.tile(tables, (1, 1 << more))
