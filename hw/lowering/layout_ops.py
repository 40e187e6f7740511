"""Reshape and Transpose steps: how they rearrange elements, and how constant operands are moved across them.

All arrays here have a leading axis that no layout operator touches: the batch, or an operand's own leading axis (of
size one, or the thresholds of a MultiThreshold).
"""

from collections.abc import Iterable

import numpy as np

from hw.host.steps import HostStep, step

Shape = tuple[int, ...]
LayoutOps = tuple[HostStep, ...]


def shape_after(layout_ops: Iterable[HostStep], shape: Shape) -> Shape:
    """The shape of frames after ``layout_ops``; ``shape`` is their shape before, both without the batch."""
    for each in layout_ops:
        if each.op == "Reshape":
            shape = dict(each.attributes)["shape"]
        else:
            shape = tuple(shape[axis - 1] for axis in dict(each.attributes)["perm"][1:])
    return shape


def element_order(layout_ops: Iterable[HostStep], shape: Shape) -> np.ndarray:
    """For each element after ``layout_ops``, its row-major position in a frame of ``shape`` before them."""
    order = np.arange(int(np.prod(shape))).reshape(1, *shape)
    for each in layout_ops:
        order = each(order)
    return order[0]


def inverse(layout_ops: LayoutOps, shape: Shape) -> LayoutOps:
    """The layout operators that undo ``layout_ops`` on frames that had ``shape`` before them."""
    undo: list[HostStep] = []
    for each in layout_ops:
        if each.op == "Reshape":
            undo.append(step("Reshape", shape=shape))
        else:
            perm = dict(each.attributes)["perm"]
            undo.append(step("Transpose", perm=tuple(int(axis) for axis in np.argsort(perm))))
        shape = shape_after((each,), shape)
    return tuple(reversed(undo))


def simplified(layout_ops: LayoutOps, shape: Shape) -> LayoutOps:
    """The same rearrangement of frames of ``shape`` with fewer operators; none if it is the identity.

    Adjacent operators of one kind are merged, and operators that change nothing are dropped.
    """
    result: list[HostStep] = []
    shapes = [shape]
    for each in layout_ops:
        if result and result[-1].op == each.op:
            if each.op == "Transpose":
                first, second = (dict(one.attributes)["perm"] for one in (result[-1], each))
                each = step("Transpose", perm=tuple(first[axis] for axis in second))
            result.pop()
            shapes.pop()
        after = shape_after((each,), shapes[-1])
        perm = dict(each.attributes).get("perm", ())
        if list(perm) != sorted(perm) or after != shapes[-1]:
            result.append(each)
            shapes.append(after)
    if shapes[-1] == shape and result:
        order = element_order(result, shape)
        if np.array_equal(order.ravel(), np.arange(order.size)):
            return ()
    return tuple(result)


def channel_last(rank: int) -> HostStep:
    """The Transpose from channels on the first of ``rank`` axes (without the batch) to channels on the last."""
    return step("Transpose", perm=(0, *range(2, rank + 1), 1))


def channel_first(rank: int, axis: int = 0) -> HostStep:
    """The Transpose from channels on the last of ``rank`` axes to channels on ``axis``, counted without the batch."""
    perm = list(range(1, rank))
    perm.insert(axis, rank)
    return step("Transpose", perm=(0, *perm))


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
        operand = each(operand)
    return compressed(operand)


def before_layout_ops(operand: np.ndarray, layout_ops: LayoutOps, shape: Shape) -> np.ndarray:
    """An operand that broadcasts after ``layout_ops``, rearranged to broadcast against frames of ``shape`` before."""
    return through_layout_ops(operand, inverse(layout_ops, shape), shape_after(layout_ops, shape))
