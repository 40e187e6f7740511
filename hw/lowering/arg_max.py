"""Lowering of ArgMax and TopK."""

from typing import TYPE_CHECKING

import numpy as np
import onnx

from hw.host.steps import HostStep, step
from hw.kernels.arg_max.kernel import ArgMax
from hw.lowering.affine import uniform
from hw.lowering.constants import Constant
from hw.lowering.handlers import handles
from hw.lowering.moves import element_order
from hw.lowering.node_steps import top_k
from hw.lowering.wires import Steps, Wire

if TYPE_CHECKING:
    from hw.lowering.lower import Lowering

SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
"""What keeps the order of the elements."""


@handles("TopK")
def _top_k(lowering: "Lowering", node: onnx.NodeProto) -> None:
    """Each output that is used, as a step for the host (or ``arg_max``)."""
    value = lowering.values[node.input[0]]
    assert not isinstance(value, Constant)
    for output, name in enumerate(node.output):
        if name:
            lowering.values[name] = value.then(top_k(lowering.call(node, output), output), node.name)


def arg_max(lowering: "Lowering", wire: Wire, tail: Steps) -> Wire | None:
    """The index of the largest value in hardware, where integers order as values do; None where they may not.

    ``tail``: the steps after ``wire`` that are not element-wise: ArgMax or TopK of one, perhaps behind a softmax.
    What is left of them is the tail of the result.
    """
    chosen = tail[1:] if len(tail) > 1 and tail[0].op in SOFTMAX and _axis(tail[0]) == _axis(tail[1]) else tail
    if not chosen or wire.line is None:
        return None
    attributes = dict(chosen[0].attributes)
    picks = (chosen[0].op == "ArgMax" and not attributes["last"]) or (
        chosen[0].op == "TopK" and attributes["k"] == 1 and attributes["output"] == 1
    )
    slope, offset = (uniform(part) for part in wire.line)
    if not picks or slope is None or offset is None:
        return None
    if (slope > 0) != bool(attributes.get("largest", True)) or slope == 0:
        return None
    order = element_order(wire.moves, wire.shape)
    axis = attributes["axis"] - 1
    classes = order.shape[axis]
    ordered = np.array_equal(np.moveaxis(order, axis, -1).ravel(), np.arange(order.size))
    if not ordered or classes == 1:
        return None
    lead = (*order.shape[:axis], *order.shape[axis + 1 :])
    wire = wire.viewed((*lead, classes))
    kernel = ArgMax(classes, wire.dtype, lead)
    edge = lowering.append("arg_max", kernel, wire.edge)
    stream = kernel.outputs()[0]
    shape = (*order.shape[:axis], *((1,) if attributes.get("keepdims", True) else ()), *order.shape[axis + 1 :])
    moves = (step("Reshape", shape=shape),) if shape != stream.shape else ()
    low, high = np.zeros(1, np.int64), np.full(1, classes - 1, np.int64)
    return Wire(stream.shape, (), (), moves, chosen[1:], edge=edge, dtype=stream.dtype, low=low, high=high)


def _axis(each: HostStep) -> object:
    return dict(each.attributes).get("axis")
