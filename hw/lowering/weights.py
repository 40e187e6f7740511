"""The weights of a layer as integers, with the scales and offsets of its inputs factored out of its sums."""

from fractions import Fraction

import numpy as np
import onnx
from qonnx.core.datatype import BaseDataType, DataType

from hw.lowering.affine import rational, uniform
from hw.lowering.constants import Constant
from hw.lowering.integer_tensor import dtype_of
from hw.lowering.refusal import lowering_error

LARGEST = 1 << 16
"""Maximum magnitude of integer weights into which different scales within one sum may be folded."""


def integer_weights(node: onnx.NodeProto, weights: object) -> tuple[np.ndarray, np.ndarray]:
    """Integers (int64) and scale (float64), both of the weights' shape.

    Raises BitfabricError for weights that are computed, or neither quantized nor integers.
    """
    if not isinstance(weights, Constant):
        raise lowering_error(node, "its weights must be constant and its second input", "feed data from the left only")
    value = weights.value
    if weights.integers is not None and weights.scale is not None:
        return weights.integers, np.broadcast_to(weights.scale, value.shape)
    if np.all(np.isfinite(value)) and np.all(value == np.round(value)) and np.max(np.abs(value)) < 1 << 24:
        return value.astype(np.int64), np.ones(value.shape)
    raise lowering_error(node, f"its weights {node.input[1]} are not quantized", "train with a weight quantizer")


def fold_scales_into_weights(
    integers: np.ndarray, scale: np.ndarray, slope: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Fold the inputs' affine maps and the weights' scales into integer weights and one affine map of each sum.

    For inputs ``slope * q + offset`` (Fractions (K,)) and weights ``integers * scale`` (K, M), returns integer weights
    (K, M) and ``gain`` and ``shift`` (Fractions (M,)) such that::

        sum((slope * q + offset) * integers * scale) == sum(q * weights) * gain + shift

    None if different scales within one sum have no small integer ratio; weights that are 0 do not count then.
    """
    shared, constant = uniform(slope), uniform(offset)
    if shared is not None and constant is not None and np.all(scale == scale[:1]):
        columns = rational(scale[0])
        sums = np.array([Fraction(int(value)) for value in integers.sum(axis=0)], object)
        return integers, columns * shared, columns * sums * constant
    exact = rational(scale)
    shift = (integers.astype(object) * exact).T @ offset
    total = exact * slope[:, None]
    for kept in (total, total * (integers != 0)):
        least = (min((abs(value) for value in column if value), default=Fraction(1)) for column in kept.T)
        gain = np.array(list(least), object)
        ratio = kept / gain
        if all(value.denominator == 1 and abs(value) < LARGEST for value in ratio.ravel()):
            whole = np.array([int(value) for value in ratio.ravel()], np.int64)
            return integers * whole.reshape(ratio.shape), gain, shift
    return None


def weight_dtype(weights: np.ndarray) -> BaseDataType:
    """The narrowest type that holds the weights."""
    if np.all(np.abs(weights) == 1):
        return DataType["BIPOLAR"]
    return dtype_of(int(weights.min()), int(weights.max()))


def reachable(weights: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum (M,) of ``x @ weights`` for ``x`` (K,) between ``low`` and ``high``; both are attained."""
    up, down = np.maximum(weights, 0), np.minimum(weights, 0)
    return low @ up + high @ down, high @ up + low @ down
