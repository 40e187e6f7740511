"""Operators on constants, computed with NumPy: deterministic, and bounded in memory and work.

A float32 result is the one of IEEE 754 arithmetic, as ONNX Runtime computes it too: additions, products, quotients and
roots are rounded once. Sums of several terms and functions such as ``exp`` are computed in float64 and rounded once;
a library that adds in another order may differ from that in the last bit. Source of the operators: the ONNX operator
specification, up to operator set 21.

An operator that is not among ``OPERATORS`` is refused by name, random ones among them. So a model has the same
constants in every process.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

from hw.host import operators
from hw.host.errors import BitfabricError
from hw.lowering.domains import operator_key
from hw.lowering.gate.limits import MAX_ELEMENTS, MAX_RANK
from hw.lowering.node_attributes import attribute
from hw.lowering.refusal import lowering_error

Array: TypeAlias = np.ndarray

MOST_TERMS = 1 << 32
"""Maximum number of products in a product of constant matrices."""
RANDOM = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})  # fmt: skip
"""Operators whose result is another one each time."""


@dataclass(frozen=True)
class ConstantNode:
    """A node whose inputs are all constant; ``operands`` has None for inputs that it leaves out."""

    node: onnx.NodeProto
    operands: tuple[Array | None, ...]
    version: int

    def __getitem__(self, index: int) -> Array:
        """An input. Raises BitfabricError where the node leaves it out."""
        value = self.optional(index)
        if value is None:
            raise self.refused(f"it lacks its input {index}", "export the model again")
        return value

    def optional(self, index: int) -> Array | None:
        """An input, or None where the node leaves it out."""
        return self.operands[index] if index < len(self.operands) else None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return attribute(self.node, name, default)

    def integers(self, index: int, name: str, since: int) -> tuple[int, ...] | None:
        """Integers that are the input ``index`` from operator set ``since`` on, and the attribute ``name`` before.

        None where the node leaves them out.
        """
        given = self.optional(index) if self.version >= since else self.get(name)
        return None if given is None else tuple(int(value) for value in np.ravel(given))

    def refused(self, why: str, remedy: str) -> BitfabricError:
        return lowering_error(self.node, why, remedy)

    def limited(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a result. Raises BitfabricError for one that is too large, before anything is computed."""
        sizes = tuple(int(size) for size in shape)
        if len(sizes) > MAX_RANK or any(size < 0 for size in sizes) or prod(sizes) > MAX_ELEMENTS:
            raise self.refused(
                f"its constant result would have the shape {_short(sizes)}",
                f"a constant has at most {MAX_ELEMENTS} elements",
            )
        return sizes


Operator: TypeAlias = Callable[[ConstantNode], Array | Sequence[Array]]
"""From a node to its result, or to its results where it has several."""


def evaluate(node: onnx.NodeProto, inputs: Sequence[Array | None], version: int) -> tuple[Array, ...]:
    """The outputs of a node whose inputs are all constant; ``inputs`` has None for those that it leaves out.

    ``version`` is the version of the node's operator set. Only the shape of an input of Shape and Size matters. Raises
    BitfabricError, with the node's name, for an operator that is not known here, for operands that do not fit it, and
    for results of more than MAX_ELEMENTS elements.
    """
    domain, op = operator_key(node)
    if op in RANDOM and not domain:
        raise lowering_error(node, "its values are random", "store the values in the model as constants")
    if domain or op not in OPERATORS:
        raise lowering_error(
            node,
            "its inputs are constant, and constants are not computed with this operator",
            "store its result in the model (onnxsim does so, for example)",
        )
    call = ConstantNode(node, tuple(inputs), version)
    try:
        with np.errstate(all="ignore"):
            made = OPERATORS[op](call)
    except BitfabricError:
        raise
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError, MemoryError) as error:
        raise call.refused(f"its constants do not fit it ({_short(error)})", "export the model again") from None
    results = (made,) if isinstance(made, np.ndarray | np.generic) else made
    return tuple(np.asarray(value) for value in results)


def _short(value: object) -> str:
    """A text on one short line."""
    text = " ".join(str(value).split()) or type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."


# --- element-wise operators ---


def _unary(function: Callable[[Array], Array]) -> Operator:
    return lambda call: function(call[0])


def _rounded(function: Callable[[Array], Array]) -> Operator:
    """A function that is computed in float64 and rounded once."""

    def compute(call: ConstantNode) -> Array:
        x = call[0]
        if x.dtype.kind != "f":
            raise TypeError(f"{x.dtype} is not floating point")
        return function(x.astype(np.float64)).astype(x.dtype)

    return compute


