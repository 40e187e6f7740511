"""What becomes of the values of a user's frames at an input of the accelerator.

Where the port has an integer type, other values are rounded and clipped before anything computes with them, so the
reference and all engines receive the same integers; more than ``MOST_ALTERED`` of them are refused. Where the model has
a quantizer of its own, the host computes it as the model does: the values that it clips and the codes that occur are
counted.
"""

from dataclasses import dataclass

import numpy as np
from qonnx.core.datatype import DataType

from hw.host.errors import UsageError
from hw.host.operators import QUANTIZERS, RESHAPING, code_range, round_to_integer
from hw.host.steps import HostStep, run
from hw.ir.frames import checked, finite
from hw.ir.graph import Port
from hw.ir.stream import container

MOST_ALTERED = 0.01
"""Largest share of values of an integer port that are rounded or clipped without being asked for."""
MOST_SATURATED = 0.05
"""Largest share of values beyond the range of the model's quantizer that is not doubtful."""
FEWEST_CODES = 4
"""Least number of codes of the model's quantizer that is not doubtful, where it has as many."""


@dataclass(frozen=True)
class InputValues:
    """The values of frames at one input.

    Attributes:
        name: the input.
        dtype: the integer type of the port, or that of the codes of the model's quantizer.
        declared: whether the port has an integer type; if not, the model quantizes.
        values: the number of values.
        fractions: values of an integer port that were rounded.
        out_of_range: values of an integer port that were clipped, or values beyond the range of the model's quantizer.
        codes: the number of different codes that occur.
        possible_codes: the number of codes that there are.
        least: the least value.
        greatest: the greatest value.
        covered: the range of values that the integer port or the quantizer covers; None where it is not known.
    """

    name: str
    dtype: str
    declared: bool
    values: int
    fractions: int
    out_of_range: int
    codes: int
    possible_codes: int
    least: float
    greatest: float
    covered: tuple[float, float] | None

    @property
    def altered(self) -> int:
        """Values of an integer port that were rounded or clipped."""
        return self.fractions + self.out_of_range if self.declared else 0

    @property
    def doubtful(self) -> bool:
        """Whether the values are worth a look: the frames may not be what the model was trained on."""
        if self.declared:
            return self.altered > 0
        return self.out_of_range > MOST_SATURATED * self.values or too_few(self.codes, self.possible_codes)

    @property
    def statement(self) -> str:
        """What became of the values, in a sentence; with the likely cause where it is doubtful."""
        what = f"input {self.name}"
        if self.declared and not self.altered:
            return f"{what}: all {self.values:,} values are {self.dtype} integers"
        if self.declared:
            share = f"{self.altered:,} of {self.values:,} values ({self.altered / self.values:.2%})"
            done = f"{self.fractions:,} rounded, {self.out_of_range:,} clipped"
            return f"{what}: {share} are no {self.dtype} integers: {done}; {self.cause}"
        saturated = f"{self.out_of_range / self.values:.2%} of {self.values:,} values saturate the model's quantizer"
        codes = f"{self.codes} of its {self.possible_codes} codes occur"
        return f"{what}: {saturated}, {codes}" + (f"; {self.cause}" if self.doubtful else "")

    @property
    def cause(self) -> str:
        """The range of the values, beside the one that is covered, and the likely cause where they do not match."""
        span = f"the values lie between {self.least:g} and {self.greatest:g}"
        if self.covered is None:
            return span
        low, high = self.covered
        span += f", the input covers {low:g} to {high:g}"
        most, reach = max(abs(self.least), abs(self.greatest)), max(abs(low), abs(high))
        if 0 < most <= 1 < reach:
            return f"{span} (normalised twice?)"
        if most > 2 * reach:
            return f"{span} (not normalised?)"
        return span


def too_few(codes: int, possible: int) -> bool:
    """Whether so few of the possible codes occur that it is doubtful; of two or three codes, one."""
    return codes < (FEWEST_CODES if possible >= FEWEST_CODES else 2)


def read_frames(port: Port, frames: np.ndarray, clip: bool = False) -> tuple[np.ndarray, InputValues]:
    """A user's frames ``(N, *shape)`` as the model receives them, and what became of their values.

    ``clip`` allows any number of values of an integer port to be rounded and clipped. Raises UsageError for another
    shape or type, for numbers that are not finite, and where more than ``MOST_ALTERED`` of the values would be altered.
    """
    what = f"input {port.name}"
    given = finite(frames, what, port.shape, port.dtype)
    return _declared(port, given, clip) if not port.dtype.startswith("float") else _quantized(port, given)


