"""The error for a node that has no exact form in hardware."""

import onnx

from hw.host.errors import BitfabricError


def refuse(node: onnx.NodeProto, why: str, remedy: str = "put a quantizer before it") -> BitfabricError:
    """The error of a node that cannot be lowered."""
    return BitfabricError(f"{node.name}: {node.op_type} cannot be lowered: {why}; {remedy}")
