"""Bounds on the values that float32 rounding can lead to: interval arithmetic over the steps of a chain.

The reference computes in float32 what the lowered graph computes exactly. An interval that starts from the exact value
and is widened by the rounding error of every operation contains every result that the reference can have, in any
order of summation.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from hw.host.operators import QUANTIZERS, RESHAPING, cast
from hw.host.steps import HostStep, run
from hw.lowering.integer_tensor import IntegerTensor, Steps, cast_type
from hw.lowering.intervals import combined_range, condition
from hw.lowering.monotone import image

ULP = 2.0**-23
"""Twice the largest relative error of one float32 operation."""
FUNCTION_ULP = 2.0**-20
"""The same for ONNX Runtime's approximations of exp, tanh and similar functions, with margin; also absolute."""
OWN_ULPS, OWN_LEAST = 16, 2.0**-48
"""The same for NumPy's, in units of ULP of the result; and for inputs of magnitude 1, what float64 leaves of a result
near 0."""
APPROXIMATED = frozenset({
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Log", "Pow", "Selu",
    "Sigmoid", "Sin", "Sinh", "Softplus", "Softsign", "Tan", "Tanh",
})  # fmt: skip
GATED = frozenset({"Gelu", "Mish", "Swish"})
"""Approximated, and then multiplied by the input: cancellation costs digits in proportion to that."""
SELECTING = frozenset(
    {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Where", "Min", "Max"}
)
"""Functions of several tensors that do not round."""

SCALED = frozenset({"Quant", "QuantizeLinear", "Trunc"})
"""Quantizers that divide by a scale and add a zero point."""
CHUNK_TERMS = 1 << 22
"""Terms of sums that one array operation handles, which bounds the memory."""

Interval = tuple[np.ndarray, np.ndarray]
Bounds = Callable[[list[Interval], np.ndarray], Interval]
"""From the intervals of a kernel's inputs and its exact result to the interval of the result, in stream order."""


@dataclass(frozen=True, eq=False)
class Product:
    """How rounding propagates through a kernel (or several) that computes an edge from ``sources``.

    ``bounds`` computes the interval of the result from those of the sources. It already covers the first ``steps``
    of the result's steps, for example the scale and offset of a matrix product.
    """

    sources: tuple[IntegerTensor, ...]
    bounds: Bounds
    steps: int


def interval(tensor: IntegerTensor, integers: dict[str, np.ndarray], products: dict[str, Product]) -> Interval:
    """Bounds on the reference's values of a tensor, in stream order, for the exact ``integers`` by edge."""
    exact = integers[tensor.edge].reshape(-1, *tensor.shape).astype(np.float64)
    product = products.get(tensor.edge)
    if product is None:
        return through(tensor.steps, (exact, exact))
    sources = [interval(source, integers, products) for source in product.sources]
    low, high = product.bounds(sources, run(tensor.steps[: product.steps], exact))
    # The tensor may be another view of the kernel's stream.
    bounds = low.reshape(exact.shape), high.reshape(exact.shape)
    return through(tensor.steps[product.steps :], bounds, tensor.steps[: product.steps])


def added(a: Interval, b: Interval, rounds: bool = True) -> Interval:
    """Bounds on the sum of two values; unless it ``rounds``, float32 does not compute it."""
    low, high = a[0] + b[0], a[1] + b[1]
    exact = (low == high) & FLOAT32.holds(low)
    error = np.where(exact, 0.0, ULP * np.maximum(np.abs(low), np.abs(high))) if rounds else 0.0
    return low - error, high + error


Terms = Callable[[list[np.ndarray]], np.ndarray]
"""From the sources' values to the terms of each sum, along the last axis."""


def summed(
    terms: Terms, magnitudes: np.ndarray, shared: bool, added: int = 0, bias: np.ndarray | None = None
) -> Bounds:
    """Bounds on weighted sums of ``terms``, with the absolute values of the weights in ``magnitudes``.

    If ``shared``, all sums have the same terms, and ``magnitudes`` is (terms, sums). Otherwise every sum has its own
    terms, against which ``magnitudes`` broadcasts. The model adds ``added`` more terms to each sum, which other kernels
    compute.

    ``bias`` is what the model's operator adds to each of the sums, (sums,). A later step adds it to the result, but the
    operator may begin with it: then every partial sum is rounded to what float32 has beside the bias.
    """
    biased = np.zeros(1) if bias is None else np.abs(bias.astype(np.float64))
    size = magnitudes.shape[0 if shared else -1]

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        error = np.empty(value.shape)
        per_frame = size * value[0].size // (magnitudes.shape[1] if shared else 1)
        count = max(1, CHUNK_TERMS // per_frame)
        for at in range(0, len(value), count):
            low, high = (terms([source[side][at : at + count] for source in sources]) for side in (0, 1))
            error[at : at + count] = _sum_error(low, high, magnitudes, shared, added, biased).reshape(
                -1, *value.shape[1:]
            )
        return value - error, value + error

    return bounds


def _sum_error(
    low: np.ndarray, high: np.ndarray, magnitudes: np.ndarray, shared: bool, added: int, bias: np.ndarray
) -> np.ndarray:
    """The largest absolute error of float32 sums whose terms lie between ``low`` and ``high``."""

    def weighted(values: np.ndarray) -> np.ndarray:
        return values @ magnitudes if shared else (values * magnitudes).sum(axis=-1)

    largest = weighted(np.maximum(np.abs(low), np.abs(high))) + bias
    error = (low.shape[-1] + added + 8) * ULP / 2 * largest + weighted((high - low) / 2)
    # Sums of multiples of one power of two that stay below 2**24 of them are exact, in any order.
    known = (low == high).all(axis=-1, keepdims=shared)
    if shared:
        grid = lowest_bit(low, -1)[..., None] * lowest_bit(magnitudes, 0)
    else:
        grid = lowest_bit(low, -1) * lowest_bit(magnitudes, -1)
    grid = np.minimum(grid, lowest_bit(bias[None], 0))
    return np.where((largest < grid * 2.0**24) & known & (added == 0), 0.0, error)


def lowest_bit(values: np.ndarray, axis: int) -> np.ndarray:
    """The largest power of two that divides all values along an axis; infinity where all are 0."""
    mantissa, exponent = np.frexp(values)
    whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = np.ldexp((whole & -whole).astype(np.float64), exponent - 53)
    return np.where(values == 0, np.inf, lowest).min(axis=axis)


@dataclass(frozen=True)
class Arithmetic:
    """The floating-point type in which the reference computes: its ``name``, and twice its largest relative error, and
    absolute error near 0, which matters where the type has few exponents. ``own`` says that functions such as exp are
    those of NumPy, as in ``hw.host.elementwise``, and not approximations of another library."""

    name: str
    ulp: float
    least: float = 0.0
    own: bool = False

    def function_error(self, magnitude: np.ndarray, size: np.ndarray, gated: bool = False) -> np.ndarray:
        """The largest error of a function such as exp: of results up to ``magnitude``, for inputs up to ``size``."""
        if self.own:
            return OWN_ULPS * self.ulp * magnitude + OWN_LEAST * (1 + size) + self.least
        return max(FUNCTION_ULP, self.ulp) * (1 + magnitude + gated * size)

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether it represents the values exactly."""
        return cast(values, to=self.name) == values


FLOAT32 = Arithmetic("float32", ULP)
ARITHMETICS = {
    "float16": Arithmetic("float16", 2.0**-10, 2.0**-24),
    "float32": FLOAT32,
    "float64": Arithmetic("float64", 2.0**-52),
}


def through(steps: Iterable[HostStep], bounds: Interval, before: Steps = ()) -> Interval:
    """Bounds after steps that float32 arithmetic computes, or that of the type to which the last step before casts.

    ``before`` are the steps that led to ``bounds``.
    """
    return _through(steps, _arithmetic_after(before, FLOAT32), bounds)[0]


def through_own(steps: Iterable[HostStep], bounds: Interval) -> Interval:
    """Bounds on what the host computes for integers between ``bounds``: the same with NumPy's own functions."""
    # Integers beyond 2**24 are rounded to float32.
    low, high = (np.asarray(bound, np.float64) for bound in bounds)
    room = np.where(np.maximum(np.abs(low), np.abs(high)) > 1 << 24, ULP, 0.0)
    return _through(steps, replace(FLOAT32, own=True), (low - np.abs(low) * room, high + np.abs(high) * room))[0]


def _arithmetic_after(steps: Iterable[HostStep], arithmetic: Arithmetic) -> Arithmetic:
    """The arithmetic in which steps end that begin in another one; of several branches, in that of the last."""
    for each in steps:
        if each.branches:
            arithmetic = _arithmetic_after(each.branches[-1], arithmetic)
        elif (to := cast_type(each)) is not None:
            arithmetic = ARITHMETICS.get(to, arithmetic)
    return arithmetic


def _through(steps: Iterable[HostStep], arithmetic: Arithmetic, bounds: Interval) -> tuple[Interval, Arithmetic]:
    """Bounds after steps, and the arithmetic that they end in."""
    with np.errstate(all="ignore"):
        for step in steps:
            to = cast_type(step)
            if step.branches:
                bounds, arithmetic = _combine(step, arithmetic, bounds)
            elif step.op == "Constant":
                value = np.asarray(step(bounds[0]))
                if bounds[0].dtype == bool and value.dtype != bool:
                    arithmetic = replace(ARITHMETICS[value.dtype.name], own=arithmetic.own)
                bounds = (value if value.dtype == bool else value.astype(np.float64),) * 2
            elif to not in ARITHMETICS:
                bounds = _step(step, arithmetic, *bounds)
            elif to != arithmetic.name:  # Rounding is monotone. To float32 at first: the product's own error covers it.
                bounds = (step(bounds[0]).astype(np.float64), step(bounds[1]).astype(np.float64))
                arithmetic = replace(ARITHMETICS[to], own=arithmetic.own)
    return bounds, arithmetic


def _combine(step: HostStep, arithmetic: Arithmetic, bounds: Interval) -> tuple[Interval, Arithmetic]:
    """Bounds after a function of several branches."""
    parts = [_through(branch, arithmetic, bounds) for branch in step.branches]
    by, given = str(dict(step.attributes)["by"]), [part for part, _ in parts]
    arithmetic = parts[-1][1]
    low, high = combined_range(by, given)
    if by in SELECTING or low.dtype == bool:
        return (low, high), arithmetic
    magnitude = np.maximum(np.abs(low), np.abs(high))
    if by in APPROXIMATED:
        size = reduce(np.maximum, [np.abs(side) for part in given for side in part])
        error = arithmetic.function_error(magnitude, size)
    elif by in ("Sum", "Mean"):
        largest = reduce(np.add, [np.maximum(np.abs(least), np.abs(most)) for least, most in given])
        error = arithmetic.ulp * len(given) * largest + arithmetic.least
    else:
        known = reduce(np.logical_and, [least == most for least, most in given])
        error = np.where(known & arithmetic.holds(magnitude), 0.0, arithmetic.ulp * magnitude + arithmetic.least)
    return (low - error, high + error), arithmetic


def _step(step: HostStep, arithmetic: Arithmetic, low: np.ndarray, high: np.ndarray) -> Interval:
    """Bounds after one step."""
    if step.op in RESHAPING or step.op == "Cast":
        return step(low), step(high)
    if step.op in QUANTIZERS:
        if step.op not in SCALED or dict(step.attributes).get("bits") == 1:  # What is not a number has a code, too.
            unknown = np.isnan(low) | np.isnan(high)
            low, high = np.where(unknown, -np.inf, low), np.where(unknown, np.inf, high)
        error = _scaling_error(step, arithmetic, low, high) if step.op in SCALED else np.float64(0)
        return _ordered(step(low - error), step(high + error))
    if step.op == "TopK":
        return step(low), step(high)
    if step.op in ("Softmax", "LogSoftmax"):
        return _softmax(step, arithmetic, low, high)
    if low.dtype == bool:
        return ~high, ~low  # Not is the only function of a condition.
    if step.op in ("IsNaN", "IsInf"):
        return condition(step, low, high)
    first, last = image(step, low, high)
    error = _error(step, arithmetic, low, high, np.maximum(np.abs(first), np.abs(last)))
    return first - error, last + error


def _error(
    step: HostStep, arithmetic: Arithmetic, low: np.ndarray, high: np.ndarray, magnitude: np.ndarray
) -> np.ndarray:
    """The largest absolute difference between a step's exact result and its floating-point result."""
    ulp = arithmetic.ulp
    if step.op in APPROXIMATED:
        return arithmetic.function_error(magnitude, np.maximum(np.abs(low), np.abs(high)))
    if step.op in GATED:
        return arithmetic.function_error(magnitude, np.maximum(np.abs(low), np.abs(high)), gated=True)
    if step.op == "HardSwish":  # A factor near 0 comes from a difference.
        return ulp * (magnitude + 2 * np.maximum(np.abs(low), np.abs(high)))
    if step.op == "HardSigmoid":
        return ulp * (2 + magnitude)
    exact = (low == high) & arithmetic.holds(magnitude)
    if step.op == "BatchNormalization":
        scale, bias, mean, variance = (operand.astype(np.float64) for operand in step.operands)
        factor = scale / np.sqrt(variance + dict(step.attributes)["epsilon"])
        parts = [factor, mean * factor, bias, bias - mean * factor]
        product = np.maximum(np.abs(low), np.abs(high)) * parts[0]
        for part in (*parts, product):
            exact &= arithmetic.holds(part)
        magnitude = magnitude + 4 * (np.abs(product) + np.abs(parts[1]) + np.abs(parts[2]))
    return np.where(exact, 0.0, ulp * magnitude + arithmetic.least)


def _scaling_error(step: HostStep, arithmetic: Arithmetic, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The error of ``x / scale + zero_point`` in floating point, converted to an error of ``x``."""
    scale, zero_point = (operand.astype(np.float64) for operand in step.operands[:2])
    largest = np.maximum(np.abs(low), np.abs(high))
    exact = (low == high) & arithmetic.holds(low / scale) & arithmetic.holds(low / scale + zero_point)
    return np.where(exact, 0.0, arithmetic.ulp * (2 * largest + np.abs(zero_point * scale)) + arithmetic.least * scale)


def _ordered(a: np.ndarray, b: np.ndarray) -> Interval:
    return np.minimum(a, b), np.maximum(a, b)


def _softmax(step: HostStep, arithmetic: Arithmetic, low: np.ndarray, high: np.ndarray) -> Interval:
    """Bounds after Softmax or LogSoftmax.

    The error of a logarithm is at most the largest error of the inputs plus its own; for Softmax that is a factor.
    """
    middle, ulp = step((low + high) / 2), max(FUNCTION_ULP, arithmetic.ulp)
    spread = (high - low).max(axis=dict(step.attributes)["axis"], keepdims=True) + ulp
    error = middle * np.expm1(spread) + ULP**2 if step.op == "Softmax" else spread + ulp * np.abs(middle)
    return middle - error, middle + error
