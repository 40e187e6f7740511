"""Conversion between FINN's Requant and our kernel, where both compute the same codes.

FINN's Requant has a float32 scale and bias and rounds half up; our kernel uses integers only.
"""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.host.errors import BitfabricError
from hw.kernels.requant.kernel import Requant
from hw.kernels.threshold.kernel import Threshold
from hw.lowering.decision_points import StepFunction, step_function, thresholds

MOST = 1 << 22
"""Limit on the number of codes, over all channels, whose decision points are compared."""
THRESHOLDS = 255
"""Maximum number of thresholds that may replace a Requant."""
EXACT = 24
"""Bits of the integers that float32, in which FINN's emulator computes, holds exactly."""


def parameters(
    kernel: Requant, name: str, bounds: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Scale and bias (float32 (C,)) and the flag ``narrow`` with which FINN's Requant computes the kernel's codes.

    ``bounds`` are the minimum and maximum input of each channel; the codes are equal on all inputs between them.
    Raises BitfabricError with ``name``, the node's, if there is no such Requant: for inputs that float32 does not hold,
    ties that round to even, or scales beyond float32.
    """
    unit = Fraction(1, 1 << kernel.shift)
    # The constant that is added before rounding down.
    before = {"FLOOR": Fraction(0), "CEIL": 1 - unit}.get(kernel.rounding, Fraction(1, 2))
    scale = np.array([np.float32(float(int(m) * unit)) for m in kernel.multiplier], np.float32)
    bias = np.array([np.float32(float(int(a) * unit + before - Fraction(1, 2))) for a in kernel.addend], np.float32)
    difference: str | None = None
    for narrow in (False, True):
        difference = _difference(kernel, scale, bias, _clip(kernel.output_dtype, narrow), bounds)
        if difference is None:
            return scale, bias, narrow
    raise BitfabricError(
        f"{name}: FINN's Requant rounds half up in float32 and clips to the whole of its type, which gives other codes "
        f"here ({difference}); train with rounding to FLOOR, or with at most 8 bits, or use the open back end, which "
        "is exact"
    )


def _clip(dtype: BaseDataType, narrow: bool) -> tuple[int, int]:
    """The range to which FINN clips."""
    return int(dtype.min()) + (1 if narrow and dtype.signed() else 0), int(dtype.max())


def kernel_of(
    name: str,
    scale: np.ndarray,
    bias: np.ndarray,
    types: tuple[BaseDataType, BaseDataType],
    narrow: bool,
    prefix: tuple[int, ...],
    pe: int,
    bounds: tuple[np.ndarray, np.ndarray],
) -> Requant:
    """Our kernel for FINN's Requant: exact integers, with the same codes within ``bounds`` (see ``parameters``).

    ``types`` are those of the input and output. Raises BitfabricError if float32 rounds some input otherwise.
    """
    ratios = [(Fraction(float(s)), Fraction(float(b)) + Fraction(1, 2)) for s, b in zip(scale, bias, strict=True)]
    shift = max(part.denominator.bit_length() - 1 for pair in ratios for part in pair)
    multiplier = np.array([int(s * (1 << shift)) for s, _ in ratios], np.int64)
    addend = np.array([int(b * (1 << shift)) for _, b in ratios], object)
    given, dtype = types
    low, high = _clip(dtype, narrow)
    kernel = Requant(multiplier, addend, shift, "FLOOR", given, dtype, low, high, prefix, pe)
    parts = np.asarray(scale, np.float32), np.asarray(bias, np.float32)
    if difference := _difference(kernel, *parts, (low, high), bounds):
        raise BitfabricError(
            f"{name}: this Requant's float32 arithmetic rounds otherwise than its scale and bias say ({difference}); "
            "give it scales that are powers of two, or use the QONNX file"
        )
    return kernel


def codes(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, low: int, high: int) -> np.ndarray:
    """FINN's arithmetic: ``clip(floor(x * scale + bias + 1/2))`` in float32."""
    scaled = x.astype(np.float32) * scale + bias
    return np.clip(np.floor(scaled + np.float32(0.5)), low, high)


def _difference(
    kernel: Requant,
    scale: np.ndarray,
    bias: np.ndarray,
    clip: tuple[int, int],
    bounds: tuple[np.ndarray, np.ndarray],
) -> str | None:
    """An input for which FINN's codes differ from the kernel's, in words; None if they are equal within ``bounds``.

    Both are monotone, so it is sufficient to compare on both sides of every decision point of the kernel's.
    """
    dtype, low, high = kernel.input_dtype, *bounds
    if dtype.bitwidth() > EXACT:
        return f"float32 does not hold inputs of {dtype.bitwidth()} bits"
    function = _steps(kernel, low, high)
    if dtype.name == "BIPOLAR" or (function.most - function.least) * kernel.channels > MOST:
        return f"the codes of {kernel.channels} channels from {dtype.name} are too many to compare"
    points = function.points(np.arange(function.least + 1, function.most + 1))
    for x in (low[None], high[None], np.minimum(points, high), np.maximum(points - 1, low)):
        differs = codes(x, scale, bias, *clip) != function.codes(x)
        if differs.any():
            where = np.unravel_index(int(np.argmax(differs)), differs.shape)
            return f"as for the input {x[where]} of channel {where[1]}"
    return None


def _steps(kernel: Requant, low: np.ndarray, high: np.ndarray) -> StepFunction:
    """The kernel's codes as a function of one integer for each channel."""
    alone = replace(kernel, prefix=(), pe=1)
    return step_function(lambda x: alone.execute(x)[0].astype(np.int64), low, high, kernel.op)


def as_thresholds(kernel: Requant, bounds: tuple[np.ndarray, np.ndarray]) -> Threshold:
    """A Threshold with the same codes, at most ``THRESHOLDS`` of them; FINN can compute those with any rounding."""
    function = _steps(kernel, *bounds)
    dtype = kernel.output_dtype
    if function.least == function.most:  # A Threshold has at least one threshold.
        spare = function.most < int(dtype.max())
        function = replace(function, least=function.least - (not spare), most=function.most + spare)
    table = thresholds(function).reshape(kernel.channels, -1)
    return Threshold(
        table, function.falling, kernel.input_dtype, dtype, kernel.prefix, kernel.pe, output_min=function.least
    )
