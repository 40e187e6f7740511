"""Lowering of ``test.domain::Negate``, and its shape and values for qonnx."""

import numpy as np
import onnx
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.base import CustomOp
from qonnx.custom_op.registry import add_op_to_domain

from hw.lowering.affine import affine_steps
from hw.lowering.context import Lowering
from hw.lowering.handlers import Handler, affine_by_channel, output_tensor, with_axis_last
from hw.lowering.layout_ops import channel_first
from hw.lowering.rounding import Interval, Product
from negate_plugin import kernel


class Negate(CustomOp):
    """``-x``, as qonnx executes it."""

    def get_nodeattr_types(self) -> dict:
        return {}

    def make_shape_compatible_op(self, model: ModelWrapper) -> onnx.NodeProto:
        return helper.make_node("Neg", self.onnx_node.input, self.onnx_node.output)

    def infer_node_datatype(self, model: ModelWrapper) -> None:
        pass

    def execute_node(self, context: dict, graph: onnx.GraphProto) -> None:
        context[self.onnx_node.output[0]] = -context[self.onnx_node.input[0]]

    def verify_node(self) -> list:
        return []


add_op_to_domain("test.domain", Negate)


def lower_negate(context: Lowering, node: onnx.NodeProto) -> None:
    """``-(slope * x + offset)`` is ``slope * y - offset`` of the kernel's integers ``y = -x``."""
    tensor = with_axis_last(context, node, context.affine_integers(node.input[0], node))
    made = kernel.Negate(tensor.shape, tensor.dtype)
    edge = context.append(context.name("negate"), made, tensor.edge)
    slope, offset = affine_by_channel(tensor)
    steps = affine_steps(len(tensor.shape), slope, -offset)

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        ((low, high),) = sources
        return -high, -low

    context.products[edge] = Product((tensor,), bounds, len(steps))
    rank = len(tensor.shape)
    layout_ops = (channel_first(rank, 0),) if rank > 1 else ()
    context.values[node.output[0]] = output_tensor(node, edge, made, (-tensor.high, -tensor.low), steps, layout_ops)


HANDLER = Handler(lower_negate)
