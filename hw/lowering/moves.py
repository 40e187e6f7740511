"""Operators that move elements: they select parts of an axis, reorder it, or exchange space and depth.

Each is a sequence of layout operators (Gather with constant indices, Reshape, Transpose). Where these keep every
element they cost nothing: they are part of the chain, as Reshape and Transpose nodes are. What leaves elements out is
a Select kernel, on the integers before the quantizer that follows; what repeats them is a Reorder kernel. Before the
input's quantizer the host does it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import numpy as np
import onnx

from hw.host.operators import QUANTIZERS
from hw.host.steps import HostStep, run, step
from hw.kernels.select.kernel import Select
from hw.lowering import parts
from hw.lowering.call import Call
from hw.lowering.context import Lowering
from hw.lowering.gate.limits import MAX_MOVES
from hw.lowering.handlers import Handler, Handlers, with_axis_last
from hw.lowering.integer_tensor import HostTensor, IntegerTensor, Steps
from hw.lowering.layout_ops import element_order, gather, layout_of, permuted_channels, permutes
from hw.lowering.refusal import lowering_error
from hw.lowering.reordering import reordered
from hw.lowering.rounding import Interval, Product

STREAM_SHAPES = 2
"""Shapes of a stream along whose axes a Select takes elements, before it takes them one by one."""
MOST_MASKED = 1 << 12
"""Elements of a frame up to which a Select may take its elements one by one, by no axes of the frame."""


def _gather(call: Call, output: int) -> Steps:
    axis, indices = call.axis(0), np.asarray(call.required(1), np.int64)
    size = call.shape[axis]
    taken = gather(axis, np.where(indices < 0, indices + size, indices).ravel())
    return (taken,) if indices.ndim == 1 else (taken, step("Reshape", shape=call.output_shape[1:]))


def _slice(call: Call, output: int) -> Steps:
    if call.version < 10:
        given = [call.get(name, None) for name in ("starts", "ends", "axes")] + [None]
    else:
        given = [call.operand(index) for index in range(1, 5)]
    starts, ends = np.ravel(given[0]).tolist(), np.ravel(given[1]).tolist()
    axes, steps = (None if each is None else np.ravel(each).tolist() for each in given[2:])
    axes, steps = axes or [*range(len(starts))], steps or [1] * len(starts)
    found: list[HostStep] = []
    for start, end, axis, by in zip(starts, ends, axes, steps, strict=True):
        size = call.shape[axis]
        indices = parts.sliced(size, start, end, by)
        if axis % len(call.shape) == 0:
            if indices != range(size) or 0 < end <= size:
                raise call.lowering_error("it works along the batch", "use another axis")
        elif indices != range(size):
            found.append(gather(axis % len(call.shape), indices))
    return tuple(found)


def _split(call: Call, output: int) -> Steps:
    axis, count = call.axis(0), len(call.node.output)
    given = call.get("split", None) if call.version < 13 else call.operand(1)
    sizes = parts.split_sizes(
        call.shape[axis], count, None if given is None else [int(size) for size in np.ravel(given)], call.version >= 18
    )
    start = sum(sizes[:output])
    return (gather(axis, range(start, start + sizes[output])),)


def _depth_to_space(call: Call, output: int) -> Steps:
    """Blocks of channels become blocks of positions; the mode says whether a block's channels are outermost (DCR)."""
    _, depth, height, width = call.shape
    size = int(call.get("blocksize", 1))
    channels = depth // size**2
    if str(call.get("mode", "DCR")) == "DCR":
        split, perm = (size, size, channels, height, width), (0, 3, 4, 1, 5, 2)
    else:
        split, perm = (channels, size, size, height, width), (0, 1, 4, 2, 5, 3)
    return step("Reshape", shape=split), step("Transpose", perm=perm), step("Reshape", shape=call.output_shape[1:])


def _space_to_depth(call: Call, output: int) -> Steps:
    _, channels, height, width = call.shape
    size = int(call.get("blocksize", 1))
    split = channels, height // size, size, width // size, size
    perm = 0, 3, 5, 1, 2, 4
    return step("Reshape", shape=split), step("Transpose", perm=perm), step("Reshape", shape=call.output_shape[1:])


def _tile(call: Call, output: int) -> Steps:
    return _repeated(call, call.shape, [int(count) for count in call.required(1).ravel()])


