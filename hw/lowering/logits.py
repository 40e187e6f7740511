"""Logits whose integers hardware compares: those of an early exit, and those of a gate."""

import onnx

from hw.kernels.merge.kernel import Merge
from hw.lowering.context import Lowering
from hw.lowering.handlers import affine_by_channel, with_axis_last
from hw.lowering.integer_tensor import IntegerTensor
from hw.lowering.refusal import lowering_error


def quantized_logits(context: Lowering, node: onnx.NodeProto, name: str, remedy: str) -> IntegerTensor:
    """The vector ``name`` as codes of one positive scale, whose order is that of the values.

    Raises BitfabricError, naming ``node``, for others; ``remedy`` says how to quantize them.
    """
    tensor = context.affine_integers(name, node)
    if len(tensor.tensor_shape) != 1:
        raise lowering_error(
            node, f"{name} has shape {tensor.tensor_shape} and is no vector of logits", "give one for each class"
        )
    tensor = with_axis_last(context, node, tensor, 0)
    merged = any(made.name == tensor.edge and isinstance(made.kernel, Merge) for made in context.nodes)
    if tensor.edge not in context.decisions and not merged:
        raise lowering_error(node, f"{name} is not quantized, so float32 rounding could change what it decides", remedy)
    slope, offset = affine_by_channel(tensor)
    if len(set(slope)) > 1 or len(set(offset)) > 1 or slope[0] <= 0:
        raise lowering_error(
            node, f"{name} has other scales for other classes", "quantize all classes with one positive scale"
        )
    return tensor
