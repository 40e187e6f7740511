"""The parts of a model that are recognised as lookup layers, and how a model that has some is told from others."""

from dataclasses import dataclass

import numpy as np
import onnx

from hw.lowering.domains import ONNX_DOMAINS
from hw.lowering.linear_form import LinearForm

DOMAIN = "bitfabric.lookup"
"""The domain of the nodes that stand for recognised parts of a model; no model file has it."""
TABLE, COUNT, ENCODER = "Table", "Count", "Encoder"
"""The kinds of such nodes."""
GATHERS = frozenset({"Gather", "GatherND"})
"""Operators that take elements at given indices."""


@dataclass(frozen=True, eq=False)
class Comparisons:
    """What decides each bit of an encoder: an element of the result of one of ``nodes``, or its complement.

    For each bit (n,): ``numbers`` are those of the nodes, ``elements`` the row-major positions in their results, and
    ``inverted`` marks complements.
    """

    nodes: tuple[onnx.NodeProto, ...]
    numbers: np.ndarray
    elements: np.ndarray
    inverted: np.ndarray


@dataclass(frozen=True, eq=False)
class Site:
    """A recognised part of a model: its last ``node``, as the model has it, and ``form``.

    That is the form of the indices of a table, of the sums of a count, and of what each bit of an encoder compares, by
    its ``comparisons``.
    ``image`` says that the tables which read an encoder share their entries, as those of a convolution do.
    """

    kind: str
    node: onnx.NodeProto
    form: LinearForm
    comparisons: Comparisons | None = None
    image: bool = False


def table_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes of a graph that gather from constants at computed indices, in order."""
    constants = {each.name for each in graph.initializer}
    data = {value.name for value in graph.input} - constants
    found = []
    for node in graph.node:
        if data.isdisjoint(node.input) or node.op_type in ("Shape", "Size"):
            continue
        data.update(filter(None, node.output))
        if node.op_type in GATHERS and node.domain in ONNX_DOMAINS and node.input[0] not in data:
            found.append(node)
    return found