def _expand(call: Call, output: int) -> Steps:
    """Axes of size 1 are repeated."""
    shape = (1,) * (len(call.output_shape) - len(call.shape)) + call.shape
    counts = [after // before for before, after in zip(shape, call.output_shape, strict=True)]
    return _repeated(call, shape, counts)


def _repeated(call: Call, shape: tuple[int, ...], counts: list[int]) -> Steps:
    """The layout operators that repeat each axis of ``shape``, which has the data's elements."""
    if counts[0] != 1 or shape[0] != 1:
        raise call.lowering_error("it works along the batch", "use another axis")
    repeated = [
        gather(axis, [*range(size)] * count)
        for axis, (size, count) in enumerate(zip(shape, counts, strict=True))
        if count > 1
    ]
    return (step("Reshape", shape=shape[1:]), *repeated) if shape != call.shape else tuple(repeated)


MOVES: Mapping[str, Callable[[Call, int], Steps]] = {
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Gather": _gather,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Tile": _tile,
}
"""Operator -> function that converts an output of a node to layout operators."""


def _move(context: Lowering, node: onnx.NodeProto) -> None:
    """A node of MOVES: every output that is used."""
    for index, name in enumerate(node.output):
        if name in context.used:
            call = context.call(node, index)
            context.values[name] = moved(context, node, MOVES[node.op_type](call, index))


def moved(context: Lowering, node: onnx.NodeProto, steps: Steps) -> HostTensor | IntegerTensor:
    """The first input of a node after layout operators that may leave elements out."""
    value = context.values[node.input[0]]
    assert isinstance(value, HostTensor | IntegerTensor)
    if value.host_steps or permutes(steps, value.tensor_shape):
        result = value.then(steps, node.name)
        if len(result.layout_ops) > MAX_MOVES:
            raise lowering_error(node, "too many operators follow each other without a layer between them", "fold them")
        return result
    if isinstance(value, HostTensor) and is_float(value):
        return value.selected(steps)
    tensor = context.integers(node.input[0], node)
    order = run(steps, element_order(tensor.layout_ops, tensor.shape)[None])[0]
    image = context.images.get(node.input[0])
    if image is not None and len(tensor.tensor_shape) > 1 and _by_axes(tensor, order, STREAM_SHAPES) is None:
        # Left out of a stream in another order (behind a DepthToSpace), elements would leave one that no loops count.
        axis = image % (len(tensor.tensor_shape) + 1) - 1
        tensor = with_axis_last(context, node, tensor, axis, permuted=True)
        order = run(steps, element_order(tensor.layout_ops, tensor.shape)[None])[0]
    return selected(context, node, tensor, order)


def is_float(value: HostTensor) -> bool:
    """Whether the host computes a tensor of floating-point numbers, before the input's quantizer."""
    return value.dtype is None and not any(each.op in QUANTIZERS for each in value.steps)


def selected(context: Lowering, node: onnx.NodeProto, tensor: IntegerTensor, order: np.ndarray) -> IntegerTensor:
    """The elements at positions ``order`` of a stream's frame, as a stream without the others."""
    found = _by_axes(tensor, order)
    if found is None:
        axis = 0 if order.ndim > 1 else order.ndim - 1
        result = reordered(context, node, tensor, np.moveaxis(order, axis, -1))
        return replace(result, layout_ops=permuted_channels(np.arange(result.channels), order.ndim, axis))
    tensor, kept = found
    kernel = Select(tensor.shape, kept, tensor.dtype)
    edge = context.append(context.name("select"), kernel, tensor.edge)
    rank = np.full(prod(tensor.shape), -1)
    taken = kernel.execute(np.arange(rank.size).reshape(1, *tensor.shape))[0]
    rank[taken.ravel()] = np.arange(taken.size)

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        low, high = (kernel.execute(side.reshape(-1, *kernel.shape))[0] for side in sources[0])
        return low, high

    context.products[edge] = Product((tensor,), bounds, len(tensor.steps))
    channels = np.array(kept[-1])
    return replace(
        tensor,
        shape=taken.shape[1:],
        steps=tuple(_kept(each, kept) for each in tensor.steps),
        layout_ops=layout_of(rank[order], taken.shape[1:]),
        edge=edge,
        low=tensor.low[channels],
        high=tensor.high[channels],
        restore_ops=(),
    )


def _by_axes(
    tensor: IntegerTensor, order: np.ndarray, shapes_tried: int | None = None
) -> tuple[IntegerTensor, tuple[tuple[int, ...], ...]] | None:
    """The tensor, as a stream of the shape along whose axes the elements at positions ``order`` are selected, and the
    indices of each axis; None where there is no such shape, or elements are taken several times.

    ``shapes_tried`` limits the shapes: the stream's own, its positions by channels, and single elements.
    """
    taken = np.zeros(prod(tensor.shape), bool)
    taken[order.ravel()] = True
    if order.size > np.count_nonzero(taken):
        return None
    shapes = [tensor.shape, (prod(tensor.shape[:-1]), tensor.channels)]
    if taken.size <= MOST_MASKED:
        shapes.append((taken.size,))
    for shape in shapes[:shapes_tried]:
        mask = taken.reshape(shape)
        axes = range(mask.ndim)
        kept = [np.flatnonzero(mask.any(axis=tuple(a for a in axes if a != axis))) for axis in axes]
        if prod(map(len, kept)) == order.size:
            return tensor.reshaped(shape), tuple(tuple(indices.tolist()) for indices in kept)
    return None


def _kept(each: HostStep, kept: tuple[tuple[int, ...], ...]) -> HostStep:
    """A step whose operands are those of the kept indices along each axis."""

    def part(operand: np.ndarray) -> np.ndarray:
        lead = operand.ndim - len(kept)
        for axis, indices in enumerate(kept):
            if axis + lead >= 0 and operand.shape[axis + lead] > 1:
                operand = operand.take(indices, axis + lead)
        return operand

    return replace(each, operands=tuple(map(part, each.operands)))


HANDLERS: Handlers = {("", op): Handler(_move) for op in MOVES}
