"""Operators of a model that become kernels of their own: one handler each."""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import onnx
from qonnx.core.datatype import BaseDataType, DataType

from hw.affine import affine, element_order, floats, rational, uniform
from hw.constants import Constant, attribute
from hw.errors import BitfabricError
from hw.host import HostStep, step
from hw.kernels.arg_max import ArgMax
from hw.kernels.matrix_vector import MatrixVector
from hw.node_steps import top_k
from hw.rounding import Product
from hw.wires import AS_FLOAT32, Steps, Wire, dtype_of

if TYPE_CHECKING:
    from hw.lower import Lowering

Handler = Callable[["Lowering", onnx.NodeProto], None]

SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
"""What keeps the order of the elements."""

HANDLERS: dict[str, Handler] = {}
"""Operator -> handler: it reads ``lowering.values``, appends nodes and sets the values of the node's outputs."""


def handles(*ops: str) -> Callable[[Handler], Handler]:
    """Register the handler of these operators."""

    def register(function: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, function))
        return function

    return register


@handles("MatMul", "Gemm")
def _matmul(lowering: "Lowering", node: onnx.NodeProto) -> None:
    """``y = x W (+ b)`` with constant W (K, M): a MatrixVector of M rows; scales and offsets go behind it."""
    weights = lowering.values[node.input[1]]
    if isinstance(lowering.values[node.input[0]], Constant) or not isinstance(weights, Constant):
        raise _refuse(node, "its weights must be constant and its second input", "feed data from the left only")
    transpose, bias, factor = False, None, Fraction(1)
    if node.op_type == "Gemm":
        if attribute(node, "transA", 0):
            raise _refuse(node, "it transposes the batch (transA)", "keep the batch first")
        transpose = bool(attribute(node, "transB", 0))
        factor = Fraction(np.float32(attribute(node, "alpha", 1.0)).item())
        bias = _bias(lowering, node)
    if weights.value.ndim != 2:
        raise _refuse(node, f"its weights have shape {weights.value.shape}", "use a matrix (inputs, outputs)")
    wire = lowering.stream(node.input[0], node)
    integers, scale = _integer_weights(node, weights)
    if transpose:
        integers, scale = integers.T, scale.T
    rows, slope, offset = _rows(node, wire, len(integers))
    magnitudes = np.abs(integers * scale * float(factor))
    integers, gain, shift = _joined(node, integers, scale, slope, offset)
    arranged = np.empty_like(integers)
    arranged[rows] = integers
    kernel = MatrixVector(
        np.ascontiguousarray(arranged.T),
        _weight_dtype(arranged),
        wire.dtype,
        wire.shape[:-1],
        input_range=(int(wire.low.min()), int(wire.high.max())),
    )
    edge = lowering.append(f"fc{lowering.layers}", kernel, wire.edge)
    lowering.layers += 1
    steps: list[HostStep] = []
    out = lowering.shape(node.output[0])
    stream = kernel.outputs()[0]
    if stream.shape != out[1:]:
        steps.append(step("Reshape", shape=out[1:]))
    gain = floats(gain * factor)
    shift = floats(shift * factor)
    if np.any(gain != 1):
        steps.append(step("Mul", gain))
    if np.any(shift != 0):
        steps.append(step("Add", shift))
    lowering.products[edge] = Product(wire, magnitudes, len(steps))
    steps.append(AS_FLOAT32)
    if bias is not None:
        steps.append(step("Add", bias))
    low, high = _reachable(arranged, wire)
    lowering.values[node.output[0]] = Wire(edge, stream.shape, stream.dtype, low, high).then(tuple(steps), node.name)


def _refuse(node: onnx.NodeProto, why: str, remedy: str) -> BitfabricError:
    return BitfabricError(f"{node.name}: {node.op_type} cannot be lowered: {why}; {remedy}")


def _bias(lowering: "Lowering", node: onnx.NodeProto) -> np.ndarray | None:
    """Gemm's third input times beta."""
    if len(node.input) < 3 or not node.input[2]:
        return None
    bias = lowering.values[node.input[2]]
    if not isinstance(bias, Constant):
        raise _refuse(node, "its bias is computed while running", "use a constant bias")
    if bias.value.ndim > 1 and bias.value.shape[0] != 1:
        raise _refuse(
            node, f"its bias of shape {bias.value.shape} differs along the batch", "use one bias for each output"
        )
    if not np.all(np.isfinite(bias.value)):
        raise _refuse(node, "its bias is not finite", "check the training")
    return bias.value.astype(np.float64) * np.float64(np.float32(attribute(node, "beta", 1.0)))


