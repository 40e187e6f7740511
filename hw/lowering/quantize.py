"""Quantizers as kernels: the whole chain before one, as thresholds or as a requant."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hw.host.errors import BitfabricError
from hw.host.operators import MONOTONE
from hw.host.steps import run, step
from hw.ir.kernel import Kernel
from hw.ir.stream import smallest_dtype
from hw.kernels.requant.kernel import Requant
from hw.kernels.threshold.kernel import Threshold
from hw.lowering import requantize
from hw.lowering.affine import CLIPS, affine, floats, rational
from hw.lowering.decision_points import WORK, StepFunction, step_function, thresholds
from hw.lowering.wires import Steps, Wire, binary, dtype_of, in_float64, last_quantizer, quantizer_range

THRESHOLD_LEVELS = 256
"""Up to so many output codes a quantizer is thresholds, above it a requant where its function is affine."""
SHIFT_LEVELS = 32
"""From so many on a requant that only shifts is preferred: it is smaller than a memory of thresholds."""
MOST_LEVELS = 1024
"""Output codes that thresholds can give at all."""
TRIED = 1 << 22
"""Evaluations spent on finding out whether a quantizer changes anything."""


@dataclass(frozen=True, eq=False)
class Quantizer:
    """A quantizer behind a wire: its ``kernel``, and the function that it was made from (0 and 1 for -1 and +1).

    ``low``, ``high`` (channels,) bound the kernel's codes.
    """

    kernel: Kernel
    function: StepFunction
    low: np.ndarray
    high: np.ndarray


def quantizer(wire: Wire, head: Steps, what: str) -> Quantizer:
    """The kernel for ``head``, steps from the integers of ``wire`` that end in a quantizer. Raises BitfabricError.

    Steps must treat all elements of a channel alike. Thresholds follow them as they are, in float32 behind the exact
    product. A requant, which has no decision points of its own, computes them without that rounding (see
    ``hw.lowering.requantize`` for scales that it cannot hold).
    """
    function, two_valued = _function(wire, head, what), binary(head[-1])
    if two_valued:
        function = replace(function, least=0, most=1)
    levels = function.most - function.least + 1
    kernel: Kernel | None = None
    if SHIFT_LEVELS <= levels <= THRESHOLD_LEVELS and _shifts(function, head):
        kernel = _requant(wire, head, function)
    elif levels > THRESHOLD_LEVELS:
        exact = _function(wire, in_float64(head), what)
        kernel = _requant(wire, in_float64(head), exact)
        if kernel is not None:
            function = exact
        elif levels > MOST_LEVELS:
            raise BitfabricError(
                f"{what} has {levels} levels, and no multiplication and shift gives its codes; put only a bias and "
                "BatchNorm before it, and ReLU last, or use at most 10 bits"
            )
    if kernel is None:
        kernel = _threshold(wire, function, two_valued)
    ends = kernel.execute(np.stack([wire.low, wire.high]))[0].astype(np.int64)
    return Quantizer(kernel, function, ends.min(axis=0), ends.max(axis=0))


def _shifts(function: StepFunction, head: Steps) -> bool:
    """Whether the steps only add and multiply by one power of two."""
    line = affine(head[:-1], function.low.shape, through_clips=True)
    if head[-1].op != "Quant" or line is None:
        return False
    slopes = {abs(slope) for slope in (line[0] / rational(head[-1].operands[0])).ravel()}
    return len(slopes) == 1 and all(n.bit_count() == 1 for n in slopes.pop().as_integer_ratio())


def _function(wire: Wire, head: Steps, what: str) -> StepFunction:
    """The codes of steps that end in a quantizer, of one element of each channel; of a two-valued one 0 and 1."""
    two_valued = binary(head[-1])

    def codes(frames: np.ndarray) -> np.ndarray:
        values = run(head, frames.astype(np.float64))
        return np.where(values > 0, 1.0, 0.0) if two_valued else values

    return step_function(codes, *wire.bounds, all(each.op in MONOTONE for each in head), what)


def _threshold(wire: Wire, function: StepFunction, two_valued: bool) -> Threshold:
    function = replace(function, most=max(function.most, function.least + 1))  # A kernel needs one step at least.
    table = thresholds(function).reshape(wire.channels, -1)
    dtype = dtype_of(function.least, function.most, two_valued)
    least = None if two_valued else function.least
    return Threshold(table, function.falling.ravel(), wire.dtype, dtype, wire.shape[:-1], output_min=least)


def _requant(wire: Wire, head: Steps, function: StepFunction) -> Kernel | None:
    """The requant that computes the function exactly; None if there is none."""
    frame = function.low.shape
    line = affine(head[:-1], frame, through_clips=True)
    if head[-1].op != "Quant" or line is None:
        return None
    scale, zero_point = (rational(operand) for operand in head[-1].operands)
    slope, offset = (line[0] / scale).reshape(frame), (line[1] / scale + zero_point).reshape(frame)
    mode = str(dict(head[-1].attributes)["rounding_mode"])
    dtype = dtype_of(function.least, function.most)

    def build(multiplier: np.ndarray, addend: np.ndarray, shift: int) -> Kernel:
        bounds = function.least, function.most
        return Requant(multiplier.ravel(), addend.ravel(), shift, mode, wire.dtype, dtype, *bounds, wire.shape[:-1])

    def candidate(*values) -> Callable[[np.ndarray], np.ndarray] | None:
        try:
            kernel = build(*values)
        except BitfabricError:
            return None  # Too wide for the kernel.
        return lambda frames: kernel.execute(frames)[0]

    found = requantize.parameters(function, slope, offset, mode, candidate)
    return None if found is None else build(*found)


def changes_nothing(wire: Wire, steps: Steps) -> bool:
    """Whether a quantizer (with its re-scaling) gives back every value that can reach it: it can be left out.

    One behind a ReLU or the like stays, as the kernel that computes it computes the ReLU.
    """
    at = last_quantizer(wire.steps)
    behind = wire.steps if at is None else wire.steps[at + 1 :]
    if affine(behind, (*(1,) * (len(wire.shape) - 1), wire.channels)) is None:
        return False
    longer = wire.then(steps, "")
    count = int((wire.high - wire.low).max()) + 1
    if longer.tail or longer.uneven or count * wire.channels > TRIED:
        return False
    low, high = wire.bounds
    frames = np.minimum(low + np.arange(count).reshape(-1, *[1] * low.ndim), high)
    before = run(wire.steps, frames.astype(np.float64))
    return np.array_equal(run(longer.steps[len(wire.steps) :], before), before)


def on_a_grid(steps: Steps, origins: tuple[str, ...]) -> Steps:
    """One more quantizer for steps that clip behind their last one, where that changes nothing; else no steps.

    ReLU or Clip between a quantizer and a layer leave the quantizer's grid as it is if they cut it at one of its
    values.
    """
    at = last_quantizer(steps)
    if at is None or not any(each.op in CLIPS for each in steps[at + 1 :]):
        return ()
    tail = steps[at + 1 :]
    rank = max((value.ndim for each in tail for value in each.operands), default=1)
    line = affine(tail, (1,) * (rank - 1), through_clips=True)
    if line is None or any(value == 0 for value in np.ravel(line[0])):
        return ()
    slope, offset = (floats(np.asarray(part)[None]) for part in line)
    low, high = quantizer_range(steps[at], origins[at])
    least, most = 0, 0
    size = max(1, WORK // slope.size)
    for start in range(low, high + 1, size):
        codes = np.arange(start, min(start + size, high + 1), dtype=np.float64)
        values = run(in_float64(tail), codes.reshape(-1, *[1] * (slope.ndim - 1)))
        integers = np.rint((values - offset) / slope)
        if not np.array_equal(integers * slope + offset, values):
            return ()
        least, most = min(least, int(integers.min())), max(most, int(integers.max()))
    bits = smallest_dtype(least, most).bitwidth()
    zero = np.zeros(())
    codes_step = step("Quant", slope, zero, bits=bits, signed=least < 0, narrow=False, rounding_mode="ROUND")
    shift = (step("Sub", offset),) if np.any(offset) else ()
    back = (step("Add", offset),) if np.any(offset) else ()
    return (*shift, codes_step, step("Mul", slope), *back)
