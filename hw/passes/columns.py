"""Convolutions without the elements of their windows that no filter uses: sparse windows, and products of fewer inputs.

The columns of the weights that are zero are found in the integers. What is left is the same function: a
``sparse_window`` sends the other elements only, and the product has only their columns. A window with ``simd`` lanes
sends in lane l what is of channels congruent to l modulo ``simd``; lanes with fewer elements are padded with columns of
zeros. So the two kernels depend on the lanes of the window, and there is a *form* of them for each number of lanes that
saves enough.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import NamedTuple

import numpy as np

from hw.host.errors import UsageError
from hw.ir.graph import Graph, Node
from hw.ir.kernel import Folding, Kernel
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.parameters import divisors
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.sparse_window.kernel import SparseWindow

LEAST_SAVED = 1 / 8
"""Minimum share of the elements of a window that must be saved."""

Pair = tuple[SparseWindow, MatrixVector]
"""A sparse window, and the product that reads it."""


class Convolution(NamedTuple):
    """A sliding window, sparse or not, and the product that reads it: the nodes, and their kernels."""

    nodes: tuple[Node, Node]
    window: SlidingWindow
    product: MatrixVector


def convolutions(graph: Graph) -> Iterator[Convolution]:
    """The convolutions of a graph without FIFOs and width converters."""
    readers = {edge: node for node in graph for edge in node.inputs}
    for node in graph:
        reader = readers.get(node.outputs[0])
        if reader is not None and isinstance(node.kernel, SlidingWindow) and isinstance(reader.kernel, MatrixVector):
            yield Convolution((node, reader), node.kernel, reader.kernel)


def forms(window: SlidingWindow, product: MatrixVector) -> dict[int, Pair]:
    """The forms of a convolution without unused elements, by the lanes of the window; those that save too little are
    left out."""
    used = (product.weights != 0).any(axis=0)
    most = (1 - LEAST_SAVED) * window.window
    if len(window.pad_values) > 1 or np.count_nonzero(used) > most:
        return {}
    made = ((simd, _picks(used, simd)) for simd in divisors(window.channels))
    return {simd: _form(window, product, used, picks, simd) for simd, picks in made if len(picks) <= most}


def forms_by_node(graph: Graph) -> dict[str, dict[int, Kernel]]:
    """By node of a convolution with whole windows, its kernel in each form."""
    found: dict[str, dict[int, Kernel]] = {}
    for nodes, window, product in convolutions(graph):
        if type(window) is SlidingWindow and (known := forms(window, product)):
            for i, node in enumerate(nodes):
                found[node.name] = {simd: pair[i] for simd, pair in known.items()}
    return found


def _picks(used: np.ndarray, simd: int) -> np.ndarray:
    """The elements that a window of ``simd`` lanes sends, those of padding first in each lane."""
    banks = used.reshape(-1, simd)
    beats = max(1, int(banks.sum(axis=0).max()))
    order = np.argsort(banks, axis=0, kind="stable")[-beats:]  # the used elements last, in increasing order
    padding = ~np.take_along_axis(banks, order, axis=0)
    first = np.argmax(banks, axis=0)
    return np.asarray((np.where(padding, first, order) * simd + np.arange(simd)).ravel())


def _form(window: SlidingWindow, product: MatrixVector, used: np.ndarray, picks: np.ndarray, simd: int) -> Pair:
    lanes = picks.reshape(-1, simd)
    repeated = np.zeros(lanes.shape, np.bool_)
    repeated[:-1] = lanes[:-1] == lanes[1:]  # of an element that occurs repeatedly, the last has the weights
    weights = product.weights[:, picks] * ~repeated.ravel()
    shared = {each.name: getattr(window, each.name) for each in fields(SlidingWindow)}
    narrow = MatrixVector(
        weights, product.weight_dtype, product.input_dtype, product.prefix, input_range=product.input_range,
        parity=product.parity,
    )  # fmt: skip
    return SparseWindow(**shared | {"simd": simd, "pixels": 1}, picks=picks), narrow


def dense(window: SparseWindow, product: MatrixVector) -> tuple[SlidingWindow, MatrixVector]:
    """The convolution of which these are a form, with whole windows; not folded."""
    columns = np.zeros((window.window, product.mh), np.int64)
    np.add.at(columns, window.picks, product.weights.T)
    shared = {each.name: getattr(window, each.name) for each in fields(SlidingWindow)}
    whole = MatrixVector(
        np.ascontiguousarray(columns.T), product.weight_dtype, product.input_dtype, product.prefix,
        input_range=product.input_range, parity=product.parity,
    )  # fmt: skip
    return SlidingWindow(**shared | {"simd": 1}), whole


def with_whole_windows(graph: Graph) -> Graph:
    """The equivalent graph without sparse windows; the convolutions that change are not folded."""
    return graph.with_kernels(
        {
            node.name: kernel
            for nodes, window, product in convolutions(graph)
            if isinstance(window, SparseWindow)
            for node, kernel in zip(nodes, dense(window, product), strict=True)
        }
    )


def reformed(graph: Graph, table: Mapping[str, Folding]) -> Graph:
    """The graph with its convolutions in the form that the foldings of their windows name: ``sparse_window`` with these
    lanes, or ``sliding_window``. A folding without an implementation leaves the form as it is.

    Raises UsageError for a window without a sparse form of these lanes.
    """
    kernels: dict[str, Kernel] = {}
    for nodes, window, product in convolutions(graph):
        folding = table.get(nodes[0].name, Folding())
        if folding.implementation not in (SlidingWindow.op, SparseWindow.op):
            continue
        now = dense(window, product) if isinstance(window, SparseWindow) else (window, product)
        if folding.implementation == SparseWindow.op:
            known = forms(*now)
            if folding.simd not in known:
                raise UsageError(
                    f"layer {nodes[0].title}: no sparse_window with SIMD {folding.simd}; "
                    + (f"legal: {', '.join(map(str, known))}" if known else "too few of its elements are unused")
                )
            now = known[folding.simd]
        kernels |= {node.name: kernel for node, kernel in zip(nodes, now, strict=True)}
    return graph.with_kernels(kernels)
