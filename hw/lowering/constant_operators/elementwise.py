"""Element-wise operators on constants."""

from collections.abc import Callable, Mapping

import numpy as np

from hw.host.elementwise import UNARY
from hw.lowering.constant_operators.node import Array, ConstantNode, Operator, same_type


def unary(function: Callable[[Array], Array]) -> Operator:
    return lambda call: function(call[0])


def rounded(function: Callable[[Array], Array]) -> Callable[[ConstantNode], Array]:
    """A function that is computed in float64 and rounded once."""

    def compute(call: ConstantNode) -> Array:
        x = call[0]
        if x.dtype.kind != "f":
            raise TypeError(f"{x.dtype} is not floating point")
        return function(x.astype(np.float64)).astype(x.dtype)

    return compute


NUMBERS: Mapping[str, Mapping[str, float]] = {
    "Celu": {"alpha": 1.0},
    "Elu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "Shrink": {"lambd": 0.5, "bias": 0.0},
    "Swish": {"alpha": 1.0},
    "ThresholdedRelu": {"alpha": 1.0},
}
"""The attributes of functions of one tensor that are numbers, and their defaults."""


def numbers(op: str, get: Callable[[str, float], float]) -> dict[str, float]:
    """The attributes of a function that are numbers, in float32; ``get`` reads one of the node, or its default."""
    return {name: float(np.float32(get(name, default))) for name, default in NUMBERS.get(op, {}).items()}


def of_one(op: str) -> Callable[[ConstantNode], Array]:
    """A function of one tensor of ``hw.host.elementwise``, which is computed in float64 and rounded once."""

    def compute(call: ConstantNode) -> Array:
        given: dict[str, float | str] = {**numbers(op, call.get)}
        if op == "Gelu":
            given["approximate"] = call.get("approximate", "none")
        return rounded(lambda x: UNARY[op](x, **given))(call)

    return compute


def is_inf(call: ConstantNode) -> Array:
    signs = {name: bool(call.get(f"detect_{name}", 1)) for name in ("negative", "positive")}
    return UNARY["IsInf"](call[0], **signs)


def p_relu(call: ConstantNode) -> Array:
    same_type(call[0], call[1])
    call.limited(np.broadcast_shapes(call[0].shape, call[1].shape))
    return UNARY["PRelu"](call[0], call[1])


def mean(call: ConstantNode) -> Array:
    total = several(np.add)(call)
    assert isinstance(total, np.ndarray | np.generic)
    return total / total.dtype.type(len(call.operands))


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