def _declared(port: Port, given: np.ndarray, clip: bool) -> tuple[np.ndarray, InputValues]:
    kind = DataType[port.dtype]
    low, high = int(kind.min()), int(kind.max())
    whole = np.round(given) if given.dtype.kind == "f" else given
    beyond = (whole < low) | (whole > high)
    if port.dtype == "BIPOLAR":
        beyond |= whole == 0
    fractions = ~beyond & (whole != given)
    kept = np.clip(whole, low, high)
    if port.dtype == "BIPOLAR":
        kept = np.where(kept >= 0, 1, -1)
    kept = kept.astype(container(kind))
    made = InputValues(
        port.name, port.dtype, True, given.size, int(fractions.sum()), int(beyond.sum()), len(np.unique(kept)),
        int(kind.get_num_possible_values()), float(given.min()), float(given.max()), (low, high),
    )  # fmt: skip
    if made.altered > MOST_ALTERED * made.values and not clip:
        at = np.unravel_index(int(np.argmax(beyond | fractions)), given.shape)
        raise UsageError(
            f"input {port.name} takes {port.dtype} integers; {made.altered:,} of {made.values:,} values are none "
            f"({made.altered / made.values:.1%}), as {given[at]:g} in frame {at[0]}; {made.cause}; give integers, or "
            "--clip to round and clip them"
        )
    return checked(kept, f"input {port.name}", port.shape, port.dtype), made


def _quantized(port: Port, given: np.ndarray) -> tuple[np.ndarray, InputValues]:
    frames = checked(given, f"input {port.name}", port.shape, port.dtype)
    codes = run(port.steps, frames)
    at = max((i for i, each in enumerate(port.steps) if each.op in QUANTIZERS), default=-1)
    quantizer = port.steps[at] if at >= 0 else None
    limits = None if quantizer is None else _limits(quantizer)
    covered = None if quantizer is None or limits is None else _covered(port.steps[:at], quantizer, limits)
    occurring = np.unique(codes)
    possible = 2 if limits is None else limits[1] - limits[0] + 1
    if quantizer is not None and quantizer.op == "MultiThreshold":
        possible = len(quantizer.operands[0]) + 1
    made = InputValues(
        port.name, port.dtype, False, given.size, 0, int(_beyond(port.steps[: at + 1], frames).sum()), len(occurring),
        max(possible, len(occurring)), float(given.min()), float(given.max()), covered,
    )  # fmt: skip
    return frames, made


def _limits(step: HostStep) -> tuple[int, int] | None:
    """The least and greatest code of a quantizer that clips; None for others."""
    about = dict(step.attributes)
    if step.op == "Quant" and not (about["bits"] == 1 and about["signed"]):
        return code_range(about["bits"], about["signed"], about["narrow"])
    if step.op == "QuantizeLinear":
        return about["low"], about["high"]
    if step.op == "Trunc":
        clip: tuple[int, int] | None = about["clip"]
        return clip
    return None


def _unclipped(step: HostStep, x: np.ndarray) -> np.ndarray:
    """The codes of Quant, QuantizeLinear or Trunc without their clipping."""
    if step.op == "QuantizeLinear":
        scale, zero_point = step.operands
        return np.round(x / scale) + zero_point
    mode = str(dict(step.attributes)["rounding_mode"])
    if step.op == "Quant":
        scale, zero_point = step.operands
        return round_to_integer(x / scale + zero_point, mode)
    scale, zero_point, divisor = step.operands
    return round_to_integer(np.round(x / scale + zero_point) / divisor, mode)


_INVERSE = {"Add": np.subtract, "Sub": np.add, "Mul": np.divide, "Div": np.multiply}


def _covered(before: tuple[HostStep, ...], step: HostStep, limits: tuple[int, int]) -> tuple[float, float] | None:
    """The input's values that get the least and the greatest code of a quantizer; None where the steps before it are
    more than scales and offsets."""
    factor = step.operands[2] if step.op == "Trunc" else np.ones(())
    ends = [(code * factor - step.operands[1]) * step.operands[0] for code in limits]
    with np.errstate(all="ignore"):
        for each in reversed(before):
            if each.op in _INVERSE:
                ends = [_INVERSE[each.op](end, each.operands[0]) for end in ends]
            elif each.op not in RESHAPING:
                return None
    low, high = float(np.min(ends)), float(np.max(ends))
    return (low, high) if np.isfinite(low) and np.isfinite(high) else None


def _beyond(steps: tuple[HostStep, ...], x: np.ndarray) -> np.ndarray:
    """Where the steps clip: in a clipping quantizer, and in a Clip or Relu before it."""
    result = np.zeros(x.shape, bool)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for step in steps:
            if (limits := _limits(step)) is not None:
                codes = _unclipped(step, x)
                result |= (codes < limits[0]) | (codes > limits[1])
            elif step.op in ("Clip", "Relu"):
                result |= step(x) != x
            elif step.op in RESHAPING:
                result = step(result)
            x = step(x)
    return result
