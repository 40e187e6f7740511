"""A sum of tensors whose scales have no ratio of small integers, before it is known what reads it.

The kernels of a sum compute ``m1 * a + m2 * b + ...`` with integer coefficients. A quantizer needs them only to tell
its codes apart, which takes few bits (``hw.lowering.coefficients``). Any other reader needs values as precise as
float32. So a handler describes the sum as a ``PendingSum``, and its kernels are made where it is read.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from typing import TypeVar

import numpy as np

from hw.host.errors import BitfabricError
from hw.host.steps import run
from hw.ir.kernel import Kernel
from hw.ir.stream import smallest_dtype
from hw.kernels.add.kernel import Add
from hw.kernels.requant.kernel import Requant
from hw.lowering.affine import affine_form, affine_steps
from hw.lowering.integer_tensor import AS_FLOAT32, IntegerTensor, Steps, without_casts
from hw.lowering.rounding import Interval, Product, added, through

FAITHFUL_BITS = 25
"""Bits of a coefficient whose rounding error is below that of float32, which has 24 bits."""
EXACT_BITS = 30
"""Coefficients of at most this many bits are exact, as those of two float32 scales, where the errors of float32 are
small."""
MOST_BITS = 53
"""Maximum bits of a sum: float64, in which decision points and the host's values are computed, holds it."""
Coefficients = Sequence[np.ndarray]
"""By leaf of a sum, its factor in each channel: integers (channels,)."""
Append = Callable[..., str]
"""Appends a node: from its name, its kernel and the edges that it reads to the edge that it writes."""


@dataclass(frozen=True, eq=False)
class Term:
    """A tensor that is added to a sum (``sign`` 1) or subtracted from it (-1)."""

    tensor: IntegerTensor
    sign: int = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class PendingSum(IntegerTensor):
    """A sum without kernels. ``edge`` is the name that its edge will get.

    Its first ``count`` steps lead from integers with the coefficients ``faithful`` to the sum in float32.

    - ``terms``: what the model adds, in the model's order; a term can be a pending sum, too;
    - ``at_once``: the terms are parts of one product of the model, so their sum is rounded to float32 only once;
    - ``slopes``: by leaf, its factor in the sum, Fractions (channels,); ``offset``: what is added to them;
    - ``precision``: bits of a coefficient whose error float32 would not notice.
    """

    terms: tuple[Term, ...]
    at_once: bool
    slopes: tuple[np.ndarray, ...]
    offset: np.ndarray
    faithful: Coefficients
    precision: int
    count: int

    @property
    def leaves(self) -> tuple[IntegerTensor, ...]:
        """The tensors on edges that are summed: the terms, and those of pending sums among them."""
        parts = (each.tensor for each in self.terms)
        return tuple(leaf for part in parts for leaf in (part.leaves if isinstance(part, PendingSum) else (part,)))

    def reshaped(self, shape: tuple[int, ...]) -> "PendingSum":
        """The same elements in the same order as a stream of another shape."""
        if shape == self.shape:
            return self
        plain = super().reshaped(shape)
        terms = tuple(replace(term, tensor=term.tensor.reshaped(shape)) for term in self.terms)
        made = pending_sum(self.edge, terms, self.origins[0], self.at_once, self.precision)
        return replace(
            made.extended(plain.steps[self.count :], self.origins[self.count :]),
            layout_ops=plain.layout_ops,
            host_steps=self.host_steps,
            host_origins=self.host_origins,
            number=self.number,
            restore_ops=plain.restore_ops,
        )

    def total(self, integers: Iterator[np.ndarray]) -> np.ndarray:
        """The model's sum, float32, for the integers of the leaves (batches of frames) in order."""
        result: np.ndarray | None = None
        for term in self.terms:
            part = term.tensor
            if isinstance(part, PendingSum):
                value = run(part.steps[part.count :], part.total(integers))
            else:
                steps = without_casts(part.steps) if self.at_once else part.steps
                value = run(steps, next(integers).astype(np.float64))
            value = value if term.sign > 0 else -value
            result = value if result is None else result + value
        assert result is not None
        return result.astype(np.float32)

    def total_bounds(self, leaves: Iterator[Interval]) -> Interval:
        """Bounds on the model's sum, for bounds on the values of the leaves in order."""
        result: Interval | None = None
        for term in self.terms:
            part = term.tensor
            if isinstance(part, PendingSum):
                low, high = through(part.steps[part.count :], part.total_bounds(leaves))
            else:
                low, high = next(leaves)
            low, high = (low, high) if term.sign > 0 else (-high, -low)
            result = (low, high) if result is None else added(result, (low, high), rounds=not self.at_once)
        assert result is not None
        return result

    def of_channels(self, channels: np.ndarray) -> "PendingSum":
        """The sum of one of several channels that compute the same, for frames of shape (1,); nothing may vary
        spatially.

        Its integers are those of all of them.
        """
        parts = (each.tensor for each in self.terms)
        chosen = [p.of_channels(channels) if isinstance(p, PendingSum) else _of_channels(p, channels) for p in parts]
        terms = tuple(replace(term, tensor=part) for term, part in zip(self.terms, chosen, strict=True))
        slopes = tuple(each[channels[:1]] for each in self.slopes)
        return replace(_of_channels(self, channels), terms=terms, slopes=slopes)


