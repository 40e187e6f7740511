"""The errors for a node that has no exact form in hardware."""

import onnx

from hw.host.errors import BitfabricError


def lowering_error(node: onnx.NodeProto, why: str, remedy: str = "put a quantizer before it") -> BitfabricError:
    """An error that names the node and its operator, why it cannot be lowered, and what the user can do instead."""
    return BitfabricError(f"{node.name}: {node.op_type} cannot be lowered: {why}; {remedy}")


def unknown_operator(node: onnx.NodeProto, why: str) -> BitfabricError:
    """The error for a node whose operator, or whose use of it, belongs to no network that can be lowered."""
    return lowering_error(
        node,
        why,
        "networks are built of Conv, MatMul, Gemm, pools, Add, Concat, Resize, quantizers and element-wise functions",
    )
