"""Checks of kernel parameters, and ranges of sums."""

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.host.errors import BitfabricError
from hw.ir.stream import smallest_dtype

MULTIPLIER_BITS = (5, 18)
"""Minimum and maximum operand width of a hard multiplier, in bits of two's complement. Narrower products are cheaper in
lookup tables; wider operands do not fit the multiplier."""


def divisors(number: int) -> list[int]:
    """The divisors of a positive number, in increasing order."""
    return [d for d in range(1, number + 1) if number % d == 0]


def integer_matrix(op: str, weights: np.ndarray, axes: str) -> np.ndarray:
    """Convert weights to a matrix of int64.

    Raises BitfabricError for an array that is empty, not a matrix, or not of integers; ``axes`` names the two axes in
    the error.
    """
    weights = np.asarray(weights)
    if weights.ndim != 2 or not weights.size or weights.dtype.kind not in "iu":
        raise BitfabricError(
            f"{op}: weights of shape {weights.shape} and type {weights.dtype} must be a matrix of integers, {axes}"
        )
    return weights.astype(np.int64, copy=False)


def check_weights(op: str, weights: np.ndarray, dtype: BaseDataType) -> None:
    """Raise BitfabricError if a weight is not a value of ``dtype``; the error names a type that holds all weights."""
    low, high = int(weights.min()), int(weights.max())
    if not all(map(dtype.allowed, (low, high))) or (dtype.name == "BIPOLAR" and 0 in weights):
        raise BitfabricError(
            f"{op}: weights {low}..{high} are not all {dtype.name}; "
            f"a type that holds them is {smallest_dtype(low, high).name}"
        )


def checked_range(op: str, dtype: BaseDataType, stated: tuple[int, int] | None) -> tuple[int, int]:
    """The range of an input: ``stated``, or else that of ``dtype``. Raises BitfabricError if it exceeds the type."""
    low, high = int(dtype.min()), int(dtype.max())
    if stated is None:
        return low, high
    if not low <= stated[0] <= stated[1] <= high:
        raise BitfabricError(f"{op}: input range {stated[0]}..{stated[1]} is not within {dtype.name}")
    return stated


def sum_range(weights: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum, (rows,), of ``weights @ x`` for ``weights`` (rows, inputs) and all x in ``low..high``.

    Exact: int64, or Python's integers where that could overflow.
    """
    largest = max(abs(int(weights.min())), abs(int(weights.max()))) * weights.shape[1]
    if 2 * largest * max(abs(low), abs(high)) >= 1 << 63:
        weights = weights.astype(object)
    positive, negative = np.maximum(weights, 0).sum(axis=1), np.minimum(weights, 0).sum(axis=1)
    return positive * low + negative * high, positive * high + negative * low
