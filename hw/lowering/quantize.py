"""Quantizers as kernels: a quantizer and the whole chain before it become a Threshold, a Requant, or a Table."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from qonnx.core.datatype import DataType

from hw.host.errors import BitfabricError
from hw.host.steps import run, step
from hw.ir.kernel import Kernel
from hw.ir.stream import smallest_dtype
from hw.kernels.requant.kernel import Requant
from hw.kernels.table.kernel import MAX_BITS, Table, input_values
from hw.kernels.threshold.kernel import Threshold
from hw.lowering import requantize
from hw.lowering.affine import CLIPS, affine_form, floats, rational
from hw.lowering.coefficients import separation
from hw.lowering.decision_points import WORK, Codes, StepFunction, step_function, thresholds
from hw.lowering.integer_tensor import (
    AS_FLOAT32,
    TRIED,
    HostTensor,
    IntegerTensor,
    Steps,
    binary,
    dtype_of,
    is_narrowing,
    last_quantizer,
    quantizer_range,
    without_casts,
)
from hw.lowering.monotone import monotone
from hw.lowering.pending_sum import PendingSum, Summation, summation
from hw.lowering.pieces import Bounds, Pieces, pieces
from hw.lowering.rounding import Interval, through, through_own

AnyTensor = HostTensor | IntegerTensor
THRESHOLD_LEVELS = 256
"""A quantizer with at most this many codes is a Threshold; with more, a Requant if its function is affine."""
SHIFT_LEVELS = 32
"""From this many codes on, a Requant that only shifts is preferred: it is smaller than a memory of thresholds."""
EXACT = 1 << 53
"""Largest magnitude of integers that float64 holds exactly."""
ROUNDED = frozenset({"Quant", "QuantizeLinear"})
"""Quantizers that round a value on a scale; a Requant can compute them."""
LARGE_TABLE = 1 << 17
"""Bits of thresholds above which ONNX's QuantizeLinear becomes a Requant: 255 thresholds of many channels fill many
block RAMs, where one multiplication takes a few DSPs."""
MOVED = 1 / 8
"""Share of the decision points that float32 may move where a Requant takes the place of thresholds. It is large where
the scales have a ratio of small integers: exact values are ties, which float32 rounds by chance."""
MOST_LEVELS = 1024
"""Maximum number of codes of a Threshold, and of the pieces of a function."""
DIRECT_BITS = 8
"""Inputs of at most this many bits address a Table without a Threshold before it."""


@dataclass(frozen=True, eq=False)
class Quantizer:
    """A quantizer as ``kernels``, one after another, and the ``function`` that they compute (with codes 0 and 1 for a
    bipolar one).

    ``low`` and ``high`` (channels,) are the minimum and maximum code of each channel.
    """

    kernels: tuple[Kernel, ...]
    function: Codes
    low: np.ndarray
    high: np.ndarray

    @property
    def in_float32(self) -> bool:
        """Whether the codes are those of the model's own arithmetic; a Requant computes without rounding."""
        return not isinstance(self.kernels[-1], Requant)

    def execute(self, integers: np.ndarray) -> np.ndarray:
        """The codes of integers ``(N, *shape)``."""
        for kernel in self.kernels:
            (integers,) = kernel.execute(integers)
        return integers


@dataclass(frozen=True)
class Join:
    """What is known of a sum of unequal scales.

    Its quantizer has the code of the model's own float32 arithmetic for all ``combinations`` of the integers that are
    summed but those ``differing``, in which float32 rounds equal sums differently. With 0 combinations there are too
    many to decide that; the sum is then as precise as float32.
    """

    combinations: int
    differing: int


