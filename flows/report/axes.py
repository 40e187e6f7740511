"""Axes of the plots: places in percent, and the marks with their texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

Place = Callable[[float], float]
"""The place of a value on an axis, in percent."""


@dataclass(frozen=True)
class Mark:
    """A mark of an axis, in percent, with its text."""

    at: float
    text: str


def log_axis(values: Sequence[float]) -> tuple[list[Mark], Place]:
    """A logarithmic axis for positive values: over whole decades, or from 1, 2 or 5 to 1, 2 or 5 times a power of ten
    where the values lie within two decades."""
    low, high = log10(min(values)), log10(max(values))
    steps = [0.0] if high - low > 2 else [0.0, log10(2), log10(5)]
    marks = [n + step for n in range(floor(low), ceil(high) + 2) for step in steps]
    first = max(mark for mark in marks if mark <= low + 1e-9)
    last = min(mark for mark in marks if mark >= max(high - 1e-9, first + 1e-9))

    def place(value: float) -> float:
        return 100 * (log10(value) - first) / (last - first)

    return [Mark(place(10**mark), _text(10**mark)) for mark in marks if first <= mark <= last], place


def linear_axis(values: Sequence[float], form: Callable[[float], str] | None = None) -> tuple[list[Mark], Place]:
    """A linear axis with about five marks, at round numbers around the values; ``form`` makes their texts."""
    low, high = min(values), max(values)
    raw = (high - low or abs(high) or 1.0) / 5
    step = next(n for n in (10.0 ** floor(log10(raw)) * k for k in (1, 2, 5, 10)) if n >= raw * (1 - 1e-9))
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    last = max(last, first + 1)

    def place(value: float) -> float:
        return 100 * (value / step - first) / (last - first)

    return [Mark(place(n * step), (form or _text)(n * step)) for n in range(first, last + 1)], place


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value - round(value)) <= 1e-9 * abs(value) else f"{value:g}"
