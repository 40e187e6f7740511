"""Finds the tensors of a model whose streams should have channels innermost."""

from collections.abc import Callable

import numpy as np
import onnx
from qonnx.core.modelwrapper import ModelWrapper

from hw.lowering.domains import channel_axis, onnx_keys, operator_key
from hw.lowering.node_attributes import attribute

ORDER_FREE = frozenset(onnx_keys("MatMul", "Gemm", "Flatten", "Reshape", "Transpose"))
"""Operators whose input may have its elements in any order."""
MOVES = frozenset(onnx_keys("Reshape", "Transpose"))
"""Operators of which several together can permute the channels of an image."""


def image_tensors(
    model: ModelWrapper, live: list[onnx.NodeProto], spatial: Callable[[onnx.NodeProto], bool]
) -> dict[str, int]:
    """The tensors that ``spatial`` operators read, with the axis of their channels, which counts the batch.

    They read them directly, or through element-wise nodes, transpositions and shuffles of channels. ``live`` are the
    nodes of the model to look at, in order.
    """
    images: dict[str, int] = {}
    paths: dict[str, tuple[list[onnx.NodeProto], int]] = {}
    for node in reversed(live):
        key, output = operator_key(node), node.output[0]
        read = images.keys() & set(node.output)
        if spatial(node):
            images |= dict.fromkeys(node.input, channel_axis(node, len(model.get_tensor_shape(node.input[0]) or ())))
        elif read and key not in ORDER_FREE:
            images |= dict.fromkeys(node.input, images[min(read)])
        elif key in MOVES and (output in images or output in paths):
            after, axis = ([], images[output]) if output in images else paths[output]
            path = [node, *after]
            if _permutes_channels(model, path, axis):
                images[node.input[0]] = axis
            elif not after and node.op_type == "Transpose":
                rank = len(model.get_tensor_shape(output) or ())
                images[node.input[0]] = tuple(attribute(node, "perm", None) or reversed(range(rank)))[axis]
            else:
                paths[node.input[0]] = path, axis
    return images


def _permutes_channels(model: ModelWrapper, path: list[onnx.NodeProto], axis: int) -> bool:
    """Whether Reshape and Transpose nodes together permute the channels of an image or a signal, on ``axis``, and
    nothing else."""
    shape = model.get_tensor_shape(path[0].input[0])
    if shape is None or len(shape) not in (3, 4) or shape != model.get_tensor_shape(path[-1].output[0]):
        return False
    order = before = np.arange(int(np.prod(shape))).reshape(shape)
    for node in path:
        if node.op_type == "Transpose":
            order = np.transpose(order, attribute(node, "perm", None))
        else:
            order = order.reshape(model.get_tensor_shape(node.output[0]))
    after, before = (np.moveaxis(each, axis, 1).reshape(shape[0], shape[axis], -1) for each in (order, before))
    return bool(np.array_equal(after - after[:, :, :1], before - before[:, :, :1]))