def _binary(function: Callable[[Array, Array], Array]) -> Operator:
    def compute(call: ConstantNode) -> Array:
        a, b = call[0], call[1]
        if call.version < 7 and (call.get("axis") is not None or a.shape != b.shape):
            raise call.refused("it broadcasts as operator sets before 7 do", "export it with operator set 7 or later")
        _same_type(a, b)
        call.limited(np.broadcast_shapes(a.shape, b.shape))
        return function(a, b)

    return compute


def _several(function: Callable[[Array, Array], Array]) -> Operator:
    """A function of any number of operands, from the left to the right."""

    def compute(call: ConstantNode) -> Array:
        result = call[0]
        for i in range(1, len(call.operands)):
            _same_type(result, call[i])
            call.limited(np.broadcast_shapes(result.shape, call[i].shape))
            result = function(result, call[i])
        return result

    return compute


def _same_type(a: Array, b: Array) -> None:
    if a.dtype != b.dtype:
        raise TypeError(f"{a.dtype} and {b.dtype}")


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return a / b
    if np.any(b == 0):
        raise ZeroDivisionError("an integer is divided by zero")
    quotient = np.abs(a) // np.abs(b)  # ONNX divides integers towards zero.
    return np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype)


def _power(call: ConstantNode) -> Array:
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


def _modulo(call: ConstantNode) -> Array:
    a, b = call[0], call[1]
    _same_type(a, b)
    call.limited(np.broadcast_shapes(a.shape, b.shape))
    if a.dtype.kind != "f" and np.any(b == 0):
        raise ZeroDivisionError("an integer is divided by zero")
    if a.dtype.kind == "f" and not call.get("fmod", 0):
        raise TypeError("fmod = 0 with floating point")
    return np.fmod(a, b) if call.get("fmod", 0) else np.mod(a, b)


def _where(call: ConstantNode) -> Array:
    condition, a, b = call[0], call[1], call[2]
    _same_type(a, b)
    call.limited(np.broadcast_shapes(condition.shape, a.shape, b.shape))
    return np.where(condition.astype(bool), a, b)


def _clip(call: ConstantNode) -> Array:
    x = call[0]
    low, high = (
        (call.optional(1), call.optional(2)) if call.version >= 11 else (call.get("min", None), call.get("max", None))
    )
    for bound, function in ((low, np.maximum), (high, np.minimum)):
        if bound is not None:
            x = function(x, np.asarray(bound, x.dtype))
    return x


def _cast(call: ConstantNode) -> Array:
    return cast(call, call[0], int(call.get("to", 0)))


def cast(call: ConstantNode, x: Array, to: int) -> Array:
    """A constant in another type of ONNX's. Raises BitfabricError for types that NumPy lacks, and for values that an
    integer type cannot hold."""
    name = cast_name(to)
    if name is None:
        raise call.refused(f"it casts a constant to the type {type_name(to)}", "use float32, float16 or double")
    if name == "bool":
        return x != 0
    dtype = np.dtype(name)
    if dtype.kind in "iu" and x.dtype.kind == "f":
        whole, info = np.trunc(x.astype(np.float64)), np.iinfo(dtype)
        if not np.all(np.isfinite(x)) or np.any(whole < info.min) or np.any(whole >= float(info.max) + 1):
            raise call.refused(f"it casts constants to {dtype} that do not fit it", "check the model")
    return operators.cast(x, to=name) if x.dtype.kind == "f" else x.astype(dtype)


def cast_name(to: int) -> str | None:
    """NumPy's name of an ONNX type of numbers; None for a type that NumPy lacks."""
    return _TYPES.get(to)


def type_name(to: int) -> str:
    """The name of an ONNX type for messages."""
    known = {number: name for name, number in onnx.TensorProto.DataType.items()}
    return known.get(to, str(to)).lower()


_TYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BOOL: "bool",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.UINT16: "uint16",
    onnx.TensorProto.UINT32: "uint32",
    onnx.TensorProto.UINT64: "uint64",
}


# --- operators on shapes ---


def _shape(call: ConstantNode) -> Array:
    shape = call[0].shape
    start, end = int(call.get("start", 0)), call.get("end")
    return np.array(shape[start : None if end is None else int(end)], np.int64)


