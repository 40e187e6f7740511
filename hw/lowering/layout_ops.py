"""Reshape, Transpose and Gather steps: how they rearrange elements, and how constant operands are moved across them.

All arrays here have a leading axis that no layout operator touches: the batch, or an operand's own leading axis (of
size one, or the thresholds of a MultiThreshold). The layout operators of a chain keep every element, so a Gather among
them permutes an axis; what leaves elements out is a kernel (``hw.lowering.moves``).
"""

from collections.abc import Iterable

import numpy as np

from hw.host.steps import HostStep, step

Shape = tuple[int, ...]
LayoutOps = tuple[HostStep, ...]


def shape_after(layout_ops: Iterable[HostStep], shape: Shape) -> Shape:
    """The shape of frames after ``layout_ops``; ``shape`` is their shape before, both without the batch."""
    for each in layout_ops:
        given = dict(each.attributes)
        if each.op == "Reshape":
            shape = given["shape"]
        elif each.op == "Gather":
            shape = (*shape[: given["axis"] - 1], len(given["indices"]), *shape[given["axis"] :])
        else:
            shape = tuple(shape[axis - 1] for axis in given["perm"][1:])
    return shape


def element_order(layout_ops: Iterable[HostStep], shape: Shape) -> np.ndarray:
    """For each element after ``layout_ops``, its row-major position in a frame of ``shape`` before them."""
    order = np.arange(int(np.prod(shape))).reshape(1, *shape)
    for each in layout_ops:
        order = each(order)
    return order[0]


def permutes(layout_ops: Iterable[HostStep], shape: Shape) -> bool:
    """Whether ``layout_ops`` keep every element of frames of ``shape`` once: whether each Gather permutes its axis."""
    for each in layout_ops:
        given = dict(each.attributes)
        if each.op == "Gather" and sorted(given["indices"]) != list(range(shape[given["axis"] - 1])):
            return False
        shape = shape_after((each,), shape)
    return True


def inverse(layout_ops: LayoutOps, shape: Shape) -> LayoutOps:
    """The layout operators that undo ``layout_ops`` on frames that had ``shape`` before them."""
    undo: list[HostStep] = []
    for each in layout_ops:
        given = dict(each.attributes)
        if each.op == "Reshape":
            undo.append(step("Reshape", shape=shape))
        elif each.op == "Gather":
            undo.append(gather(given["axis"], np.argsort(given["indices"])))
        else:
            undo.append(step("Transpose", perm=tuple(int(axis) for axis in np.argsort(given["perm"]))))
        shape = shape_after((each,), shape)
    return tuple(reversed(undo))


def simplified(layout_ops: LayoutOps, shape: Shape) -> LayoutOps:
    """The same rearrangement of frames of ``shape`` with fewer operators; none if it is the identity.

    Adjacent operators of one kind are merged, and operators that change nothing are dropped.
    """
    result: list[HostStep] = []
    shapes = [shape]
    for each in layout_ops:
        if result and (merged := _merged(result[-1], each)) is not None:
            each = merged
            result.pop()
            shapes.pop()
        after = shape_after((each,), shapes[-1])
        given = dict(each.attributes)
        moved = given.get("perm", given.get("indices", ()))
        if list(moved) != sorted(moved) or after != shapes[-1]:
            result.append(each)
            shapes.append(after)
    if shapes[-1] == shape and result:
        order = element_order(result, shape)
        if np.array_equal(order.ravel(), np.arange(order.size)):
            return ()
    return tuple(result)


def _merged(first: HostStep, second: HostStep) -> HostStep | None:
    """One operator for two adjacent ones; None if they are of different kinds, or along different axes."""
    before, after = dict(first.attributes), dict(second.attributes)
    if first.op != second.op or before.get("axis") != after.get("axis"):
        return None
    if second.op == "Transpose":
        return step("Transpose", perm=tuple(before["perm"][axis] for axis in after["perm"]))
    if second.op == "Gather":
        return gather(after["axis"], [before["indices"][index] for index in after["indices"]])
    return second


def gather(axis: int, indices: Iterable[int]) -> HostStep:
    """The elements at ``indices`` along an axis; the batch is axis 0."""
    return step("Gather", axis=axis, indices=tuple(int(index) for index in indices))


def channel_last(rank: int, axis: int = 0) -> HostStep:
    """The Transpose from channels on ``axis`` of ``rank`` axes, counted without the batch, to channels on the last."""
    return step("Transpose", perm=(0, *(each + 1 for each in range(rank) if each != axis), axis + 1))


def channel_first(rank: int, axis: int = 0) -> HostStep:
    """The Transpose from channels on the last of ``rank`` axes to channels on ``axis``, counted without the batch."""
    perm = list(range(1, rank))
    perm.insert(axis, rank)
    return step("Transpose", perm=(0, *perm))