def quantizer(tensor: IntegerTensor, head: Steps, what: str) -> Quantizer:
    """The kernels that compute ``head``: steps on the integers of ``tensor`` that end in a quantizer.

    The steps must not vary spatially. A Threshold computes them exactly as the model does, in float32 after the exact
    product, and so does a Table, for functions that are not monotone. A Requant stores no decision points, and computes
    them without that rounding (``hw.lowering.requantize`` says what happens to scales that it cannot hold). Raises
    BitfabricError, with ``what`` (the quantizer's name), if there are no such kernels.
    """
    if max(abs(bound) for bound in tensor.range) > EXACT:
        raise BitfabricError(
            f"{what} quantizes sums of {tensor.dtype.bitwidth()} bits; sums of up to 53 bits are exact in float64, in "
            "which its decision points are computed: put a quantizer of few bits between the layers before it"
        )
    codes, two_valued = _codes(head), binary(head[-1])
    found: Pieces | None = None
    if monotone(head) or tensor.dtype == DataType["BIPOLAR"]:
        function = step_function(codes, *tensor.bounds, what)
    else:
        found = pieces(codes, _bounds(head), *tensor.bounds, what)
        falling = found.falling()
        if falling is None:
            return tables(tensor, found, codes, two_valued, what)
        function = StepFunction(codes, *tensor.bounds, falling.reshape(tensor.bounds[0].shape), *found.range)
    if two_valued:
        function = replace(function, least=0, most=1)
    levels = function.most - function.least + 1
    kernel: Kernel | None = None
    if SHIFT_LEVELS <= levels <= THRESHOLD_LEVELS and _shifts(function, head):
        kernel = _requant(tensor, head, function)
    elif (levels > THRESHOLD_LEVELS or _large(tensor, head, levels)) and _is_affine(function, head):
        exact = step_function(_codes(without_casts(head)), *tensor.bounds, what)
        if levels > THRESHOLD_LEVELS or _moved(function, exact) <= MOVED:
            kernel = _requant(tensor, head, exact)
            function = function if kernel is None else exact
    if kernel is None and levels > MOST_LEVELS:
        if found is None and tensor.dtype.bitwidth() <= MAX_BITS:
            found = pieces(codes, _bounds(head), *tensor.bounds, what)
        if found is None or (found.most > MOST_LEVELS and tensor.dtype.bitwidth() > MAX_BITS):
            raise BitfabricError(
                f"{what} has {levels} levels, and no multiplication and shift gives its codes; put only a bias and "
                "BatchNorm before it, and ReLU last, or use at most 10 bits"
            )
        return tables(tensor, found, codes, two_valued, what)
    if kernel is None:
        kernel = _threshold(tensor, function, two_valued)
    return _quantizer(kernel, function, tensor)


def _quantizer(kernel: Kernel, function: StepFunction, tensor: IntegerTensor) -> Quantizer:
    """A quantizer with the codes at the ends of the range of its input."""
    ends = kernel.execute(np.stack([tensor.low, tensor.high]))[0].astype(np.int64)
    return Quantizer((kernel,), function.codes, ends.min(axis=0), ends.max(axis=0))


def _codes(head: Steps) -> Codes:
    """The codes of steps that end in a quantizer; 0 and 1 for a bipolar one."""
    two_valued = binary(head[-1])

    def codes(frames: np.ndarray) -> np.ndarray:
        values = run(head, frames.astype(np.float64))
        return np.where(values > 0, 1.0, 0.0) if two_valued else values

    return codes


def _bounds(head: Steps) -> Bounds:
    """Bounds on the same codes for all integers between two."""
    two_valued = binary(head[-1])

    def bounds(first: np.ndarray, last: np.ndarray) -> Interval:
        low, high = through_own(head, (first, last))
        return (np.where(low > 0, 1.0, 0.0), np.where(high > 0, 1.0, 0.0)) if two_valued else (low, high)

    return bounds