def _constant(call: ConstantNode) -> Array:
    known = {each.name: each for each in call.node.attribute}
    if "value" in known:
        return numpy_helper.to_array(known["value"].t)
    for name, dtype in (("float", np.float32), ("floats", np.float32), ("int", np.int64), ("ints", np.int64)):
        if f"value_{name}" in known:
            return np.array(onnx.helper.get_attribute_value(known[f"value_{name}"]), dtype)
    raise call.refused("it holds no numbers", "export the model again")


def _constant_of_shape(call: ConstantNode) -> Array:
    value = call.get("value")
    fill = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    return np.full(call.limited(call[0].ravel().tolist()), fill.ravel()[0], fill.dtype)


def _range(call: ConstantNode) -> Array:
    start, limit, delta = (call[i].ravel()[0] for i in range(3))
    if delta == 0:
        raise ZeroDivisionError("its step is 0")
    count = max(0, int(np.ceil((float(limit) - float(start)) / float(delta))))
    call.limited((count,))
    return (start + np.arange(count).astype(call[0].dtype) * delta).astype(call[0].dtype)


def _reshape(call: ConstantNode) -> Array:
    x = call[0]
    given = [int(size) for size in (call[1].ravel() if call.version >= 5 else call.get("shape", ()))]
    if not call.get("allowzero", 0):
        given = [x.shape[i] if size == 0 else size for i, size in enumerate(given)]
    return x.reshape(given)


def _flatten(call: ConstantNode) -> Array:
    x, axis = call[0], int(call.get("axis", 1))
    axis += x.ndim if axis < 0 else 0
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def _squeeze(call: ConstantNode) -> Array:
    axes = call.integers(1, "axes", 13)
    return np.squeeze(call[0], axes)


def _unsqueeze(call: ConstantNode) -> Array:
    axes = call.integers(1, "axes", 13)
    if axes is None:
        raise call.refused("it lacks its axes", "export the model again")
    call.limited((1,) * (call[0].ndim + len(axes)))
    return np.expand_dims(call[0], axes)


def _transpose(call: ConstantNode) -> Array:
    return np.transpose(call[0], call.get("perm", None))


def _concat(call: ConstantNode) -> Array:
    parts = [call[i] for i in range(len(call.operands))]
    axis = int(call.get("axis", 1))
    for part in parts:
        _same_type(part, parts[0])
    call.limited((sum(part.size for part in parts),))
    return np.concatenate(parts, axis)


def _gather(call: ConstantNode) -> Array:
    x, axis = call[0], int(call.get("axis", 0))
    axis += x.ndim if axis < 0 else 0
    call.limited((*x.shape[:axis], *call[1].shape, *x.shape[axis + 1 :]))
    return np.take(x, call[1], axis)


def _gather_elements(call: ConstantNode) -> Array:
    return np.take_along_axis(call[0], call[1], int(call.get("axis", 0)))


def _slice(call: ConstantNode) -> Array:
    x = call[0]
    starts, ends = (call.integers(i + 1, name, 10) for i, name in enumerate(("starts", "ends")))
    if starts is None or ends is None:
        raise call.refused("it lacks its starts or ends", "export the model again")
    axes = call.integers(3, "axes", 10)
    steps = call.integers(4, "steps", 10) if call.version >= 10 else None
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    picked = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:  # ONNX limits the start to the first element, Python to the one before it.
            start = max(start + x.shape[axis], 0) if start < 0 else start
        picked[axis] = slice(start, end, step)
    return x[tuple(picked)]


