"""Fully connected layers: MatMul and Gemm."""

from fractions import Fraction

import numpy as np
import onnx

from hw.host.steps import step
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.lowering.affine import affine_steps
from hw.lowering.constants import Constant
from hw.lowering.context import Lowering
from hw.lowering.domains import onnx_keys
from hw.lowering.handlers import Handler, Handlers, output_tensor
from hw.lowering.integer_tensor import IntegerTensor
from hw.lowering.layout_ops import channels_of, element_order
from hw.lowering.node_attributes import attribute
from hw.lowering.refusal import lowering_error
from hw.lowering.reordering import reordered
from hw.lowering.rounding import Product, summed
from hw.lowering.scale_groups import scale_groups, sum_of_groups
from hw.lowering.weights import fold_scales_into_weights, integer_weights, reachable, weight_dtype


def _matmul(context: Lowering, node: onnx.NodeProto) -> None:
    """``y = x W (+ b)`` with constant W (K, M), as a MatrixVector of M rows.

    Scales and offsets become affine steps on its sums, so the kernel itself computes integers only.
    """
    weights = context.values[node.input[1]]
    if isinstance(context.values[node.input[0]], Constant) or not isinstance(weights, Constant):
        raise lowering_error(node, "its weights must be constant and its second input", "feed data from the left only")
    transpose, bias, factor = False, None, Fraction(1)
    if node.op_type == "Gemm":
        if attribute(node, "transA", 0):
            raise lowering_error(node, "it transposes the batch (transA)", "keep the batch first")
        transpose = bool(attribute(node, "transB", 0))
        factor = Fraction(np.float32(attribute(node, "alpha", 1.0)).item())
        bias = _bias(context, node)
    if weights.value.ndim != 2:
        raise lowering_error(node, f"its weights have shape {weights.value.shape}", "use a matrix (inputs, outputs)")
    tensor = context.affine_integers(node.input[0], node)
    integers, scale = integer_weights(node, weights)
    if transpose:
        integers, scale = integers.T, scale.T
    tensor, order = rows(context, node, tensor, len(integers))
    integers, scale = integers[order], scale[order]
    out = context.shape(node.output[0])[1:]
    name = context.name("fc")
    result = _product(context, node, name, tensor, integers, scale, factor, out, bias)
    if result is None:
        parts = []
        for group in scale_groups(context, node, tensor):
            part = integers[group.rows] * group.used[:, None]
            more = len(integers) - len(part)
            parts.append(_product(context, node, name, group.tensor, part, scale[group.rows], factor, out, bias, more))
        result = sum_of_groups(name, node, parts, len(integers))
    context.values[node.output[0]] = result if bias is None else result.then((step("Add", bias),), node.name)


def _product(
    context: Lowering,
    node: onnx.NodeProto,
    name: str,
    tensor: IntegerTensor,
    integers: np.ndarray,
    scale: np.ndarray,
    factor: Fraction,
    out: tuple[int, ...],
    bias: np.ndarray | None,
    others: int = 0,
) -> IntegerTensor | None:
    """The products of rows with ``factor * integers * scale``, of shape ``out`` in the model.

    ``bias`` is added by a later step; ``others`` is the number of terms that other kernels add. None if scales within
    one sum have no small ratio.
    """
    assert tensor.affine is not None
    slope, offset = (np.broadcast_to(part, tensor.shape).reshape(-1, tensor.channels)[0] for part in tensor.affine)
    folded = fold_scales_into_weights(integers, scale, slope, offset)
    if folded is None:
        return None
    magnitudes = np.abs(integers * scale * float(factor))
    integers, gain, shift = folded
    kernel = MatrixVector(
        np.ascontiguousarray(integers.T),
        weight_dtype(integers),
        tensor.dtype,
        tensor.shape[:-1],
        input_range=tensor.range,
    )
    edge = context.append(name, kernel, tensor.edge)
    stream = kernel.outputs()[0]
    layout_ops = (step("Reshape", shape=out),) if stream.shape != out else ()
    steps = affine_steps(len(stream.shape), gain * factor, shift * factor)
    shape = tensor.shape

    def terms(values: list[np.ndarray]) -> np.ndarray:
        return values[0].reshape(-1, *shape)

    added = None if bias is None else bias.reshape(-1)  # one number, or one for each output
    context.products[edge] = Product((tensor,), summed(terms, magnitudes, True, others, added), len(steps))
    bounds = reachable(integers, tensor.low, tensor.high)
    return output_tensor(node, edge, kernel, bounds, steps, layout_ops)


def _bias(context: Lowering, node: onnx.NodeProto) -> np.ndarray | None:
    """Gemm's third input times beta, float64; None if there is none."""
    if len(node.input) < 3 or not node.input[2]:
        return None
    bias = context.values[node.input[2]]
    if not isinstance(bias, Constant):
        raise lowering_error(node, "its bias is computed while running", "use a constant bias")
    if bias.value.ndim > 1 and bias.value.shape[0] != 1:
        raise lowering_error(
            node, f"its bias of shape {bias.value.shape} differs along the batch", "use one bias for each output"
        )
    if not np.all(np.isfinite(bias.value)):
        raise lowering_error(node, "its bias is not finite", "check the training")
    return bias.value.astype(np.float64) * np.float64(np.float32(attribute(node, "beta", 1.0)))


def rows(
    context: Lowering, node: onnx.NodeProto, tensor: IntegerTensor, inputs: int
) -> tuple[IntegerTensor, np.ndarray]:
    """The tensor as a stream of rows, one for each product with the matrix.

    Returns the stream, and for each element of a row its index among the matrix's ``inputs``. Rows whose elements do
    not arrive together are reordered.
    """
    order = element_order(tensor.layout_ops, tensor.shape).reshape(-1, inputs)
    first = order[0]
    if np.any(order != first + inputs * np.arange(len(order))[:, None]) or first.max() >= inputs:
        tensor = reordered(context, node, tensor, order, permuted=True)
        first = channels_of(tensor.layout_ops, inputs)
    lead = tensor.shape[:-1] if tensor.shape[-1] == inputs else (len(order),)
    tensor = tensor.reshaped((*lead, inputs) if len(order) > 1 else (inputs,))
    assert tensor.affine is not None
    slope, offset = (np.broadcast_to(part, tensor.shape).reshape(-1, inputs) for part in tensor.affine)
    if np.any(slope != slope[:1]) or np.any(offset != offset[:1]):
        raise lowering_error(
            node,
            "its input is scaled differently at different positions",
            "use one scale for the tensor, or for each element of its rows",
        )
    return tensor, np.argsort(first)


HANDLERS: Handlers = dict.fromkeys(onnx_keys("MatMul", "Gemm"), Handler(_matmul))