Tensor = TypeVar("Tensor", bound=IntegerTensor)


def _of_channels(tensor: Tensor, channels: np.ndarray) -> Tensor:
    """One of several channels of a tensor that compute the same, with the integers of all of them."""
    steps = steps_of_channel(tensor.steps, int(channels[0]))
    low, high = tensor.low[channels].min(keepdims=True), tensor.high[channels].max(keepdims=True)
    return replace(tensor, shape=(1,), steps=steps, low=low, high=high)


def steps_of_channel(steps: Steps, channel: int) -> Steps:
    """Steps that do not vary spatially, for frames of shape (1,) that hold one channel."""

    def operand(value: np.ndarray) -> np.ndarray:
        rows = value.reshape(-1, value.shape[-1] if value.ndim else 1)
        return rows[:, [channel if rows.shape[1] > 1 else 0]]

    return tuple(replace(each, operands=tuple(map(operand, each.operands))) for each in steps)


def pending_sum(
    name: str, terms: Sequence[Term], origin: str, at_once: bool = False, precision: int = FAITHFUL_BITS
) -> PendingSum:
    """The sum of tensors of one stream shape and layout, for the model's node ``origin``.

    ``precision`` is the number of bits of a coefficient whose error float32 would not notice. Raises BitfabricError if
    sums with such coefficients exceed ``MOST_BITS``.
    """
    first = terms[0].tensor
    slopes: list[np.ndarray] = []
    offset = np.full(first.channels, Fraction(0), object)
    leaves: list[IntegerTensor] = []
    for term in terms:
        inner, gain, shift = _linear(term.tensor)
        slopes += [term.sign * gain * each for each in inner]
        offset = offset + term.sign * shift
        leaves += term.tensor.leaves if isinstance(term.tensor, PendingSum) else (term.tensor,)
    faithful = _faithful(leaves, slopes, precision)
    low, high = _reach(leaves, faithful)
    most = max(int(-low.min()), int(high.max()))
    if most.bit_length() > MOST_BITS:
        raise BitfabricError(
            f"{origin}: the scales of its inputs are so different that their sum needs {most.bit_length() + 1} bits; "
            "quantize the wider one to fewer bits before it"
        )
    steps = _values(leaves, slopes, faithful, offset)
    return PendingSum(
        first.shape,
        steps,
        (origin,) * len(steps),
        first.layout_ops,
        edge=name,
        dtype=smallest_dtype(int(low.min()), int(high.max())),
        low=low.astype(np.int64),
        high=high.astype(np.int64),
        terms=tuple(terms),
        at_once=at_once,
        slopes=tuple(slopes),
        offset=offset,
        faithful=faithful,
        precision=precision,
        count=len(steps),
    )


