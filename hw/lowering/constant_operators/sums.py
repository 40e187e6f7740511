"""Operators with sums on constants, in float64 and rounded once, and the index of an extreme."""

from collections.abc import Callable
from math import prod

import numpy as np

from hw.host import operators
from hw.lowering.constant_operators.elementwise import divide
from hw.lowering.constant_operators.node import Array, ConstantNode, Operator, same_type

MOST_TERMS = 1 << 32
"""Maximum number of products in a product of constant matrices."""


def reduced(function: Callable[..., Array], since: int, finish: Callable[[Array], Array] | None = None) -> Operator:
    """A reduction over ``axes``, which are an input from operator set ``since`` on; floats in float64, rounded once."""

    def compute(call: ConstantNode) -> Array:
        x, axes = call[0], call.integers(1, "axes", since)
        if not axes and axes is not None and not call.get("noop_with_empty_axes", 0):
            axes = None
        if axes is None and call.get("noop_with_empty_axes", 0):
            axes = ()
        wide = x.astype(np.float64) if x.dtype.kind == "f" else x
        result = function(wide, axis=axes, keepdims=bool(call.get("keepdims", 1)))
        return np.asarray(result if finish is None else finish(result)).astype(x.dtype)

    return compute


def mean(x: Array, axis: tuple[int, ...] | None, keepdims: bool) -> Array:
    if x.dtype.kind == "f":
        return x.mean(axis=axis, keepdims=keepdims)
    count = prod(x.shape if axis is None else [x.shape[i] for i in axis])
    return divide(x.sum(axis=axis, keepdims=keepdims), np.asarray(count, x.dtype))


def product(call: ConstantNode) -> Array:
    a, b = call[0], call[1]
    same_type(a, b)
    if a.ndim > 1 and b.ndim > 1:
        call.limited((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))
    if a.size * b.size // max(1, b.shape[0 if b.ndim == 1 else -2]) > MOST_TERMS:
        raise call.refused("it is too large a product of constants", "store its result in the model")
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(a.dtype) if a.dtype.kind == "f" else a @ b


def batch_normalization(call: ConstantNode) -> Array:
    if call.get("training_mode", 0):
        raise call.refused("it is in training mode", "call model.eval() before the export")
    x = call[0]
    along = (1, -1, *(1,) * (x.ndim - 2))
    values = [call[i].reshape(along) for i in range(1, 5)]
    for value in values:
        same_type(x, value)
    return operators.batch_normalization(x, *values, epsilon=float(np.float32(call.get("epsilon", 1e-5))))


def arg(function: Callable[[Array, int], Array]) -> Operator:
    def compute(call: ConstantNode) -> Array:
        x, axis = call[0], int(call.get("axis", 0))
        if call.get("select_last_index", 0):
            index = x.shape[axis] - 1 - function(np.flip(x, axis), axis)
        else:
            index = function(x, axis)
        return (np.expand_dims(index, axis) if call.get("keepdims", 1) else np.asarray(index)).astype(np.int64)

    return compute