def tables(tensor: IntegerTensor, found: Pieces, codes: Codes, two_valued: bool, what: str) -> Quantizer:
    """A function of pieces as a Table; or as a Threshold that gives the number of an integer's piece, and a Table.

    Inputs of up to DIRECT_BITS bits address the table themselves, and wider ones where that takes fewer bits of
    memory. Raises BitfabricError, with ``what`` (the quantizer's name), for wide inputs and too many pieces.
    """
    dtype = dtype_of(*((-1, 1) if two_valued else found.range), two_valued)
    width, out, rows = tensor.dtype.bitwidth(), dtype.bitwidth(), 1 if found.shared else tensor.channels
    index = smallest_dtype(0, found.most - 1)
    whole = rows * out << width
    parted = rows * ((found.most - 1) * width + (out << index.bitwidth()))
    if found.most > MOST_LEVELS and width > MAX_BITS:
        raise BitfabricError(
            f"{what} follows a function that is not monotone: its code changes {found.most - 1:,} times over a range "
            f"of {tensor.span:,} integers, and tables hold {MOST_LEVELS:,} pieces; use fewer bits, or put a quantizer "
            f"of up to {MAX_BITS} bits before that function"
        )
    prefix = tensor.shape[:-1]
    if width <= MAX_BITS and (width <= DIRECT_BITS or whole <= parted):
        inputs = input_values(tensor.dtype)
        values = np.array([found.at(channel, inputs) for channel in range(tensor.channels)])
        kernels: tuple[Kernel, ...] = (Table(_signs(values, two_valued), tensor.dtype, dtype, prefix),)
    else:
        starts = np.full((tensor.channels, found.most - 1), int(tensor.dtype.max()) + 1)
        values = np.empty((tensor.channels, 1 << index.bitwidth()), np.int64)
        for channel, (first, code) in enumerate(zip(found.starts, found.codes, strict=True)):
            starts[channel, : len(first) - 1] = first[1:]
            values[channel] = np.pad(code, (0, values.shape[1] - len(code)), mode="edge")
        rising = np.zeros(tensor.channels, bool)
        kernels = (
            Threshold(starts, rising, tensor.dtype, index, prefix, output_min=0),
            Table(_signs(values, two_valued), index, dtype, prefix),
        )
    ends = [(code.min(), code.max()) for code in found.codes]
    low, high = (_signs(np.array(end), two_valued).astype(np.int64) for end in zip(*ends, strict=True))
    return Quantizer(kernels, codes, low, high)


def _signs(values: np.ndarray, two_valued: bool) -> np.ndarray:
    """Codes as integers: -1 and 1 instead of 0 and 1 for a bipolar quantizer."""
    return (2 * values - 1 if two_valued else values).astype(np.int64)


def _is_affine(function: StepFunction, head: Steps) -> bool:
    """Whether the steps before the quantizer are affine between their clips, and none rounds to float16."""
    return (
        not any(map(is_narrowing, head)) and affine_form(head[:-1], function.low.shape, through_clips=True) is not None
    )


def summed_quantizer(pending: PendingSum, head: Steps, what: str) -> tuple[Summation, Quantizer, Join]:
    """The same for a sum that has no kernels yet: its kernels, the quantizer, and what is known of both.

    A Threshold of at most ``THRESHOLD_LEVELS`` codes gets the cheapest sum that tells its codes apart
    (``hw.lowering.coefficients``). Other quantizers, and sums with too many decision points, get a sum as precise as
    float32.
    """
    low, high = quantizer_range(head[-1], what)
    found = separation(pending, head) if high - low < THRESHOLD_LEVELS else None
    if found is None:
        sums = summation(pending, pending.faithful)
        return sums, quantizer(sums.tensor, head, what), Join(0, 0)
    sums = summation(pending, found.coefficients)
    tensor, two_valued = sums.tensor, binary(head[-1])
    dtype = dtype_of(found.least, found.most, two_valued)
    least = None if two_valued else found.least
    kernel = Threshold(found.thresholds, found.falling, tensor.dtype, dtype, tensor.shape[:-1], output_min=least)

    def codes(frames: np.ndarray) -> np.ndarray:
        return kernel.execute(frames.astype(np.int64))[0] * np.int64(1)

    bounds = tensor.bounds
    function = StepFunction(codes, *bounds, found.falling.reshape(bounds[0].shape), found.least, found.most)
    return sums, _quantizer(kernel, function, tensor), Join(found.combinations, found.differing)


def _large(tensor: IntegerTensor, head: Steps, levels: int) -> bool:
    """Whether a Requant is preferred for the size of the thresholds that it replaces."""
    bits = (levels - 1) * tensor.channels * tensor.dtype.bitwidth()
    return head[-1].op == "QuantizeLinear" and levels >= SHIFT_LEVELS and bits > LARGE_TABLE