def _linear(tensor: IntegerTensor) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """The slopes of a tensor's leaves before its last steps, and its slope and offset after them, all by channel."""
    if not isinstance(tensor, PendingSum):
        assert tensor.affine is not None
        slope, offset = (_by_channel(part, tensor) for part in tensor.affine)
        return (np.full(tensor.channels, Fraction(1), object),), slope, offset
    last = affine_form(tensor.steps[tensor.count :], (*(1,) * (len(tensor.shape) - 1), tensor.channels))
    assert last is not None
    gain, shift = (_by_channel(part, tensor) for part in last)
    return tensor.slopes, gain, gain * tensor.offset + shift


def _by_channel(values: np.ndarray, tensor: IntegerTensor) -> np.ndarray:
    return np.broadcast_to(values.ravel(), tensor.low.shape)


def _faithful(leaves: Sequence[IntegerTensor], slopes: Sequence[np.ndarray], precision: int) -> list[np.ndarray]:
    """Exact coefficients of few bits, or else some with a relative error of at most ``2**-precision``.

    Then that of the widest leaf is a power of two, the same in all channels where its slope is not 0.
    """
    table = np.array(slopes, object)
    reference = np.array([column[_largest(leaves, column)] or Fraction(1) for column in table.T], object)
    ratios = table / reference
    bits = EXACT_BITS if precision == FAITHFUL_BITS else precision
    common = lcm(*(value.denominator for value in ratios.ravel()))
    if common * max(1, max(abs(value) for value in ratios.ravel())) < 1 << bits - 1:
        return [np.array([int(value * common) for value in row], object) for row in ratios]
    least = min((abs(value) for value in ratios.ravel() if value), default=Fraction(1))
    shift = max(0, precision - _exponent(least))
    return [np.array([_rounded(value * (1 << shift), precision + 2) for value in row], object) for row in ratios]


def _largest(leaves: Sequence[IntegerTensor], slopes: np.ndarray) -> int:
    """The number of the widest leaf; where its slope is 0 in a channel, that of the largest slope."""
    widest = max(range(len(leaves)), key=lambda i: leaves[i].span)
    return widest if slopes[widest] else max(range(len(leaves)), key=lambda i: abs(slopes[i]))


def _values(
    leaves: Sequence[IntegerTensor], slopes: Sequence[np.ndarray], coefficients: Coefficients, offset: np.ndarray
) -> Steps:
    """The steps from sums with ``coefficients`` to values."""
    units = []
    for column, factors in zip(np.array(slopes, object).T, np.array(coefficients, object).T, strict=True):
        at = _largest(
            leaves,
            column * (factors != 0),
        )
        units.append(column[at] / int(factors[at]) if factors[at] else Fraction(0))
    return *affine_steps(len(leaves[0].shape), np.array(units, object), offset), AS_FLOAT32


def _rounded(value: Fraction, bits: int) -> int:
    """The nearest integer of so many significant bits."""
    spare = max(0, abs(round(value)).bit_length() - bits)
    return round(value / (1 << spare)) << spare


def _exponent(value: Fraction) -> int:
    """The base-2 logarithm of a positive fraction, rounded down."""
    about = value.numerator.bit_length() - value.denominator.bit_length()
    return about - (value < Fraction(2) ** about)


def _reach(leaves: Sequence[IntegerTensor], coefficients: Coefficients) -> tuple[np.ndarray, np.ndarray]:
    """The minimum and maximum of a sum in each channel, Python's integers (channels,)."""
    ends = [
        np.sort([factor * leaf.low.astype(object), factor * leaf.high.astype(object)], axis=0)
        for factor, leaf in zip((np.asarray(each).astype(object) for each in coefficients), leaves, strict=True)
    ]
    low, high = (sum(end[side] for end in ends) for side in (0, 1))
    return np.asarray(low, object), np.asarray(high, object)


@dataclass(frozen=True, eq=False)
class _Node:
    """A kernel of a sum: what it is called, and the numbers of the nodes, or the edges, that it reads."""

    name: str
    kernel: Kernel
    reads: tuple[int | str, ...]


