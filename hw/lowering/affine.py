"""Chains of steps as exact affine functions: which slope and offset, in rational numbers, each element has."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from hw.host.steps import HostStep

CLIPS = frozenset({"Relu", "Clip"})


def rational(values: np.ndarray) -> np.ndarray:
    """Floating-point numbers as Fractions, exactly, in an object array."""
    values = np.asarray(values, np.float64)
    unique, inverse = np.unique(values, return_inverse=True)
    fractions = np.array([Fraction(value) for value in unique.tolist()], object)
    return fractions[inverse.ravel()].reshape(values.shape)


def floats(values: np.ndarray) -> np.ndarray:
    """Fractions to the nearest float64."""
    return np.vectorize(float, otypes=[np.float64])(values) if values.size else values.astype(np.float64)


def affine_form(
    steps: Sequence[HostStep], shape: tuple[int, ...], through_clips: bool = False
) -> tuple[np.ndarray, np.ndarray] | None:
    """Slope and offset (object arrays of Fractions, of ``shape``) of element-wise steps on frames of ``shape``.

    None where a step is not affine. ``through_clips`` looks past Relu and Clip, at the part that they let through.
    """
    slope = np.full((1, *shape), Fraction(1), object)
    offset = np.full((1, *shape), Fraction(0), object)
    for step in steps:
        match step.op:
            case "Add":
                offset = offset + rational(step.operands[0])
            case "Sub":
                offset = offset - rational(step.operands[0])
            case "Mul":
                factor = rational(step.operands[0])
                slope, offset = slope * factor, offset * factor
            case "Div":
                divisor = rational(step.operands[0])
                slope, offset = slope / divisor, offset / divisor
            case "Neg":
                slope, offset = -slope, -offset
            case "BatchNormalization":
                factor, shift = _batch_norm(step)
                slope, offset = slope * factor, offset * factor + shift
            case "Cast":
                pass
            case op if op in CLIPS and through_clips:
                pass
            case _:
                return None
    return slope[0], offset[0]


def _batch_norm(step: HostStep) -> tuple[np.ndarray, np.ndarray]:
    scale, bias, mean, variance = (operand.astype(np.float64) for operand in step.operands)
    factor = scale / np.sqrt(variance + dict(step.attributes)["epsilon"])
    return rational(factor), rational(bias - mean * factor)


def uniform(values: np.ndarray) -> Fraction | None:
    """The one value that all elements have, if there is one."""
    flat = values.ravel()
    first = flat[0]
    return first if all(value == first for value in flat) else None
