"""Operators on constants that read or change shapes, and those that only move elements."""

from math import prod

import numpy as np
import onnx
from onnx import numpy_helper

from hw.lowering import parts
from hw.lowering.constant_operators.node import Array, ConstantNode, same_type


def shape(call: ConstantNode) -> Array:
    shape = call[0].shape
    start, end = int(call.get("start", 0)), call.get("end")
    return np.array(shape[start : None if end is None else int(end)], np.int64)


def constant(call: ConstantNode) -> Array:
    known = {each.name: each for each in call.node.attribute}
    if "value" in known:
        return numpy_helper.to_array(known["value"].t)
    for name, dtype in (("float", np.float32), ("floats", np.float32), ("int", np.int64), ("ints", np.int64)):
        if f"value_{name}" in known:
            return np.array(onnx.helper.get_attribute_value(known[f"value_{name}"]), dtype)
    raise call.refused("it holds no numbers", "export the model again")


def constant_of_shape(call: ConstantNode) -> Array:
    value = call.get("value")
    fill = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    return np.full(call.limited(call[0].ravel().tolist()), fill.ravel()[0], fill.dtype)


def arange(call: ConstantNode) -> Array:
    start, limit, delta = (call[i].ravel()[0] for i in range(3))
    if delta == 0:
        raise ZeroDivisionError("its step is 0")
    count = max(0, int(np.ceil((float(limit) - float(start)) / float(delta))))
    call.limited((count,))
    return (start + np.arange(count).astype(call[0].dtype) * delta).astype(call[0].dtype)


def reshape(call: ConstantNode) -> Array:
    x = call[0]
    given = [int(size) for size in (call[1].ravel() if call.version >= 5 else call.get("shape", ()))]
    if not call.get("allowzero", 0):
        given = [x.shape[i] if size == 0 else size for i, size in enumerate(given)]
    return x.reshape(given)


def flatten(call: ConstantNode) -> Array:
    x, axis = call[0], int(call.get("axis", 1))
    axis += x.ndim if axis < 0 else 0
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def squeeze(call: ConstantNode) -> Array:
    axes = call.integers(1, "axes", 13)
    return np.squeeze(call[0], axes)


def unsqueeze(call: ConstantNode) -> Array:
    axes = call.integers(1, "axes", 13)
    if axes is None:
        raise call.refused("it lacks its axes", "export the model again")
    call.limited((1,) * (call[0].ndim + len(axes)))
    return np.expand_dims(call[0], axes)


def transpose(call: ConstantNode) -> Array:
    return np.transpose(call[0], call.get("perm", None))


def concat(call: ConstantNode) -> Array:
    given = [call[i] for i in range(len(call.operands))]
    axis = int(call.get("axis", 1))
    for each in given:
        same_type(each, given[0])
    call.limited((sum(each.size for each in given),))
    return np.concatenate(given, axis)


def gather(call: ConstantNode) -> Array:
    x, axis = call[0], int(call.get("axis", 0))
    axis += x.ndim if axis < 0 else 0
    call.limited((*x.shape[:axis], *call[1].shape, *x.shape[axis + 1 :]))
    return np.take(x, call[1], axis)


def gather_elements(call: ConstantNode) -> Array:
    return np.take_along_axis(call[0], call[1], int(call.get("axis", 0)))


def sliced(call: ConstantNode) -> Array:
    x = call[0]
    starts, ends = (call.integers(i + 1, name, 10) for i, name in enumerate(("starts", "ends")))
    if starts is None or ends is None:
        raise call.refused("it lacks its starts or ends", "export the model again")
    axes = call.integers(3, "axes", 10)
    steps = call.integers(4, "steps", 10) if call.version >= 10 else None
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = np.take(x, parts.sliced(x.shape[axis], start, end, step), axis)
    return x


def split(call: ConstantNode) -> list[Array]:
    x, axis = call[0], int(call.get("axis", 0))
    given = call.integers(1, "split", 13)
    sizes = parts.split_sizes(x.shape[axis], len(call.node.output), given, call.version >= 18)
    return np.split(x, np.cumsum(sizes)[:-1].tolist(), axis)


def expand(call: ConstantNode) -> Array:
    shape = np.broadcast_shapes(call[0].shape, call.limited(call[1].ravel().tolist()))
    return np.broadcast_to(call[0], call.limited(shape)).copy()


def tile(call: ConstantNode) -> Array:
    counts = [int(count) for count in call[1].ravel()]
    call.limited([size * count for size, count in zip(call[0].shape, counts, strict=True)])
    return np.tile(call[0], counts)


def pad(call: ConstantNode) -> Array:
    x, pads = call[0], call.integers(1, "pads", 11)
    fill = call.optional(2) if call.version >= 11 else np.asarray(call.get("value", 0.0))
    axes = call.integers(3, "axes", 18) if call.version >= 18 else None
    if str(call.get("mode", "constant")) != "constant" or pads is None or min(pads, default=0) < 0:
        raise call.refused("it pads constants with something else than a value", "export the padded constant")
    axes = tuple(range(x.ndim)) if axes is None else axes
    around = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        around[axis] = (pads[i], pads[len(axes) + i])
    call.limited([size + sum(pad) for size, pad in zip(x.shape, around, strict=True)])
    return np.pad(x, around, constant_values=0 if fill is None else np.asarray(fill).ravel()[0])


def identity(call: ConstantNode) -> Array:
    return call[0]


def dropout(call: ConstantNode) -> list[Array]:
    training = call.optional(2) if call.version >= 12 else None
    if (training is not None and bool(training.ravel()[0])) or (call.version < 7 and not call.get("is_test", 0)):
        raise call.refused("it is in training mode, where it drops values at random", "call model.eval() before export")
    return [call[0], np.ones(call[0].shape, bool)]
