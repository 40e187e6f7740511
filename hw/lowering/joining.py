"""Sums of tensors, concatenation along channels, and nearest-neighbour resizing."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx
from qonnx.core.datatype import DataType

from hw.kernels.add.kernel import Add
from hw.kernels.concat.kernel import Concat
from hw.kernels.upsample.kernel import Upsample
from hw.lowering.affine import affine_steps
from hw.lowering.call import Call
from hw.lowering.context import Lowering
from hw.lowering.domains import onnx_keys
from hw.lowering.handlers import Handler, Handlers, affine_by_channel, output_tensor, with_axis_last
from hw.lowering.integer_tensor import IntegerTensor
from hw.lowering.joined_bits import joined_bits
from hw.lowering.layout_ops import channels_of, element_order, permuted_channels
from hw.lowering.pending_sum import PendingSum, Term, pending_sum
from hw.lowering.refusal import lowering_error
from hw.lowering.reordering import channel_rows, reordered
from hw.lowering.rounding import Interval, Product, summed

LARGEST = (1 << 15) - 1
"""The largest term of a ratio of scales for which a sum is an integer times one scale."""


def _add(context: Lowering, node: onnx.NodeProto) -> None:
    """``a + b`` or ``a - b``, or the sum of several tensors, in the model's order."""
    sign = -1 if node.op_type == "Sub" else 1
    total = context.affine_integers(node.input[0], node, sums=True)
    for name in node.input[1:]:
        total = _sum(context, node, total, context.affine_integers(name, node, sums=True), sign)
    context.values[node.output[0]] = total


def _sum(context: Lowering, node: onnx.NodeProto, a: IntegerTensor, b: IntegerTensor, sign: int) -> IntegerTensor:
    """``a + sign * b``.

    It is ``(p a + q b) * slope + offset`` of integers if their scales have a small ratio p : q that all channels share;
    otherwise its coefficients depend on what reads it.
    """
    if a.tensor_shape != b.tensor_shape:
        raise lowering_error(
            node, f"it adds {b.tensor_shape} to {a.tensor_shape}", "add tensors of equal shape: nothing broadcasts"
        )
    a, b = _align_operands(context, node, a, b)
    (slope_a, offset_a), (slope_b, offset_b) = affine_by_channel(a), affine_by_channel(b)
    pairs = zip(slope_a, slope_b, strict=True)
    ratios = {first / second if second else Fraction(0) for first, second in pairs}
    ratio = ratios.pop()
    small = not ratios and ratio != 0 and max(abs(ratio.numerator), ratio.denominator) <= LARGEST
    if not small or isinstance(a, PendingSum) or isinstance(b, PendingSum):
        return pending_sum(context.name("add"), (Term(a), Term(b, sign)), node.name)
    factors = ratio.numerator, sign * ratio.denominator
    kernel = Add(a.shape, (a.dtype, b.dtype), factors, input_ranges=(a.range, b.range))
    edge = context.append(context.name("add"), kernel, a.edge, b.edge)
    steps = affine_steps(len(a.shape), slope_a / factors[0], offset_a + sign * offset_b)
    terms = summed(lambda values: np.stack([v.reshape(-1, *a.shape) for v in values], -1), np.ones(2), False)
    context.products[edge] = Product((a, b), terms, len(steps))
    ends = [np.sort([factor * w.low, factor * w.high], axis=0) for factor, w in zip(factors, (a, b), strict=True)]
    bounds = ends[0][0] + ends[1][0], ends[0][1] + ends[1][1]
    return output_tensor(node, edge, kernel, bounds, steps, a.layout_ops)


def _align_operands(
    context: Lowering, node: onnx.NodeProto, a: IntegerTensor, b: IntegerTensor
) -> tuple[IntegerTensor, IntegerTensor]:
    """Two tensors of equal shape as streams of equal shape, with their elements in the same order.

    Where the orders differ, one stream is reordered: the second, unless it alone is an image with channels innermost.
    """
    orders = [element_order(each.layout_ops, each.shape) for each in (a, b)]
    if np.any(orders[0] != orders[1]):
        images = [order.ndim == 3 and channel_rows(order, 0) is not None for order in orders]
        if images == [False, True]:
            a = _in_order_of(context, node, a, b)
        else:
            b = _in_order_of(context, node, b, a)
    b = b.reshaped(a.shape)
    if a.varies_spatially or b.varies_spatially:
        a, b = (each.reshaped((int(np.prod(each.shape)),)) for each in (a, b))
    return a, b


def _in_order_of(context: Lowering, node: onnx.NodeProto, moved: IntegerTensor, kept: IntegerTensor) -> IntegerTensor:
    """A tensor as a stream with the shape and the order of another stream, for a tensor of the same shape."""
    order = np.empty(kept.shape, np.int64)
    order.flat[element_order(kept.layout_ops, kept.shape).ravel()] = element_order(
        moved.layout_ops, moved.shape
    ).ravel()
    return replace(reordered(context, node, moved, order), layout_ops=kept.layout_ops)