def _moved(function: StepFunction, exact: StepFunction) -> float:
    """The share of the decision points at which a function in float32 differs from the ``exact`` one."""
    if (function.least, function.most) != (exact.least, exact.most):
        return 1.0
    return float(np.mean(thresholds(function) != thresholds(exact)))


def _shifts(function: StepFunction, head: Steps) -> bool:
    """Whether the steps are an addition and a multiplication by one power of two for all channels."""
    affine = affine_form(head[:-1], function.low.shape, through_clips=True)
    if head[-1].op not in ROUNDED or affine is None:
        return False
    slopes = {abs(slope) for slope in (affine[0] / rational(head[-1].operands[0])).ravel()}
    return len(slopes) == 1 and all(n.bit_count() == 1 for n in slopes.pop().as_integer_ratio())


def _threshold(tensor: IntegerTensor, function: StepFunction, two_valued: bool) -> Threshold:
    """The Threshold with the function's decision points."""
    function = replace(function, most=max(function.most, function.least + 1))  # A kernel needs one step at least.
    table = thresholds(function).reshape(tensor.channels, -1)
    dtype = dtype_of(function.least, function.most, two_valued)
    least = None if two_valued else function.least
    return Threshold(table, function.falling.ravel(), tensor.dtype, dtype, tensor.shape[:-1], output_min=least)


def _requant(tensor: IntegerTensor, head: Steps, function: StepFunction) -> Kernel | None:
    """The Requant that computes the function; None if there is none."""
    frame = function.low.shape
    affine = affine_form(head[:-1], frame, through_clips=True)
    if head[-1].op not in ROUNDED or affine is None:
        return None
    scale, zero_point = (rational(operand) for operand in head[-1].operands)
    slope, offset = (affine[0] / scale).reshape(frame), (affine[1] / scale + zero_point).reshape(frame)
    mode = str(dict(head[-1].attributes).get("rounding_mode", "ROUND"))
    dtype = dtype_of(function.least, function.most)

    def build(multiplier: np.ndarray, addend: np.ndarray, shift: int) -> Kernel:
        bounds = function.least, function.most
        return Requant(multiplier.ravel(), addend.ravel(), shift, mode, tensor.dtype, dtype, *bounds, tensor.shape[:-1])

    def candidate(*values: Any) -> Callable[[np.ndarray], np.ndarray] | None:
        try:
            kernel = build(*values)
        except BitfabricError:
            return None  # Too wide for the kernel.
        return lambda frames: kernel.execute(frames)[0]

    def bounds(frames: np.ndarray) -> Interval:
        return through(head, (frames.astype(np.float64),) * 2)

    found = requantize.parameters(function, slope, offset, mode, candidate, bounds)
    return None if found is None else build(*found)


def is_redundant(tensor: IntegerTensor, steps: Steps) -> bool:
    """Whether a quantizer, with its re-scaling, maps every value that the tensor can have to itself.

    Then it can be left out. A quantizer after a ReLU or another function that is not affine stays, since its kernel
    also computes that function.
    """
    at = last_quantizer(tensor.steps)
    remaining = tensor.steps if at is None else tensor.steps[at + 1 :]
    if affine_form(remaining, (*(1,) * (len(tensor.shape) - 1), tensor.channels)) is None:
        return False
    longer = tensor.then(steps, "")
    count = tensor.span
    merged = len(longer.steps) == len(tensor.steps)  # The last quantizer's codes are bounded further.
    if merged or longer.host_steps or longer.varies_spatially or count * tensor.channels > TRIED:
        return False
    low, high = tensor.bounds
    frames = np.minimum(low + np.arange(count).reshape(-1, *[1] * low.ndim), high)
    before = run(tensor.steps, frames.astype(np.float64))
    return np.array_equal(run(longer.steps[len(tensor.steps) :], before), before)


