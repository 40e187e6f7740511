"""Finds the tensors of a model whose streams should have channels innermost."""

from collections.abc import Callable

import numpy as np
import onnx
from qonnx.core.modelwrapper import ModelWrapper

from hw.lowering.domains import onnx_keys, operator_key
from hw.lowering.node_attributes import attribute

ORDER_FREE = frozenset(onnx_keys("MatMul", "Gemm", "Flatten", "Reshape", "Transpose"))
"""Operators whose input may have its elements in any order."""
MOVES = frozenset(onnx_keys("Reshape", "Transpose"))
"""Operators of which several together can permute the channels of an image."""


def image_tensors(
    model: ModelWrapper, live: list[onnx.NodeProto], spatial: Callable[[onnx.NodeProto], bool]
) -> set[str]:
    """The tensors that ``spatial`` operators read: directly, or through element-wise nodes and shuffles of channels.

    ``live`` are the nodes of the model to look at, in order.
    """
    images: set[str] = set()
    paths: dict[str, list[onnx.NodeProto]] = {}
    for node in reversed(live):
        key, output = operator_key(node), node.output[0]
        if spatial(node) or (key not in ORDER_FREE and images.intersection(node.output)):
            images.update(node.input)
        elif key in MOVES and (output in images or output in paths):
            path = [node, *(() if output in images else paths[output])]
            if _permutes_channels(model, path):
                images.add(node.input[0])
            else:
                paths[node.input[0]] = path
    return images


def _permutes_channels(model: ModelWrapper, path: list[onnx.NodeProto]) -> bool:
    """Whether Reshape and Transpose nodes together permute the channels of an image or a signal, and nothing else."""
    shape = model.get_tensor_shape(path[0].input[0])
    if shape is None or len(shape) not in (3, 4) or shape != model.get_tensor_shape(path[-1].output[0]):
        return False
    order = np.arange(int(np.prod(shape))).reshape(shape)
    for node in path:
        if node.op_type == "Transpose":
            order = np.transpose(order, attribute(node, "perm", None))
        else:
            order = order.reshape(model.get_tensor_shape(node.output[0]))
    rows = order.reshape(*shape[:2], -1)
    return bool(np.array_equal(rows, rows[:, :, :1] + np.arange(rows.shape[-1])))
