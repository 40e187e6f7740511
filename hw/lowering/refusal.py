"""The error for a node that has no exact form in hardware."""

import onnx

from hw.host.errors import BitfabricError


def lowering_error(node: onnx.NodeProto, why: str, remedy: str = "put a quantizer before it") -> BitfabricError:
    """An error that names the node and its operator, why it cannot be lowered, and what the user can do instead."""
    return BitfabricError(f"{node.name}: {node.op_type} cannot be lowered: {why}; {remedy}")
