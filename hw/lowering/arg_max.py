"""ArgMax and TopK: host steps, or, for the index of the largest value at an output, the kernel ``arg_max``."""

from dataclasses import replace

import numpy as np
import onnx

from hw.host.steps import HostStep, step
from hw.kernels.arg_max.kernel import ArgMax
from hw.lowering.affine import uniform
from hw.lowering.constants import Constant
from hw.lowering.context import Lowering
from hw.lowering.handlers import Handler, Handlers
from hw.lowering.integer_tensor import IntegerTensor, Steps
from hw.lowering.layout_ops import element_order
from hw.lowering.node_steps import top_k

SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
"""Operators that preserve the order of the elements along their axis."""


def _top_k(context: Lowering, node: onnx.NodeProto) -> None:
    """A host step for each output that is used; ``in_hardware`` may turn it into a kernel."""
    value = context.values[node.input[0]]
    assert not isinstance(value, Constant)
    for output, name in enumerate(node.output):
        if name:
            result = value.then(top_k(context.call(node, output), output), node.name)
            context.values[name] = replace(result, number="int64") if output else result


def in_hardware(
    context: Lowering, tensor: IntegerTensor, host_steps: Steps, host_origins: tuple[str, ...]
) -> IntegerTensor | None:
    """The index of the largest value of an output, computed by an ArgMax kernel on the integers of ``tensor``.

    ``host_steps`` are the host steps after ``tensor``, from the nodes ``host_origins``: an ArgMax, or a TopK with
    k = 1, possibly after a softmax along the same axis. Those after it remain the host steps of the result. Returns
    None, and appends nothing, if the steps are others, or if the integers may not have the same order as the values.
    """
    softmax = len(host_steps) > 1 and host_steps[0].op in SOFTMAX and _axis(host_steps[0]) == _axis(host_steps[1])
    chosen = host_steps[1:] if softmax else host_steps
    if not chosen or tensor.affine is None:
        return None
    attributes = dict(chosen[0].attributes)
    picks = (chosen[0].op == "ArgMax" and not attributes["last"]) or (
        chosen[0].op == "TopK" and attributes["k"] == 1 and attributes["output"] == 1
    )
    slope, offset = (uniform(part) for part in tensor.affine)
    if not picks or slope is None or offset is None:
        return None
    if (slope > 0) != bool(attributes.get("largest", True)) or slope == 0:
        return None
    order = element_order(tensor.layout_ops, tensor.shape)
    axis = attributes["axis"] - 1
    classes = order.shape[axis]
    ordered = np.array_equal(np.moveaxis(order, axis, -1).ravel(), np.arange(order.size))
    if not ordered or classes == 1:
        return None
    lead = (*order.shape[:axis], *order.shape[axis + 1 :])
    tensor = tensor.reshaped((*lead, classes))
    kernel = ArgMax(classes, tensor.dtype, lead)
    edge = context.append("arg_max", kernel, tensor.edge, origin=host_origins[len(host_steps) - len(chosen)])
    stream = kernel.outputs()[0]
    shape = (*order.shape[:axis], *((1,) if attributes.get("keepdims", True) else ()), *order.shape[axis + 1 :])
    layout_ops = (step("Reshape", shape=shape),) if shape != stream.shape else ()
    low, high = np.zeros(1, np.int64), np.full(1, classes - 1, np.int64)
    return IntegerTensor(
        stream.shape, (), (), layout_ops, chosen[1:], edge=edge, dtype=stream.dtype, low=low, high=high
    )


def _axis(each: HostStep) -> object:
    return dict(each.attributes).get("axis")


HANDLERS: Handlers = {("", "TopK"): Handler(_top_k)}
