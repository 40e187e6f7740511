"""Fully connected layers: MatMul and Gemm."""

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import onnx

from hw.host.steps import step
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.lowering.constants import Constant, attribute
from hw.lowering.handlers import behind, handles, scaling
from hw.lowering.moves import element_order
from hw.lowering.refusal import refuse
from hw.lowering.rounding import Product, summed
from hw.lowering.weights import integer_weights, joined, reachable, weight_dtype
from hw.lowering.wires import Wire

if TYPE_CHECKING:
    from hw.lowering.lower import Lowering


@handles("MatMul", "Gemm")
def _matmul(lowering: "Lowering", node: onnx.NodeProto) -> None:
    """``y = x W (+ b)`` with constant W (K, M): a MatrixVector of M rows; scales and offsets go behind it."""
    weights = lowering.values[node.input[1]]
    if isinstance(lowering.values[node.input[0]], Constant) or not isinstance(weights, Constant):
        raise refuse(node, "its weights must be constant and its second input", "feed data from the left only")
    transpose, bias, factor = False, None, Fraction(1)
    if node.op_type == "Gemm":
        if attribute(node, "transA", 0):
            raise refuse(node, "it transposes the batch (transA)", "keep the batch first")
        transpose = bool(attribute(node, "transB", 0))
        factor = Fraction(np.float32(attribute(node, "alpha", 1.0)).item())
        bias = _bias(lowering, node)
    if weights.value.ndim != 2:
        raise refuse(node, f"its weights have shape {weights.value.shape}", "use a matrix (inputs, outputs)")
    wire = lowering.stream(node.input[0], node)
    integers, scale = integer_weights(node, weights)
    if transpose:
        integers, scale = integers.T, scale.T
    wire, order, slope, offset = _rows(node, wire, len(integers))
    integers, scale = integers[order], scale[order]
    magnitudes = np.abs(integers * scale * float(factor))
    integers, gain, shift = joined(node, integers, scale, slope, offset)
    kernel = MatrixVector(
        np.ascontiguousarray(integers.T), weight_dtype(integers), wire.dtype, wire.shape[:-1], input_range=wire.range
    )
    edge = lowering.append(lowering.name("fc"), kernel, wire.edge)
    stream = kernel.outputs()[0]
    out = lowering.shape(node.output[0])[1:]
    moves = (step("Reshape", shape=out),) if stream.shape != out else ()
    steps = scaling(len(stream.shape), gain * factor, shift * factor)
    shape = wire.shape
    lowering.products[edge] = Product(
        (wire,), summed(lambda values: values[0].reshape(-1, *shape), magnitudes, shared=True), len(steps)
    )
    bounds = reachable(integers, wire.low, wire.high)
    result = behind(node, edge, kernel, bounds, steps, moves)
    lowering.values[node.output[0]] = result if bias is None else result.then((step("Add", bias),), node.name)


def _bias(lowering: "Lowering", node: onnx.NodeProto) -> np.ndarray | None:
    """Gemm's third input times beta."""
    if len(node.input) < 3 or not node.input[2]:
        return None
    bias = lowering.values[node.input[2]]
    if not isinstance(bias, Constant):
        raise refuse(node, "its bias is computed while running", "use a constant bias")
    if bias.value.ndim > 1 and bias.value.shape[0] != 1:
        raise refuse(
            node, f"its bias of shape {bias.value.shape} differs along the batch", "use one bias for each output"
        )
    if not np.all(np.isfinite(bias.value)):
        raise refuse(node, "its bias is not finite", "check the training")
    return bias.value.astype(np.float64) * np.float64(np.float32(attribute(node, "beta", 1.0)))


def _rows(node: onnx.NodeProto, wire: Wire, inputs: int) -> tuple[Wire, np.ndarray, np.ndarray, np.ndarray]:
    """The wire as rows of the matrix's inputs; for each element of such a row its place among the inputs, and its
    slope and offset (Fractions)."""
    order = element_order(wire.moves, wire.shape).reshape(-1, inputs)
    first = order[0]
    if np.any(order != first + inputs * np.arange(len(order))[:, None]) or first.max() >= inputs:
        raise refuse(
            node, "its input arrives in another order or shape than it was computed", "flatten the input first"
        )
    lead = wire.shape[:-1] if wire.shape[-1] == inputs else (len(order),)
    wire = wire.viewed((*lead, inputs) if len(order) > 1 else (inputs,))
    assert wire.line is not None
    slope, offset = (np.broadcast_to(part, wire.shape).reshape(-1, inputs) for part in wire.line)
    if np.any(slope != slope[:1]) or np.any(offset != offset[:1]):
        raise refuse(node, "its input is scaled differently at different positions", "use one scale for each channel")
    return wire, np.argsort(first), slope[0], offset[0]