def _concat(context: Lowering, node: onnx.NodeProto) -> None:
    """Concatenation along channels; each channel keeps its own scale and offset."""
    axis = int(next(a.i for a in node.attribute if a.name == "axis"))
    out = context.shape(node.output[0])
    axis += len(out) if axis < 0 else 0
    if axis == 0:
        raise lowering_error(node, "it works along the batch", "concatenate channels")
    tensors = tuple(
        with_axis_last(context, node, context.affine_integers(name, node, codes=True), axis - 1, permuted=True)
        for name in node.input
    )
    if len(tensors) == 1:
        context.values[node.output[0]] = tensors[0]
        return
    edge = _joined_bits(context, tensors)
    kernel = Concat(tuple(each.shape for each in tensors), tuple(each.dtype for each in tensors))
    if edge is None:
        edge = context.append(context.name("concat"), kernel, *(each.edge for each in tensors))
    slope, offset = (np.concatenate(parts) for parts in zip(*map(affine_by_channel, tensors), strict=True))
    steps = affine_steps(len(tensors[0].shape), slope, offset)

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        low, high = (np.concatenate([source[side] for source in sources], -1) for side in (0, 1))
        return low, high

    context.products[edge] = Product(tensors, bounds, len(steps))
    low, high = (np.concatenate(ends) for ends in zip(*((each.low, each.high) for each in tensors), strict=True))
    starts = np.cumsum([0, *(each.channels for each in tensors[:-1])])
    orders = (channels_of(each.layout_ops, each.channels) for each in tensors)
    channels = np.concatenate([start + order for start, order in zip(starts, orders, strict=True)])
    layout_ops = permuted_channels(channels, len(tensors[0].shape), axis - 1)
    result = output_tensor(node, edge, kernel, (low, high), steps, layout_ops)
    context.concatenations[edge] = len(result.steps), tensors
    context.values[node.output[0]] = replace(result, number=tensors[0].number)


def _joined_bits(context: Lowering, tensors: tuple[IntegerTensor, ...]) -> str | None:
    """The edge of vectors of bits that lookup layers join; None for other tensors."""
    if any(each.dtype != DataType["BINARY"] or len(each.shape) > 1 for each in tensors):
        return None
    return joined_bits(context, "skip", [each.edge for each in tensors])


FLOORS = {
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
    ("pytorch_half_pixel", "round_prefer_ceil"),
}
"""Coordinate and rounding modes in which an integer factor repeats every element."""


def _upsample(context: Lowering, node: onnx.NodeProto) -> None:
    """Nearest-neighbour enlargement by integer factors."""
    call = context.call(node)
    mode = str(call.get("mode", "nearest"))
    if mode != "nearest":
        raise lowering_error(node, f"it interpolates ({mode})", "use mode nearest")
    how = (
        str(call.get("coordinate_transformation_mode", "half_pixel")),
        str(call.get("nearest_mode", "round_prefer_floor")),
    )
    if node.op_type == "Resize" and context.version(node) >= 11 and how not in FLOORS:
        raise lowering_error(
            node, f"it takes neighbours by {' and '.join(how)}", "use asymmetric and floor, as PyTorch does"
        )
    before, after = call.shape, call.output_shape
    whole = len(before) == len(after) and not any(new % old for old, new in zip(before, after, strict=True))
    factors = tuple(new // old for old, new in zip(before, after, strict=True)) if whole else ()
    if not whole or max(factors[:2]) > 1 or len(before) not in (3, 4):
        raise lowering_error(node, f"it takes {before} to {after}", "enlarge height and width by whole factors")
    _check_scales(call, factors)
    tensor = with_axis_last(context, node, context.integers(node.input[0], node), permuted=True)
    kernel = Upsample(tensor.shape, factors[2:], tensor.dtype)
    edge = context.append(context.name("upsample"), kernel, tensor.edge)

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        low, high = (kernel.execute(side)[0] for side in sources[0])
        return low, high

    context.products[edge] = Product((tensor,), bounds, len(tensor.steps))
    stream = kernel.outputs()[0]
    context.values[node.output[0]] = IntegerTensor(
        stream.shape, tensor.steps, tensor.origins, tensor.layout_ops,
        number=tensor.number, edge=edge, dtype=stream.dtype, low=tensor.low, high=tensor.high,
    )  # fmt: skip


def _check_scales(call: Call, factors: tuple[int, ...]) -> None:
    """Raise BitfabricError for scales that give whole factors only after rounding: they repeat elements unevenly."""
    if call.node.op_type == "Resize":
        scales = call.operand(2 if call.version >= 11 else 1)
    else:
        scales = call.operand(1) if call.version >= 9 else np.asarray(call.get("scales", ()))
    axes = call.get("axes", None)
    expected = factors if axes is None else [factors[axis] for axis in axes]
    if scales is not None and scales.size and np.any(scales != np.asarray(expected)):
        raise call.lowering_error(
            f"its scales {scales.tolist()} are no whole numbers", "enlarge height and width by whole factors"
        )


HANDLERS: Handlers = {
    ("", "Concat"): Handler(_concat),
    **dict.fromkeys(onnx_keys("Resize", "Upsample"), Handler(_upsample, spatial=True)),
}
JOINS: Handlers = dict.fromkeys(onnx_keys("Add", "Sub", "Sum"), Handler(_add))
"""Handlers of operators that are element-wise steps, unless they have several data inputs."""