def renamed(value: AnyTensor, steps: Steps, origin: str) -> AnyTensor | None:
    """The tensor as the codes of QuantizeLinear (``steps``), if they are integers that it already has, plus a constant.

    That is so behind a pool, a join or a move of codes of the same scale. None where a kernel must compute the codes.
    """
    if not steps or steps[0].op != "QuantizeLinear" or value.host_steps:
        return None
    at = last_quantizer(value.steps)
    ends, longer = _integer_bounds(value, at), value.then(steps, origin)
    if ends is None or len(longer.steps) == len(value.steps):
        return None
    start = kept = 0 if at is None else at + 1
    while at is not None and kept < len(value.steps) and value.origins[kept] == value.origins[at]:
        kept += 1
    head = value.steps[start:kept]
    if at is None and isinstance(value, IntegerTensor):
        head = (AS_FLOAT32,)
    low, high = ends
    count = int((high - low).max()) + 1
    shapes = (operand.shape[1:] for each in longer.steps[start:] for operand in each.operands)
    if count * prod(np.broadcast_shapes(low.shape, *shapes)) > TRIED:
        return None
    integers = np.minimum(low + np.arange(count).reshape(-1, *[1] * low.ndim), high)
    given = integers.astype(np.float64 if isinstance(value, IntegerTensor) and at is None else np.float32)
    shift = run(longer.steps[start:], given).astype(np.float64) - run(head, given)
    if np.any(shift != shift[:1]):
        return None
    origins = value.origins[:kept] if at is not None else (origin,) * len(head)
    result = replace(value, steps=(*value.steps[:start], *head), origins=origins)
    return result.extended((step("Add", shift[:1].astype(np.float32)),), (origin,)) if np.any(shift) else result


def _integer_bounds(value: AnyTensor, at: int | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The minimum and maximum of a tensor's integers, without the batch, after the quantizer at step ``at``; of the
    edge's or the input's own where that is None. None for floating-point inputs."""
    if at is None and isinstance(value, IntegerTensor):
        return value.bounds
    if at is not None:
        ends: tuple[float, float] = quantizer_range(value.steps[at], value.origins[at])
    elif isinstance(value, HostTensor) and value.dtype is not None:
        ends = value.dtype.min(), value.dtype.max()
    else:
        return None
    low, high = (np.full((1,) * len(value.shape), int(end)) for end in ends)
    return low, high


def regridding_steps(steps: Steps, origins: tuple[str, ...]) -> Steps:
    """The steps of one more quantizer for a chain that clips after its last quantizer; none where that is impossible.

    A ReLU or Clip between a quantizer and a layer keeps values on the quantizer's grid if its bounds lie on the grid.
    A quantizer on the same grid then changes no value, and makes the chain end in integers again. ``origins`` name
    the nodes of ``steps``.
    """
    at = last_quantizer(steps)
    if at is None or not any(each.op in CLIPS for each in steps[at + 1 :]):
        return ()
    remaining = steps[at + 1 :]
    rank = max((value.ndim for each in remaining for value in each.operands), default=1)
    affine = affine_form(remaining, (1,) * (rank - 1), through_clips=True)
    if affine is None or any(value == 0 for value in np.ravel(affine[0])):
        return ()
    slope, offset = (floats(np.asarray(part)[None]) for part in affine)
    low, high = quantizer_range(steps[at], origins[at])
    least, most = 0, 0
    size = max(1, WORK // slope.size)
    for start in range(low, high + 1, size):
        codes = np.arange(start, min(start + size, high + 1), dtype=np.float64)
        values = run(without_casts(remaining), codes.reshape(-1, *[1] * (slope.ndim - 1)))
        integers = np.rint((values - offset) / slope)
        if not np.array_equal(integers * slope + offset, values):
            return ()
        least, most = min(least, int(integers.min())), max(most, int(integers.max()))
    bits = smallest_dtype(least, most).bitwidth()
    zero = np.zeros(())
    codes_step = step("Quant", slope, zero, bits=bits, signed=least < 0, narrow=False, rounding_mode="ROUND")
    shift = (step("Sub", offset),) if np.any(offset) else ()
    undo = (step("Add", offset),) if np.any(offset) else ()
    return (*shift, codes_step, step("Mul", slope), *undo)
