"""The first look at a model's operators: those that cannot be lowered at all are named before anything that follows.

The size of a sequence, an input of another type or a missing shape is often only a sign of an operator that no kernel
computes. So all such nodes are found before types and shapes are looked at, and named together.
"""

from collections.abc import Collection, Sequence

import onnx

from hw.host.errors import BitfabricError, UsageError
from hw.lowering.domains import DOMAINS, OLD_DOMAINS, find_plugin, operator_key
from hw.lowering.gate.inference import RULES
from hw.lowering.gate.structure import check_node
from hw.lowering.refusal import lowering_error, unknown_operator

SHAPES = frozenset({("", "Shape"), ("", "Size")})
"""Operators whose results are constants, whatever their data is."""
PRODUCTS = frozenset({("", "MatMul"), ("", "Gemm")})
"""Operators that multiply two tensors, of which one has to be constant."""
TABLES = frozenset({("", "Gather"), ("", "GatherND")})
"""Operators that take elements of a table."""
SHOWN = 5
"""Nodes that are named besides the first."""


def check_operators(nodes: Sequence[onnx.NodeProto], inputs: Collection[str], functions: set[tuple[str, str]]) -> None:
    """Raise BitfabricError for the first node that cannot be lowered because of its operator; it names the others.

    ``nodes`` are those on which an output depends, in order, with their names; ``inputs`` the model's inputs;
    ``functions`` the operators that the model defines itself.
    """
    data, chosen = set(inputs), set[str]()
    refused: list[tuple[onnx.NodeProto, BitfabricError]] = []
    for node in nodes:
        reads_data = not data.isdisjoint(node.input)
        error = _unreadable(node, functions) or (_unknown(node, data - chosen) if reads_data else None)
        if _chooses(node, data, chosen):
            chosen.update(node.output)
        if error is not None:
            refused.append((node, error))
        if (reads_data and operator_key(node) not in SHAPES) or error is not None:
            data.update(filter(None, node.output))
    if not refused:
        return
    first, others = refused[0][1], [f"{node.op_type} ({node.name})" for node, _ in refused[1:]]
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    also = f"; neither can {', '.join(others[:SHOWN])}{more}" if others else ""
    raise type(first)(f"{first}{also}")


def _chooses(node: onnx.NodeProto, data: Collection[str], chosen: Collection[str]) -> bool:
    """Whether a node gives constants that data choose, as the weights of an expert (``hw.lowering.expert_sites``)."""
    table = operator_key(node) in TABLES and node.input[0] not in data
    return table or (operator_key(node) == ("", "Transpose") and node.input[0] in chosen)


def _unreadable(node: onnx.NodeProto, functions: set[tuple[str, str]]) -> BitfabricError | None:
    """The error for a node that holds a subgraph, or calls a function."""
    try:
        check_node(node, functions)
    except UsageError as error:
        return error
    return None


def _unknown(node: onnx.NodeProto, data: Collection[str]) -> BitfabricError | None:
    """The error for a node on data whose operator, or domain, is not known, or that multiplies data by data."""
    key = operator_key(node)
    if key in PRODUCTS and all(name in data for name in node.input[:2]):
        return lowering_error(
            node,
            f"both its factors ({', '.join(node.input[:2])}) are computed while running",
            "a layer has constant weights; attention has none",
        )
    if key in RULES or find_plugin(node) is not None:
        return None
    if node.domain not in DOMAINS:
        return UsageError(
            f"{node.name}: {node.op_type} is from the domain {node.domain}, which is not known here; export it in "
            f"{' or '.join(filter(None, sorted(DOMAINS - {*OLD_DOMAINS})))}, or install a package that provides a "
            f"handler for {node.domain}::{node.op_type}"
        )
    where = f" in the domain {key[0]}" if key[0] else ""
    return unknown_operator(node, f"there is no kernel for it{where}")
