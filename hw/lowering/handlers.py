"""The definition of handlers of operators, and functions that several handlers share.

A handler turns one node of the model into kernels. ``hw.lowering.lower`` puts the tables of all handlers together;
other packages add handlers through the entry point group ``bitfabric.handlers``: an entry point named
``domain::OpType`` is a ``Handler``, or a callable of the context and the node. So that qonnx can infer the shapes of
such an operator and compute the reference, the package also defines a ``qonnx.custom_op.base.CustomOp`` for it: in a
module named as the domain, or registered with ``qonnx.custom_op.registry.add_op_to_domain`` where the handler's
module is imported, which happens before shapes are inferred.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import onnx

from hw.ir.kernel import Kernel
from hw.lowering.context import Lowering
from hw.lowering.domains import OperatorKey, channel_axis
from hw.lowering.integer_tensor import AS_FLOAT32, IntegerTensor, Steps
from hw.lowering.layout_ops import LayoutOps, channels_of, element_order, permuted_channels
from hw.lowering.refusal import lowering_error
from hw.lowering.reordering import channel_rows, reordered


@dataclass(frozen=True)
class Handler:
    """The lowering of one operator.

    ``lower`` reads the node's inputs from the context, appends nodes to it, and sets ``context.values`` of the
    node's outputs. ``spatial`` says that the operator works on images or signals, so that its input should be a
    stream with channels innermost.
    """

    lower: Callable[[Lowering, onnx.NodeProto], None]
    spatial: bool = False

    def __call__(self, context: Lowering, node: onnx.NodeProto) -> None:
        """Lower one node. Raises BitfabricError where it has no exact form."""
        self.lower(context, node)


Handlers: TypeAlias = Mapping[OperatorKey, Handler]


def with_axis_last(
    context: Lowering, node: onnx.NodeProto, tensor: IntegerTensor, axis: int | None = None, permuted: bool = False
) -> IntegerTensor:
    """The tensor as a stream of shape ``(*others, size of axis)``.

    ``axis`` counts the axes of the model's tensor without the batch; here, its elements are called channels. None: the
    axis of the channels of the node's operator. If ``permuted``, the caller accepts a stream whose channels are
    permuted, at all positions alike: the ``layout_ops`` of the result permute the channels and transpose them to
    ``axis``, and ``channels_of`` reads the permutation. Where the elements arrive in another order, a kernel that
    reorders them is appended. Raises BitfabricError if there is none, or if the scale or the offset of the elements
    varies along the other axes.
    """
    shape = tensor.tensor_shape
    channel = channel_axis(node, len(shape) + 1) - 1
    axis = channel if axis is None else axis
    order = element_order(tensor.layout_ops, tensor.shape)
    channels = channel_rows(order, axis)
    if channels is None or not (permuted or np.array_equal(channels, np.arange(len(channels)))):
        result = reordered(context, node, tensor, np.moveaxis(order, axis, -1), permuted)
        channels = channels_of(result.layout_ops, result.channels)
    else:
        result = tensor.reshaped((*shape[:axis], *shape[axis + 1 :], shape[axis]))
    if result.varies_spatially:
        each = "channel" if axis == channel else f"index of axis {axis + 1}"
        raise lowering_error(
            node,
            "its input is scaled differently at different positions",
            f"use one scale and bias for the tensor, or for each {each}",
        )
    return replace(result, layout_ops=permuted_channels(channels, len(shape), axis))


def affine_by_channel(tensor: IntegerTensor) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset of each channel, Fractions (channels,), of an affine tensor that does not vary spatially."""
    assert tensor.affine is not None
    slope, offset = (np.broadcast_to(part.ravel(), tensor.low.shape) for part in tensor.affine)
    return slope, offset


def output_tensor(
    node: onnx.NodeProto,
    edge: str,
    kernel: Kernel,
    bounds: tuple[np.ndarray, np.ndarray],
    steps: Steps,
    layout_ops: LayoutOps,
) -> IntegerTensor:
    """The output of a kernel that ``node`` was lowered to.

    ``steps`` compute the exact values, in float64, from the kernel's integers; after them the model's own float32
    arithmetic begins. ``bounds`` are the minimum and maximum integer of each channel, int64 (channels,).
    """
    stream = kernel.outputs()[0]
    whole = (*steps, AS_FLOAT32)
    return IntegerTensor(
        stream.shape,
        whole,
        (node.name,) * len(whole),
        layout_ops,
        edge=edge,
        dtype=stream.dtype,
        low=bounds[0],
        high=bounds[1],
    )