@dataclass(frozen=True, eq=False)
class Summation:
    """The kernels that compute a sum with some coefficients, and the tensor of their integers.

    The values that ``tensor``'s steps lead to are those of the sum for its own ``faithful`` coefficients, and close to
    them for others.
    """

    coefficients: Coefficients
    tensor: IntegerTensor
    nodes: tuple[_Node, ...]
    product: Product

    def append(self, append: Append) -> str:
        """Append the kernels; returns the edge that the last one writes."""
        edges: list[str] = []
        for node in self.nodes:
            reads = (edges[i] if isinstance(i, int) else i for i in node.reads)
            edges.append(append(node.name, node.kernel, *reads, origin=self.tensor.origins[0]))
        return edges[-1]


def summation(pending: PendingSum, coefficients: Coefficients) -> Summation:
    """The kernels that compute a pending sum with ``coefficients``, integers (channels,) by leaf.

    A leaf whose coefficient is the same in all channels is multiplied where it is added, another one by a Requant.
    Raises BitfabricError, with the node's name, for what exceeds a kernel.
    """
    try:
        return _summation(pending, coefficients)
    except BitfabricError as error:
        raise BitfabricError(
            f"{pending.origins[0]}: the scales of its inputs have no small ratio, and their sum is too wide ({error}); "
            "put a quantizer of at most 8 bits behind it, or quantize both inputs with one shared quantizer"
        ) from None


def _summation(pending: PendingSum, coefficients: Coefficients) -> Summation:
    nodes: list[_Node] = []
    reads: list[int | str] = []
    factors, dtypes, ranges = [], [], []
    for leaf, given in zip(pending.leaves, coefficients, strict=True):
        values = [int(value) for value in given]
        ends = np.sort(
            [np.multiply(values, leaf.low, dtype=object), np.multiply(values, leaf.high, dtype=object)], axis=0
        )
        if len(set(values)) == 1 and values[0]:
            factors.append(values[0])
            reads.append(leaf.edge)
            dtypes.append(leaf.dtype)
            ranges.append(leaf.range)
            continue
        shift = min(((value & -value).bit_length() - 1 for value in values if value), default=0)
        reach = int(ends[0].min()) >> shift, int(ends[1].max()) >> shift
        dtype, zeros = smallest_dtype(*reach), np.zeros(len(values), np.int64)
        multiplier = np.array([value >> shift for value in values], np.int64)
        kernel = Requant(multiplier, zeros, 0, "FLOOR", leaf.dtype, dtype, *reach, pending.shape[:-1])
        nodes.append(_Node(f"{pending.edge}_scale", kernel, (leaf.edge,)))
        factors.append(1 << shift)
        reads.append(len(nodes) - 1)
        dtypes.append(dtype)
        ranges.append(reach)
    for index in range(1, len(factors)):
        both = (factors[0], factors[index]), (dtypes[0], dtypes[index]), (ranges[0], ranges[index])
        add = Add(pending.shape, both[1], both[0], input_ranges=both[2])
        name = pending.edge if index == len(factors) - 1 else f"{pending.edge}_part"
        nodes.append(_Node(name, add, (reads[0], reads[index])))
        factors[0], reads[0], dtypes[0], ranges[0] = 1, len(nodes) - 1, add.output_dtype, add.output_range()
    low, high = (each.astype(np.int64) for each in _reach(pending.leaves, coefficients))
    steps = _values(pending.leaves, pending.slopes, coefficients, pending.offset)
    tensor = IntegerTensor(
        pending.shape,
        (*steps, *pending.steps[pending.count :]),
        (*pending.origins[:1] * len(steps), *pending.origins[pending.count :]),
        pending.layout_ops,
        number=pending.number,
        edge=pending.edge,
        dtype=dtypes[0],
        low=low,
        high=high,
        restore_ops=pending.restore_ops,
    )

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        low, high = pending.total_bounds(iter(sources))
        return low.reshape(value.shape), high.reshape(value.shape)

    return Summation(coefficients, tensor, tuple(nodes), Product(pending.leaves, bounds, len(steps)))
