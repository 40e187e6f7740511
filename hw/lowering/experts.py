"""Layers of experts as kernels: the products of ``hw.lowering.expert_sites``, and the arg-max that chooses."""

import numpy as np
import onnx

from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.expert_matrix_vector.kernel import ExpertMatrixVector
from hw.lowering.affine import affine_steps
from hw.lowering.context import Lowering
from hw.lowering.dense import rows
from hw.lowering.expert_sites import DOMAIN, PRODUCT, Site
from hw.lowering.handlers import Handler, Handlers, output_tensor
from hw.lowering.logits import quantized_logits
from hw.lowering.refusal import lowering_error
from hw.lowering.rounding import Product, summed
from hw.lowering.weights import fold_scales_into_weights, integer_weights, reachable, weight_dtype


def _experts(context: Lowering, node: onnx.NodeProto) -> None:
    """The product of a frame with the matrix that the gate chooses.

    Scales become affine steps on its sums, which are the same for every expert.
    """
    site = context.experts[node.output[0]]
    choice = _choice(context, node, site)
    integers, scale = integer_weights(node, context.values[site.weights])
    if not site.transposed:
        integers, scale = integers.transpose(0, 2, 1), scale.transpose(0, 2, 1)
    experts, inputs, outputs = integers.shape
    integers, scale = (each.transpose(1, 0, 2).reshape(inputs, -1) for each in (integers, scale))
    tensor, order = rows(context, node, context.affine_integers(site.vector, node), inputs)
    integers, scale = integers[order], scale[order]
    assert tensor.affine is not None
    slope, offset = (np.broadcast_to(part, tensor.shape) for part in tensor.affine)
    folded = fold_scales_into_weights(integers, scale, slope, offset)
    if folded is None:
        raise lowering_error(node, "scales within one of its sums have no small ratio", "quantize its input with one")
    magnitudes = np.abs(integers * scale).reshape(inputs, experts, outputs).max(axis=1)
    integers, *affine = folded
    gain, shift = (each.reshape(experts, outputs) for each in affine)
    for each, what in ((gain, "scales"), (shift, "offsets")):
        if np.any(each != each[:1]):
            raise lowering_error(
                node,
                f"the sums of its experts have different {what}",
                "quantize all experts with one scale, and its input without a zero point",
            )
    matrices = np.ascontiguousarray(integers.T).reshape(experts, outputs, inputs)
    kernel = ExpertMatrixVector(matrices, weight_dtype(integers), tensor.dtype, input_range=tensor.range)
    edge = context.append(context.name("experts"), kernel, choice, tensor.edge)
    steps = affine_steps(1, gain[0], shift[0])

    def terms(values: list[np.ndarray]) -> np.ndarray:
        return values[0].reshape(-1, inputs)

    context.products[edge] = Product((tensor,), summed(terms, magnitudes, True), len(steps))
    low, high = (each.reshape(experts, outputs) for each in reachable(integers, tensor.low, tensor.high))
    context.values[node.output[0]] = output_tensor(node, edge, kernel, (low.min(0), high.max(0)), steps, ())


def _choice(context: Lowering, node: onnx.NodeProto, site: Site) -> str:
    """The edge of the gate's choice; layers with one gate share it."""
    logits = quantized_logits(context, node, site.logits, "quantize them")
    kernel = ArgMax(logits.channels, logits.dtype)
    for made in context.nodes:
        if isinstance(made.kernel, ArgMax) and made.inputs == (logits.edge,):
            return made.outputs[0]
    return context.append(context.name("gate"), kernel, logits.edge)


HANDLERS: Handlers = {(DOMAIN, PRODUCT): Handler(_experts)}