def _integer_weights(node: onnx.NodeProto, weights: Constant) -> tuple[np.ndarray, np.ndarray]:
    """Integers (int64) and scale (float64), both of the weights' shape."""
    value = weights.value
    if weights.integers is not None and weights.scale is not None:
        return weights.integers, np.broadcast_to(weights.scale, value.shape)
    if np.all(np.isfinite(value)) and np.all(value == np.round(value)) and np.max(np.abs(value)) < 1 << 24:
        return value.astype(np.int64), np.ones(value.shape)
    raise _refuse(node, f"its weights {node.input[1]} are not quantized", "train with a weight quantizer")


def _rows(node: onnx.NodeProto, wire: Wire, inputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where on the stream each of the matrix's inputs is, and the inputs' slopes and offsets (Fractions)."""
    line = affine(wire.steps, wire.shape)
    assert line is not None
    slope, offset = (values.reshape(-1, inputs) for values in line)
    order = element_order(wire.steps, wire.shape).reshape(-1, inputs)
    channels = wire.shape[-1]
    first = order[0]
    if channels != inputs or np.any(order != first + channels * np.arange(len(order))[:, None]):
        raise _refuse(
            node, "its input arrives in another order or shape than it was computed", "flatten the input first"
        )
    if np.any(slope != slope[:1]) or np.any(offset != offset[:1]):
        raise _refuse(node, "its input is scaled differently at different positions", "use one scale for each channel")
    return first, slope[0], offset[0]


def _joined(
    node: onnx.NodeProto, integers: np.ndarray, scale: np.ndarray, slope: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (K, M), gain and shift (M,): ``sum((slope*q + offset)*integers*scale) = sum(q*weights)*gain + shift``."""
    shared, constant = uniform(slope), uniform(offset)
    if shared is not None and constant is not None and np.all(scale == scale[:1]):
        columns = rational(scale[0])
        sums = np.array([Fraction(int(value)) for value in integers.sum(axis=0)], object)
        return integers, columns * shared, columns * sums * constant
    exact = rational(scale)
    shift = (integers.astype(object) * exact).T @ offset
    total = exact * slope[:, None]
    gain = np.array([min((abs(value) for value in column if value), default=Fraction(1)) for column in total.T], object)
    ratio = total / gain
    if any(value.denominator != 1 or abs(value) >= 1 << 16 for value in ratio.ravel()):
        raise _refuse(
            node,
            "its inputs or weights have different scales within one sum",
            "use one scale for all inputs of a layer",
        )
    return integers * np.array([int(value) for value in ratio.ravel()], np.int64).reshape(ratio.shape), gain, shift


def _weight_dtype(weights: np.ndarray) -> BaseDataType:
    """The narrowest type that holds the weights."""
    if np.all(np.abs(weights) == 1):
        return DataType["BIPOLAR"]
    return dtype_of(int(weights.min()), int(weights.max()))


def _reachable(weights: np.ndarray, wire: Wire) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of ``x @ weights`` for ``x`` within the wire's bounds: the exact range of each sum."""
    up, down = np.maximum(weights, 0), np.minimum(weights, 0)
    return wire.low @ up + wire.high @ down, wire.high @ up + wire.low @ down


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
    """
    chosen = tail[1:] if len(tail) > 1 and tail[0].op in SOFTMAX and _axis(tail[0]) == _axis(tail[1]) else tail
    line = affine(wire.steps, wire.shape)
    if not chosen or line is None:
        return None
    attributes = dict(chosen[0].attributes)
    picks = (chosen[0].op == "ArgMax" and not attributes["last"]) or (
        chosen[0].op == "TopK" and attributes["k"] == 1 and attributes["output"] == 1
    )
    slope, offset = uniform(line[0]), uniform(line[1])
    if not picks or slope is None or offset is None:
        return None
    if (slope > 0) != bool(attributes.get("largest", True)) or slope == 0:
        return None
    order = element_order(wire.steps, wire.shape)
    classes = wire.shape[-1]
    ordered = np.array_equal(order.ravel(), np.arange(order.size))
    if not ordered or order.shape[-1] != classes or attributes["axis"] != order.ndim or classes == 1:
        return None
    edge = lowering.append("arg_max", ArgMax(classes, wire.dtype, wire.shape[:-1]), wire.edge)
    stream = lowering.nodes[-1].kernel.outputs()[0]
    low, high = np.zeros(stream.shape, np.int64), np.full(stream.shape, classes - 1, np.int64)
    shape = order.shape[:-1] + ((1,) if attributes.get("keepdims", True) else ())
    moves = (step("Reshape", shape=shape),) if shape != stream.shape else ()
    return Wire(edge, stream.shape, stream.dtype, low, high).then(moves + chosen[1:], "")


def _axis(each: HostStep) -> object:
    return dict(each.attributes).get("axis")
