"""Reshape and Transpose steps: where they take elements, and how operands pass them.

All arrays here have a leading axis that no move touches: the batch, one of an operand's, or its thresholds.
"""

from collections.abc import Iterable

import numpy as np

from hw.host.steps import HostStep, step

Shape = tuple[int, ...]
Moves = tuple[HostStep, ...]


def moved_shape(moves: Iterable[HostStep], shape: Shape) -> Shape:
    """The shape behind ``moves`` of frames of ``shape``, both without the batch."""
    for move in moves:
        if move.op == "Reshape":
            shape = dict(move.attributes)["shape"]
        else:
            shape = tuple(shape[axis - 1] for axis in dict(move.attributes)["perm"][1:])
    return shape


def element_order(moves: Iterable[HostStep], shape: Shape) -> np.ndarray:
    """For each element behind ``moves`` its row-major position in ``shape``."""
    order = np.arange(int(np.prod(shape))).reshape(1, *shape)
    for move in moves:
        order = move(order)
    return order[0]


def undone(moves: Moves, shape: Shape) -> Moves:
    """The moves that take frames behind ``moves`` back to ``shape``."""
    back: list[HostStep] = []
    for move in moves:
        if move.op == "Reshape":
            back.append(step("Reshape", shape=shape))
        else:
            perm = dict(move.attributes)["perm"]
            back.append(step("Transpose", perm=tuple(int(axis) for axis in np.argsort(perm))))
        shape = moved_shape((move,), shape)
    return tuple(reversed(back))


def simplified(moves: Moves, shape: Shape) -> Moves:
    """The same moves in as few steps as are plain to see; none where every element stays where it is."""
    result: list[HostStep] = []
    shapes = [shape]
    for move in moves:
        if result and result[-1].op == move.op:
            if move.op == "Transpose":
                first, second = (dict(each.attributes)["perm"] for each in (result[-1], move))
                move = step("Transpose", perm=tuple(first[axis] for axis in second))
            result.pop()
            shapes.pop()
        after = moved_shape((move,), shapes[-1])
        perm = dict(move.attributes).get("perm", ())
        if list(perm) != sorted(perm) or after != shapes[-1]:
            result.append(move)
            shapes.append(after)
    if shapes[-1] == shape and result:
        order = element_order(result, shape)
        if np.array_equal(order.ravel(), np.arange(order.size)):
            return ()
    return tuple(result)


def channel_last(rank: int) -> HostStep:
    """From channels on the first of ``rank`` axes (besides the batch) to channels on the last one."""
    return step("Transpose", perm=(0, *range(2, rank + 1), 1))


def channel_first(rank: int, axis: int = 0) -> HostStep:
    """From channels on the last of ``rank`` axes to channels on ``axis``, counted without the batch."""
    perm = list(range(1, rank))
    perm.insert(axis, rank)
    return step("Transpose", perm=(0, *perm))


def compressed(operand: np.ndarray) -> np.ndarray:
    """An operand without the repetitions along its axes (but the leading one): they broadcast."""
    for axis in range(1, operand.ndim):
        first = operand.take([0], axis)
        if operand.shape[axis] > 1 and np.all(operand == first):
            operand = first
    return operand


def through_moves(operand: np.ndarray, moves: Moves, shape: Shape) -> np.ndarray:
    """An operand that broadcasts against frames of ``shape``, as it broadcasts against them behind ``moves``."""
    if operand.size == 1:
        return operand.reshape((1,) * (1 + len(moved_shape(moves, shape))))
    operand = operand.reshape((1,) * (1 + len(shape) - operand.ndim) + operand.shape)
    if any(move.op == "Reshape" for move in moves):
        operand = np.broadcast_to(operand, (len(operand), *shape))
    for move in moves:
        operand = move(operand)
    return compressed(operand)


def against_moves(operand: np.ndarray, moves: Moves, shape: Shape) -> np.ndarray:
    """An operand that broadcasts behind ``moves``, as it broadcasts against the frames of ``shape`` before them."""
    return through_moves(operand, undone(moves, shape), moved_shape(moves, shape))
