"""The operator sets whose operators can be lowered, and the key of an operator in the tables of handlers."""

from typing import Any, TypeAlias

import onnx

from hw import plugins

OperatorKey: TypeAlias = tuple[str, str]
"""Domain and operator type; the domain of standard ONNX operators is the empty string."""

ONNX_DOMAINS = ("", "ai.onnx")
QONNX_DOMAIN = "qonnx.custom_op.general"
CHANNELS_LAST_DOMAIN = "qonnx.custom_op.channels_last"
"""QONNX's domain of operators on tensors (N, *spatial, C)."""
OLD_DOMAINS = ("onnx.brevitas", "finn.custom_op.general")
"""Former domains of QONNX's operators."""
ORT_DOMAIN = "com.microsoft"
"""ONNX Runtime's own operators: QuantizeLinear and DequantizeLinear with 4 and 16 bits in every opset, for example."""
DOMAINS = frozenset({*ONNX_DOMAINS, QONNX_DOMAIN, CHANNELS_LAST_DOMAIN, *OLD_DOMAINS})
"""The domains of the built-in handlers."""
QUANTIZER_OPS = ("Quant", "IntQuant", "BipolarQuant", "MultiThreshold", "Trunc")
LINEAR_OPS = ("QuantizeLinear", "DequantizeLinear")
"""The two halves of ONNX's own quantizers, between which a tensor holds integers."""

ENTRY_POINTS = "bitfabric.handlers"
"""The entry point group in which other packages provide handlers, named ``domain::OpType`` (``ai.onnx`` for ONNX's)."""


def onnx_keys(*ops: str) -> list[OperatorKey]:
    """The keys of standard ONNX operators."""
    return [("", op) for op in ops]


def qonnx_keys(*ops: str) -> list[OperatorKey]:
    """The keys of QONNX operators."""
    return [(QONNX_DOMAIN, op) for op in ops]


def linear_keys(*ops: str) -> list[OperatorKey]:
    """The keys of ONNX's own quantizers, which ONNX Runtime has in its own domain, too."""
    return [(domain, op) for op in ops for domain in ("", ORT_DOMAIN)]


def channels_last_keys(*ops: str) -> list[OperatorKey]:
    """The keys of QONNX operators with channels last."""
    return [(CHANNELS_LAST_DOMAIN, op) for op in ops]


def channel_axis(node: onnx.NodeProto, rank: int) -> int:
    """The axis of the channels of a spatial operator's tensors (N, C, *spatial), or (N, *spatial, C) in the domain of
    channels last; ``rank`` counts the batch."""
    return rank - 1 if node.domain == CHANNELS_LAST_DOMAIN else 1


def operator_key(node: onnx.NodeProto) -> OperatorKey:
    """The key of a node's operator: old names of a domain, and a quantizer in ONNX's, count as QONNX's domain."""
    if node.domain in OLD_DOMAINS or (node.domain in ONNX_DOMAINS and node.op_type in QUANTIZER_OPS):
        return QONNX_DOMAIN, node.op_type
    return "" if node.domain in ONNX_DOMAINS else node.domain, node.op_type


def find_plugin(node: onnx.NodeProto) -> Any | None:
    """The handler that an installed package provides for a node's operator; None if no package does.

    Raises BitfabricError where it cannot be imported.
    """
    domain, op = operator_key(node)
    return plugins.find(ENTRY_POINTS, f"{domain or 'ai.onnx'}::{op}")
