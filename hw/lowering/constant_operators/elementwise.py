"""Element-wise operators on constants."""

from collections.abc import Callable

import numpy as np

from hw.lowering.constant_operators.node import Array, ConstantNode, Operator, same_type


def unary(function: Callable[[Array], Array]) -> Operator:
    return lambda call: function(call[0])


def rounded(function: Callable[[Array], Array]) -> Operator:
    """A function that is computed in float64 and rounded once."""

    def compute(call: ConstantNode) -> Array:
        x = call[0]
        if x.dtype.kind != "f":
            raise TypeError(f"{x.dtype} is not floating point")
        return function(x.astype(np.float64)).astype(x.dtype)

    return compute


def binary(function: Callable[[Array, Array], Array]) -> Operator:
    def compute(call: ConstantNode) -> Array:
        a, b = call[0], call[1]
        if call.version < 7 and (call.get("axis") is not None or a.shape != b.shape):
            raise call.refused("it broadcasts as operator sets before 7 do", "export it with operator set 7 or later")
        same_type(a, b)
        call.limited(np.broadcast_shapes(a.shape, b.shape))
        return function(a, b)

    return compute


def several(function: Callable[[Array, Array], Array]) -> Operator:
    """A function of any number of operands, from the left to the right."""

    def compute(call: ConstantNode) -> Array:
        result = call[0]
        for i in range(1, len(call.operands)):
            same_type(result, call[i])
            call.limited(np.broadcast_shapes(result.shape, call[i].shape))
            result = function(result, call[i])
        return result

    return compute


def divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return a / b
    if np.any(b == 0):
        raise ZeroDivisionError("an integer is divided by zero")
    quotient = np.abs(a) // np.abs(b)  # ONNX divides integers towards zero.
    return np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype)


def power(call: ConstantNode) -> Array:
    base, exponent = call[0], call[1]
    call.limited(np.broadcast_shapes(base.shape, exponent.shape))
    if base.dtype.kind != "f":
        if exponent.dtype.kind == "f" or np.any(exponent < 0):
            raise TypeError("an integer is raised to a fraction")
        return np.power(base, exponent.astype(base.dtype))
    if exponent.size == 1 and exponent.ravel()[0] in (2, 3):
        shape = np.broadcast_shapes(base.shape, exponent.shape)
        return (base * base if exponent.ravel()[0] == 2 else base * base * base).reshape(shape)
    return np.power(base.astype(np.float64), exponent.astype(np.float64)).astype(base.dtype)


def modulo(call: ConstantNode) -> Array:
    a, b = call[0], call[1]
    same_type(a, b)
    call.limited(np.broadcast_shapes(a.shape, b.shape))
    if a.dtype.kind != "f" and np.any(b == 0):
        raise ZeroDivisionError("an integer is divided by zero")
    if a.dtype.kind == "f" and not call.get("fmod", 0):
        raise TypeError("fmod = 0 with floating point")
    return np.fmod(a, b) if call.get("fmod", 0) else np.mod(a, b)


def where(call: ConstantNode) -> Array:
    condition, a, b = call[0], call[1], call[2]
    same_type(a, b)
    call.limited(np.broadcast_shapes(condition.shape, a.shape, b.shape))
    return np.where(condition.astype(bool), a, b)


def clip(call: ConstantNode) -> Array:
    x = call[0]
    low, high = (
        (call.optional(1), call.optional(2)) if call.version >= 11 else (call.get("min", None), call.get("max", None))
    )
    for bound, function in ((low, np.maximum), (high, np.minimum)):
        if bound is not None:
            x = function(x, np.asarray(bound, x.dtype))
    return x
