"""Chains of element-wise steps as exact affine functions ``slope * x + offset``, in rational numbers."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from hw.host.steps import HostStep, step

CLIPS = frozenset({"Relu", "Clip"})
"""Operators that are the identity between two bounds."""


def rational(values: np.ndarray) -> np.ndarray:
    """Floating-point numbers as an object array of exactly equal Fractions."""
    values = np.asarray(values, np.float64)
    unique, inverse = np.unique(values, return_inverse=True)
    fractions = np.array([Fraction(value) for value in unique.tolist()], object)
    return fractions[inverse.ravel()].reshape(values.shape)


def floats(values: np.ndarray) -> np.ndarray:
    """Fractions rounded to the nearest float64."""
    return np.vectorize(float, otypes=[np.float64])(values) if values.size else values.astype(np.float64)


def affine_form(
    steps: Sequence[HostStep], shape: tuple[int, ...], through_clips: bool = False
) -> tuple[np.ndarray, np.ndarray] | None:
    """Slope and offset of element-wise steps: object arrays of Fractions of ``shape``, the shape of a frame.

    Rounding to float32 or float64 is left out. None if a step is not affine. With ``through_clips``, Relu and Clip
    count as the identity, so that the result holds between their bounds.
    """
    # Broadcast only at the end: most steps have one constant for the whole frame.
    slope = np.full((1, *[1] * len(shape)), Fraction(1), object)
    offset = np.full((1, *[1] * len(shape)), Fraction(0), object)
    for each in steps:
        match each.op:
            case "Add":
                offset = offset + rational(each.operands[0])
            case "Sub":
                offset = offset - rational(each.operands[0])
            case "Mul":
                factor = rational(each.operands[0])
                slope, offset = slope * factor, offset * factor
            case "Div":
                divisor = rational(each.operands[0])
                slope, offset = slope / divisor, offset / divisor
            case "Neg":
                slope, offset = -slope, -offset
            case "BatchNormalization":
                factor, shift = _batch_norm(each)
                slope, offset = slope * factor, offset * factor + shift
            case "Cast" if dict(each.attributes)["to"] in ("float32", "float64"):
                pass
            case "Combine" if (parts := _combined(each, shape)) is not None:
                (factor, shift) = parts
                slope, offset = slope * factor, offset * factor + shift
            case op if op in CLIPS and through_clips:
                pass
            case _:
                return None
    whole = np.broadcast_shapes((1, *shape), slope.shape, offset.shape)
    return np.broadcast_to(slope, whole)[0], np.broadcast_to(offset, whole)[0]


def _combined(step: HostStep, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Slope and offset of a sum or difference of affine branches, with a batch of one; None for others."""
    by = dict(step.attributes)["by"]
    if by not in ("Add", "Sub", "Sum"):
        return None
    parts = [affine_form(branch, shape) for branch in step.branches]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    slope, offset = (np.stack(np.broadcast_arrays(*each)) for each in zip(*known, strict=True))
    if by == "Sub":
        slope[1:], offset[1:] = -slope[1:], -offset[1:]
    return slope.sum(axis=0)[None], offset.sum(axis=0)[None]


def _batch_norm(step: HostStep) -> tuple[np.ndarray, np.ndarray]:
    """Factor and shift of a BatchNormalization, computed in float64 as the host step does."""
    scale, bias, mean, variance = (operand.astype(np.float64) for operand in step.operands)
    factor = scale / np.sqrt(variance + dict(step.attributes)["epsilon"])
    return rational(factor), rational(bias - mean * factor)


def uniform(values: np.ndarray) -> Fraction | None:
    """The value that all elements share; None if they differ."""
    flat = values.ravel()
    first = flat[0]
    return first if all(value == first for value in flat) else None


def affine_steps(rank: int, slope: np.ndarray, offset: np.ndarray) -> tuple[HostStep, ...]:
    """Host steps, in float64, that compute ``integers * slope + offset`` on frames of ``rank`` axes.

    ``slope`` and ``offset`` are Fractions (channels,). A step that would multiply by 1 or add 0 is left out.
    """
    steps: list[HostStep] = []
    for op, values, neutral in (("Mul", slope, 1), ("Add", offset, 0)):
        if np.any(values != neutral):
            steps.append(step(op, floats(values).reshape((1,) * rank + (-1,))))
    return tuple(steps)
