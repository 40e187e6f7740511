"""A layer whose inputs have different scales, as a sum of layers whose inputs have one scale each.

``sum(w * s_i * q_i)`` with scales ``s_i`` by channel is a sum of integers only within channels of one scale. Behind a
concatenation these are the concatenated tensors, each with a layer of its own, so that no product is added. Otherwise
all layers read the whole stream, with weights of 0 for the channels of other scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from hw.host.errors import BitfabricError
from hw.host.steps import HostStep
from hw.lowering.context import Lowering
from hw.lowering.integer_tensor import IntegerTensor
from hw.lowering.pending_sum import FAITHFUL_BITS, PendingSum, Term, pending_sum
from hw.lowering.refusal import lowering_error

MOST_GROUPS = 8
"""Number of scales within one sum for which a layer is split."""


@dataclass(frozen=True, eq=False)
class ScaleGroup:
    """Elements of one scale along the last axis of a stream.

    ``rows`` are the places of the elements of ``tensor`` in the whole stream, and ``used`` says which have the scale.
    """

    tensor: IntegerTensor
    rows: np.ndarray
    used: np.ndarray


def scale_groups(context: Lowering, node: onnx.NodeProto, tensor: IntegerTensor) -> list[ScaleGroup]:
    """The elements of each scale; the tensor must be affine and not vary along other axes than the last.

    Raises BitfabricError for more than MOST_GROUPS scales.
    """
    groups = []
    for part, rows in _parts(context, tensor, np.arange(tensor.channels)):
        assert part.affine is not None
        slopes = np.broadcast_to(part.affine[0].reshape(-1, part.affine[0].shape[-1])[0], part.low.shape)
        groups += [ScaleGroup(part, rows, slopes == slope) for slope in dict.fromkeys(slopes.tolist())]
    if len(groups) == 1:
        raise _different_scales(node)
    if len(groups) > MOST_GROUPS:
        raise lowering_error(
            node,
            f"its inputs have different scales within one sum, {len(groups)} of them",
            f"use one scale for all inputs of a layer, or concatenate up to {MOST_GROUPS} tensors of one scale each",
        )
    return groups


def _parts(context: Lowering, tensor: IntegerTensor, rows: np.ndarray) -> list[tuple[IntegerTensor, np.ndarray]]:
    """The tensors that were concatenated to a tensor, and the places of their elements; else the tensor itself."""
    joined = context.concatenations.get(tensor.edge)
    if joined is None:
        return [(tensor, rows)]
    count, tensors = joined
    period = sum(each.channels for each in tensors)
    if tensor.channels % period:
        return [(tensor, rows)]
    places, start = np.arange(tensor.channels).reshape(-1, period), 0
    result = []
    for part in tensors:
        own = places[:, start : start + part.channels].ravel()
        start += part.channels
        steps = tuple(_at(each, own) for each in tensor.steps[count:])
        chain = part.reshaped((*tensor.shape[:-1], len(own))).extended(steps, tensor.origins[count:])
        result += _parts(context, chain, rows[own])
    return result


def _at(each: HostStep, rows: np.ndarray) -> HostStep:
    """A step for some elements along the last axis."""
    operands = (value[..., rows] if value.ndim and value.shape[-1] > 1 else value for value in each.operands)
    branches = tuple(tuple(_at(one, rows) for one in branch) for branch in each.branches)
    return replace(each, operands=tuple(operands), branches=branches)


def _different_scales(node: onnx.NodeProto) -> BitfabricError:
    return lowering_error(
        node, "its weights have different scales within one sum", "use one scale for all weights of an output channel"
    )


def sum_of_groups(name: str, node: onnx.NodeProto, parts: Sequence[IntegerTensor | None], terms: int) -> PendingSum:
    """The sum of a layer's parts, which the model computes as one sum of ``terms`` products.

    The model's float32 may add them in any order. So an error of the coefficients that is below the rounding error of
    that sum shows in no result. Raises BitfabricError if a part is None, whose weights have different scales.
    """
    precision = min(FAITHFUL_BITS, max(8, FAITHFUL_BITS - (terms + 8).bit_length()))
    given = [Term(part) for part in parts if part is not None]
    if len(given) < len(parts):
        raise _different_scales(node)
    return pending_sum(f"{name}_add", given, node.name, True, precision)
