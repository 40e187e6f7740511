"""FINN's Requant: float32 scale and bias, rounded half up. Ours is integers: where both agree."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.host.errors import BitfabricError
from hw.kernels.requant.kernel import Requant
from hw.kernels.threshold.kernel import Threshold
from hw.lowering.decision_points import StepFunction, step_function, thresholds

MOST = 1 << 22
"""Codes of all channels whose decision points are compared."""
THRESHOLDS = 255
"""The most thresholds that take the place of a requant."""
EXACT = 24
"""Bits of float32's integers, in which FINN's emulator computes."""


def parameters(
    kernel: Requant, name: str, bounds: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Scale and bias (C,) float32 and narrowness of FINN's Requant that gives the kernel's codes.

    ``bounds`` are the least and greatest input of each channel, and all between count. Raises BitfabricError, naming
    the node, where there is none: inputs that float32 does not hold, ties that round to even, scales beyond float32.
    """
    unit = Fraction(1, 1 << kernel.shift)
    # What is added before rounding down.
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
    """What FINN clips to."""
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
    """Our kernel for FINN's: exact integers, the same codes within ``bounds`` (see ``parameters``).

    Raises BitfabricError where float32 rounds otherwise.
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
    """Where FINN's codes differ from the kernel's, in words; None where they are equal on every input within bounds.

    Neither turns, so it is enough to look to both sides of every decision point of the kernel's.
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
    """The kernel's codes as a function of one integer of each channel."""
    alone = replace(kernel, prefix=(), pe=1)
    return step_function(lambda x: alone.execute(x)[0].astype(np.int64), low, high, True, kernel.op)


def as_thresholds(kernel: Requant, bounds: tuple[np.ndarray, np.ndarray]) -> Threshold:
    """The same codes by thresholds, which FINN has with any ties: at most ``THRESHOLDS`` of them."""
    function = _steps(kernel, *bounds)
    dtype = kernel.output_dtype
    if function.least == function.most:  # A kernel needs one step at least.
        spare = function.most < int(dtype.max())
        function = replace(function, least=function.least - (not spare), most=function.most + spare)
    table = thresholds(function).reshape(kernel.channels, -1)
    return Threshold(
        table, function.falling, kernel.input_dtype, dtype, kernel.prefix, kernel.pe, output_min=function.least
    )