def channels_of(layout_ops: LayoutOps, channels: int) -> np.ndarray:
    """For each channel of the model's tensor, its channel in the stream, of a tensor from ``with_axis_last``.

    Its layout operators permute the stream's channels at most, and then transpose them to their axis.
    """
    first = layout_ops[0] if layout_ops else None
    indices = dict(first.attributes)["indices"] if first is not None and first.op == "Gather" else range(channels)
    return np.asarray(indices, np.int64)


def permuted_channels(channels: np.ndarray, rank: int, axis: int = 0) -> LayoutOps:
    """The layout operators of a stream with channels on the last of ``rank`` axes, for the inverse of ``channels_of``:
    channel ``i`` of the model is ``channels[i]`` of the stream, and lies on ``axis``, counted without the batch."""
    ordered = np.array_equal(channels, np.arange(len(channels)))
    permuted = () if ordered else (gather(rank, channels),)
    return (*permuted, channel_first(rank, axis)) if axis != rank - 1 else permuted


def layout_of(order: np.ndarray, shape: Shape) -> LayoutOps:
    """Layout operators of frames of ``shape`` with the given ``element_order``, which holds every element once.

    They permute the last axis, or transpose parts of axes; any other order is one permutation of all elements.
    """
    size = order.size
    for axis in range(order.ndim):
        last = np.moveaxis(order, axis, -1)
        rows = last.reshape(-1, last.shape[-1])
        channels = rows[0]
        if last.shape[-1] == shape[-1] and np.array_equal(rows, channels + shape[-1] * np.arange(len(rows))[:, None]):
            reshaped = (step("Reshape", shape=last.shape),) if last.shape != shape else ()
            return simplified((*reshaped, *permuted_channels(channels, order.ndim, axis)), shape)
    loops = strides(order.ravel())
    if loops is not None and min(stride for _, stride in loops) > 0:
        ranked = sorted(range(len(loops)), key=lambda i: -loops[i][1])
        perm = tuple(1 + ranked.index(i) for i in range(len(loops)))
        sizes = tuple(loops[i][0] for i in ranked)
        made = (step("Reshape", shape=sizes), step("Transpose", perm=(0, *perm)), step("Reshape", shape=order.shape))
        return simplified(made, shape)
    flat = (step("Reshape", shape=(size,)), gather(1, order.ravel()), step("Reshape", shape=order.shape))
    return simplified(flat, shape)


def strides(positions: np.ndarray) -> tuple[tuple[int, int], ...] | None:
    """Nested loops that count through ``positions``, as (turns, stride) from the outermost to the innermost.

    None where there are no such loops. The first position is the start of all of them.
    """
    loops: list[tuple[int, int]] = []
    rest = positions.astype(np.int64)
    while len(rest) > 1:
        stride = int(rest[1] - rest[0])
        breaks = np.flatnonzero(np.diff(rest) != stride)
        turns = int(breaks[0]) + 1 if len(breaks) else len(rest)
        if len(rest) % turns:
            return None
        rows = rest.reshape(-1, turns)
        if np.any(rows != rows[:, :1] + stride * np.arange(turns)):
            return None
        loops.append((turns, stride))
        rest = rows[:, 0]
    return tuple(reversed(loops)) or ((1, 1),)


def compressed(operand: np.ndarray) -> np.ndarray:
    """An operand with every axis along which its values repeat (except the leading one) reduced to size one."""
    for axis in range(1, operand.ndim):
        first = operand.take([0], axis)
        if operand.shape[axis] > 1 and np.all(operand == first):
            operand = first
    return operand


def through_layout_ops(operand: np.ndarray, layout_ops: LayoutOps, shape: Shape) -> np.ndarray:
    """An operand that broadcasts against frames of ``shape``, rearranged to broadcast after ``layout_ops``."""
    if operand.size == 1:
        return operand.reshape((1,) * (1 + len(shape_after(layout_ops, shape))))
    operand = operand.reshape((1,) * (1 + len(shape) - operand.ndim) + operand.shape)
    if any(each.op == "Reshape" for each in layout_ops):
        operand = np.broadcast_to(operand, (len(operand), *shape))
    for each in layout_ops:
        if each.op != "Gather" or operand.shape[dict(each.attributes)["axis"]] > 1:
            operand = each(operand)
    return compressed(operand)


def before_layout_ops(operand: np.ndarray, layout_ops: LayoutOps, shape: Shape) -> np.ndarray:
    """An operand that broadcasts after ``layout_ops``, rearranged to broadcast against frames of ``shape`` before."""
    return through_layout_ops(operand, inverse(layout_ops, shape), shape_after(layout_ops, shape))