def _split(call: ConstantNode) -> list[Array]:
    x, axis = call[0], int(call.get("axis", 0))
    sizes = call.integers(1, "split", 13)
    count = len(call.node.output)
    if sizes is None:
        each = -(-x.shape[axis] // count)
        sizes = (*(each,) * (count - 1), x.shape[axis] - each * (count - 1))
    if sum(sizes) != x.shape[axis] or min(sizes) < 0 or len(sizes) != count:
        raise ValueError(f"parts {sizes} of {x.shape[axis]}")
    return np.split(x, np.cumsum(sizes)[:-1].tolist(), axis)


def _expand(call: ConstantNode) -> Array:
    shape = np.broadcast_shapes(call[0].shape, call.limited(call[1].ravel().tolist()))
    return np.broadcast_to(call[0], call.limited(shape)).copy()


def _tile(call: ConstantNode) -> Array:
    counts = [int(count) for count in call[1].ravel()]
    call.limited([size * count for size, count in zip(call[0].shape, counts, strict=True)])
    return np.tile(call[0], counts)


def _pad(call: ConstantNode) -> Array:
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


def _identity(call: ConstantNode) -> Array:
    return call[0]


def _dropout(call: ConstantNode) -> list[Array]:
    training = call.optional(2) if call.version >= 12 else None
    if (training is not None and bool(training.ravel()[0])) or (call.version < 7 and not call.get("is_test", 0)):
        raise call.refused("it is in training mode, where it drops values at random", "call model.eval() before export")
    return [call[0], np.ones(call[0].shape, bool)]


# --- operators with sums ---


def _reduced(function: Callable[..., Array], since: int, finish: Callable[[Array], Array] | None = None) -> Operator:
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


def _mean(x: Array, axis: tuple[int, ...] | None, keepdims: bool) -> Array:
    if x.dtype.kind == "f":
        return x.mean(axis=axis, keepdims=keepdims)
    count = prod(x.shape if axis is None else [x.shape[i] for i in axis])
    return _divide(x.sum(axis=axis, keepdims=keepdims), np.asarray(count, x.dtype))


def _product(call: ConstantNode) -> Array:
    a, b = call[0], call[1]
    _same_type(a, b)
    if a.ndim > 1 and b.ndim > 1:
        call.limited((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))
    if a.size * b.size // max(1, b.shape[0 if b.ndim == 1 else -2]) > MOST_TERMS:
        raise call.refused("it is too large a product of constants", "store its result in the model")
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(a.dtype) if a.dtype.kind == "f" else a @ b


def _batch_normalization(call: ConstantNode) -> Array:
    if call.get("training_mode", 0):
        raise call.refused("it is in training mode", "call model.eval() before the export")
    x = call[0]
    along = (1, -1, *(1,) * (x.ndim - 2))
    values = [call[i].reshape(along) for i in range(1, 5)]
    for value in values:
        _same_type(x, value)
    return operators.batch_normalization(x, *values, epsilon=float(np.float32(call.get("epsilon", 1e-5))))


def _arg(function: Callable[[Array, int], Array]) -> Operator:
    def compute(call: ConstantNode) -> Array:
        x, axis = call[0], int(call.get("axis", 0))
        if call.get("select_last_index", 0):
            index = x.shape[axis] - 1 - function(np.flip(x, axis), axis)
        else:
            index = function(x, axis)
        return (np.expand_dims(index, axis) if call.get("keepdims", 1) else np.asarray(index)).astype(np.int64)

    return compute


OPERATORS: Mapping[str, Operator] = {
    "Abs": _unary(np.abs),
    "Add": _binary(np.add),
    "And": _binary(np.logical_and),
    "ArgMax": _arg(np.argmax),
    "ArgMin": _arg(np.argmin),
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Ceil": _unary(np.ceil),
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _binary(_divide),
    "Dropout": _dropout,
    "Equal": _binary(np.equal),
    "Exp": _rounded(np.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _unary(np.floor),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Identity": _identity,
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Log": _rounded(np.log),
    "MatMul": _product,
    "Max": _several(np.maximum),
    "Min": _several(np.minimum),
    "Mod": _modulo,
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "Not": _unary(np.logical_not),
    "Or": _binary(np.logical_or),
    "Pad": _pad,
    "Pow": _power,
    "Range": _range,
    "Reciprocal": _unary(lambda x: x.dtype.type(1) / x),
    "ReduceL1": _reduced(lambda x, **how: np.abs(x).sum(**how), 18),
    "ReduceL2": _reduced(lambda x, **how: (x * x).sum(**how), 18, np.sqrt),
    "ReduceMax": _reduced(np.max, 18),
    "ReduceMean": _reduced(_mean, 18),
    "ReduceMin": _reduced(np.min, 18),
    "ReduceProd": _reduced(np.prod, 18),
    "ReduceSum": _reduced(np.sum, 13),
    "ReduceSumSquare": _reduced(lambda x, **how: (x * x).sum(**how), 18),
    "Relu": _unary(lambda x: np.maximum(x, x.dtype.type(0))),
    "Reshape": _reshape,
    "Round": _unary(np.round),
    "Shape": _shape,
    "Sigmoid": _rounded(operators.OPERATORS["Sigmoid"]),
    "Sign": _unary(np.sign),
    "Size": lambda call: np.asarray(call[0].size, np.int64),
    "Slice": _slice,
    "Softplus": _rounded(operators.OPERATORS["Softplus"]),
    "Split": _split,
    "Sqrt": _unary(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(np.subtract),
    "Sum": _several(np.add),
    "Tanh": _rounded(np.tanh),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
    "Xor": _binary(np.logical_xor),
}
"""By ONNX operator, the function that computes it on constants."""
