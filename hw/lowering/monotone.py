"""Whether steps are monotone, and where functions that are not turn or jump."""

from collections.abc import Callable, Iterable, Mapping
from math import pi
from typing import Any

import numpy as np

from hw.host.operators import MONOTONE, QUANTIZERS
from hw.host.steps import HostStep, every

JUMPS = frozenset({
    "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mod", "Round", "Shrink", "Sign",
    "ThresholdedRelu",
})  # fmt: skip
"""Functions that are not continuous."""
TURN_OF_SWISH = -1.2784645427610738
"""Where ``x * Sigmoid(x)`` has its minimum."""


def monotone(steps: Iterable[HostStep]) -> bool:
    """Whether steps are known to be monotone for their constants, each element in its own direction."""
    return all(each.op in MONOTONE and not turning_points(each) for each in steps)


def jumps(steps: Iterable[HostStep]) -> bool:
    """Whether neighbouring inputs can have results far apart: by functions that jump, or quantizers in branches."""
    given = tuple(steps)
    if any(each.op in JUMPS or dict(each.attributes).get("by") in JUMPS for each in every(given)):
        return True
    return any(one.op in QUANTIZERS for each in given for branch in each.branches for one in every(branch))


def turning_points(each: HostStep) -> tuple[float, ...]:
    """The inputs at which a step turns, or jumps the other way than it goes; none if it is known to be monotone.

    Between two of them, and on both sides, it is monotone. A jump is at a point and between it and its neighbours in
    float64. Not known for functions of several tensors and for those that turn forever (``image``).
    """
    find = _TURNS.get(each.op)
    return () if find is None else find(each, dict(each.attributes))


def _jumps(*points: float) -> tuple[float, ...]:
    around = (np.nextafter(point, side) for point in points for side in (-np.inf, np.inf))
    return (*points, *map(float, around))


def _at_zero(turns: bool) -> tuple[float, ...]:
    return (0.0,) if turns else ()


_TURNS: Mapping[str, Callable[[HostStep, dict[str, Any]], tuple[float, ...]]] = {
    "Abs": lambda each, given: (0.0,),
    "Celu": lambda each, given: _at_zero(given["alpha"] < 0),
    "Cosh": lambda each, given: (0.0,),
    "Elu": lambda each, given: _at_zero(given["alpha"] < 0),
    "Gelu": lambda each, given: (-0.7524614231,) if given["approximate"] == "tanh" else (-0.7517915228,),
    "HardSwish": lambda each, given: (-1.5,),
    "LeakyRelu": lambda each, given: _at_zero(given["alpha"] < 0),
    "Mish": lambda each, given: (-1.1924312063,),
    "PRelu": lambda each, given: _at_zero(bool(np.any(each.operands[0] < 0))),
    "Selu": lambda each, given: _at_zero(given["alpha"] < 0),
    "Shrink": lambda each, given: (
        _jumps(given["lambd"], -given["lambd"]) if given["lambd"] < max(given["bias"], 0.0) else ()
    ),
    "Swish": lambda each, given: (TURN_OF_SWISH / given["alpha"],) if given["alpha"] else (),
    "ThresholdedRelu": lambda each, given: _jumps(given["alpha"]) if given["alpha"] < 0 else (),
}


def image(each: HostStep, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds on a step's exact results for inputs between ``low`` and ``high``; infinite around a pole."""
    ends = each(low), each(high)
    least, most = np.minimum(*ends), np.maximum(*ends)
    for point in turning_points(each):
        inside = (low < point) & (point < high)
        if inside.any():
            value = each(np.full_like(low, point))
            least, most = np.where(inside, np.fmin(least, value), least), np.where(inside, np.fmax(most, value), most)
    match each.op:
        case "Sin":
            least, most = _periodic(low, high, least, most, pi / 2)
        case "Cos":
            least, most = _periodic(low, high, least, most, 0.0)
        case "Tan":
            least, most = _unknown(np.floor(low / pi + 0.5) != np.floor(high / pi + 0.5), least, most)
        case "Reciprocal":
            least, most = _unknown((low <= 0) & (high >= 0), least, most)
    return least, most


def _unknown(where: np.ndarray, least: np.ndarray, most: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.where(where, -np.inf, least), np.where(where, np.inf, most)


def _periodic(
    low: np.ndarray, high: np.ndarray, least: np.ndarray, most: np.ndarray, top: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a function of period 2 pi with its maximum 1 at ``top`` and its minimum -1 half a period later."""

    def passes(point: float) -> np.ndarray:
        return np.floor((high - point) / (2 * pi)) != np.floor((low - point) / (2 * pi))

    return np.where(passes(top + pi), -1.0, least), np.where(passes(top), 1.0, most)
