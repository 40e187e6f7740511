"""The lowering's description of a tensor of the model: the integers that represent it and the chain to its values.

A tensor is either still computed by the host (``HostTensor``) or carried by an edge of the dataflow graph
(``IntegerTensor``). Both are chains of three parts, applied in this order:

1. ``steps``: element-wise operators, in the element order of the stream (channels innermost);
2. ``layout_ops``: Reshape and Transpose operators that lead to the order of the model's tensor;
3. ``host_steps``: operators that only the host computes, after the last layer.

An element-wise operator that follows a layout operator in the model is applied before it here, with its constant
operands rearranged to match, which gives the same values. So kernels only have to know their own stream's order.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Self

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.host.errors import BitfabricError
from hw.host.operators import ELEMENTWISE, QUANTIZERS, RESHAPING, code_range
from hw.host.steps import HostStep, every, run, step
from hw.ir.stream import smallest_dtype
from hw.lowering.affine import affine_form
from hw.lowering.layout_ops import LayoutOps, before_layout_ops, shape_after, simplified, through_layout_ops

Steps = tuple[HostStep, ...]

AS_FLOAT32 = step("Cast", to="float32")
"""Marks where the model's own float32 arithmetic begins: after integers, or after an exact matrix product."""
TRIED = 1 << 22
"""Limit on the number of evaluations when it is checked whether steps change any value."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Operators applied to frames of ``shape`` (without the batch).

    ``origins`` and ``host_origins`` name the model's node that each of ``steps`` and ``host_steps`` comes from.
    ``number`` is the type of the model's tensor, as NumPy names it.
    """

    shape: tuple[int, ...]
    steps: Steps = ()
    origins: tuple[str, ...] = ()
    layout_ops: LayoutOps = ()
    host_steps: Steps = ()
    host_origins: tuple[str, ...] = ()
    number: str = "float32"

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The shape of the model's tensor, after the layout operators, without the batch."""
        return shape_after(self.layout_ops, self.shape)

    def then(self, steps: Steps, origin: str) -> Self:
        """The chain followed by a node's operators, whose operands are in the order of the model's tensor."""
        chain = self
        for each in steps:
            if chain.host_steps or each.op not in ELEMENTWISE | RESHAPING:
                host_steps, host_origins = (*chain.host_steps, each), (*chain.host_origins, origin)
                chain = replace(chain, host_steps=host_steps, host_origins=host_origins)
            elif each.op in RESHAPING:
                chain = replace(chain, layout_ops=simplified((*chain.layout_ops, each), chain.shape))
            elif _only_saturates(each) and chain.steps and chain.steps[-1].op == "QuantizeLinear":
                narrowed = _narrowed(chain.steps[-1], each)
                chain = chain.truncated(len(chain.steps) - 1).extended((narrowed,), (origin,))
            else:
                chain = chain.extended((chain.in_order(each),), (origin,))
        return chain

    def in_order(self, each: HostStep) -> HostStep:
        """A step whose operands are in the order of the model's tensor, with those in the order of ``shape``."""
        return each.with_constants(lambda value: before_layout_ops(value, self.layout_ops, self.shape))

    def extended(self, steps: Steps, origins: tuple[str, ...]) -> Self:
        """The chain with more element-wise steps, whose operands are in the order of ``shape``."""
        return replace(self, steps=self.steps + steps, origins=self.origins + origins)

    def truncated(self, count: int) -> Self:
        """The chain with its first ``count`` element-wise steps and its layout operators, without host steps."""
        return replace(self, steps=self.steps[:count], origins=self.origins[:count], host_steps=(), host_origins=())


def _only_saturates(each: HostStep) -> bool:
    """Whether a step on codes only bounds them."""
    return each.op == "QuantizeLinear" and bool(np.all(each.operands[0] == 1)) and not np.any(each.operands[1])


def _narrowed(quantizer: HostStep, bounds: HostStep) -> HostStep:
    """A QuantizeLinear whose codes are bounded by the next step."""
    given, ends = dict(quantizer.attributes), dict(bounds.attributes)
    low, high = (min(max(given[end], ends["low"]), ends["high"]) for end in ("low", "high"))
    return step("QuantizeLinear", *quantizer.operands, low=low, high=high)


@dataclass(frozen=True, eq=False, kw_only=True)
class HostTensor(Chain):
    """A tensor that the host computes from the model's input ``port``; ``dtype`` is the type of an integer input.

    ``prologue`` are operators before the chain, which lead from frames of ``port_shape`` to frames of ``shape``: they
    leave elements out, so that the steps after them could not be applied before them.
    """

    port: str
    port_shape: tuple[int, ...]
    dtype: BaseDataType | None = None
    prologue: Steps = ()

    def selected(self, steps: Steps) -> Self:
        """The tensor after the chain and ``steps`` that leave elements out, all in its prologue."""
        whole = (*self.steps, *self.layout_ops, *steps)
        return replace(
            self,
            shape=shape_after((*self.layout_ops, *steps), self.shape),
            steps=(),
            origins=(),
            layout_ops=(),
            prologue=(*self.prologue, *whole),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerTensor(Chain):
    """A tensor that is computed from the integers of ``edge``, which have the type ``dtype``.

    ``shape`` is the stream's shape, channels last. ``low`` and ``high``, int64 (channels,), are the minimum and
    maximum integer of each channel. ``restore_ops`` are the layout operators from the stream's order to the order
    that the tensors before it had, where an input port or a change of shape has changed it.
    """

    edge: str
    dtype: BaseDataType
    low: np.ndarray
    high: np.ndarray
    restore_ops: LayoutOps = ()

    @property
    def channels(self) -> int:
        return self.shape[-1]

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Values (channels, ...) with leading axes of size one, so that they broadcast against a batch of frames."""
        return values.reshape((1,) * len(self.shape) + values.shape)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """``low`` and ``high`` as frames without a batch, with one element for each channel."""
        return self.by_channel(self.low)[0], self.by_channel(self.high)[0]

    @property
    def range(self) -> tuple[int, int]:
        """The minimum and maximum integer over all channels."""
        return int(self.low.min()), int(self.high.max())

    @property
    def span(self) -> int:
        """The largest number of integers that a channel's range holds."""
        return int((self.high.astype(object) - self.low).max()) + 1

    @cached_property
    def affine(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Slope and offset of the steps, Fractions without the batch; None if the steps are not affine.

        A Cast to fewer bits than float32 counts as the identity if it changes no value that the tensor can have. They
        have one element for each channel unless the tensor ``varies_spatially``.
        """
        frame = (*(1,) * (len(self.shape) - 1), self.channels)
        form = affine_form(self.steps, frame)
        if form is None and any(is_narrowing(each) for each in self.steps):
            wide = without_casts(self.steps)
            form = affine_form(wide, frame)
            if form is not None and not self._equal((AS_FLOAT32, *wide)):
                return None
        return form

    @property
    def not_affine(self) -> str:
        """The model's nodes of the steps that are not affine, to be named in an error; of all where each one is."""
        frame = (*(1,) * (len(self.shape) - 1), self.channels)
        named = [(each, origin) for each, origin in zip(self.steps, self.origins, strict=True) if origin]
        bent = [origin for each, origin in named if affine_form((each,), frame) is None]
        return ", ".join(dict.fromkeys(bent or (origin for _, origin in named)))

    def _equal(self, steps: Steps) -> bool:
        """Whether other steps give the same values for all integers; False where these are too many to try."""
        low, high = self.bounds
        count = self.span
        if count * (prod(self.shape) if self.varies_spatially else self.channels) > TRIED:
            return False
        codes = np.minimum(low + np.arange(count).reshape(-1, *[1] * low.ndim), high).astype(np.float64)
        ours, others = (run(each, codes).astype(np.float64) for each in (self.steps, steps))
        return np.array_equal(ours, others)

    @property
    def varies_spatially(self) -> bool:
        """Whether a step's constants differ between elements of one channel."""
        rank = len(self.shape)
        return any(any(size > 1 for size in value.shape[-rank:-1]) for each in self.steps for value in each.constants)

    def reshaped(self, shape: tuple[int, ...]) -> "IntegerTensor":
        """The same elements in the same order as a stream of another shape."""
        if shape == self.shape:
            return self
        reshape = (step("Reshape", shape=shape),)

        def regrouped(bound: np.ndarray) -> np.ndarray:
            return np.broadcast_to(bound, self.shape).reshape(-1, shape[-1])

        steps = (
            each.with_constants(lambda value: through_layout_ops(value, reshape, self.shape)) for each in self.steps
        )
        return replace(
            self,
            shape=shape,
            low=regrouped(self.low).min(axis=0),
            high=regrouped(self.high).max(axis=0),
            steps=tuple(steps),
            layout_ops=simplified((step("Reshape", shape=self.shape), *self.layout_ops), shape),
            restore_ops=(step("Reshape", shape=self.shape), *self.restore_ops),
        )


def integer_tensor(
    edge: str,
    shape: tuple[int, ...],
    dtype: BaseDataType,
    low: np.ndarray | int | None = None,
    high: np.ndarray | int | None = None,
    origin: str = "",
) -> IntegerTensor:
    """A tensor whose values are the integers of ``edge``.

    ``low`` and ``high`` bound the integers (default: the range of the type); ``origin`` names the model's node that
    produces them.
    """
    least, most = (dtype.min() if low is None else low), (dtype.max() if high is None else high)
    lows, highs = (np.array(np.broadcast_to(np.asarray(bound, np.int64), shape[-1:])) for bound in (least, most))
    return IntegerTensor(shape, (AS_FLOAT32,), (origin,), edge=edge, dtype=dtype, low=lows, high=highs)


def dtype_of(low: int, high: int, binary: bool = False) -> BaseDataType:
    """The narrowest type that holds a range: BIPOLAR if ``binary``, TERNARY for -1..1."""
    if binary:
        return DataType["BIPOLAR"]
    return DataType["TERNARY"] if (low, high) == (-1, 1) else smallest_dtype(low, high)


def without_casts(steps: Steps) -> Steps:
    """The steps without the rounding of casts to another type."""
    return tuple(
        replace(each, branches=tuple(map(without_casts, each.branches))) for each in steps if each.op != "Cast"
    )


def cast_type(each: HostStep) -> str | None:
    """The type to which a step casts; None if it is no Cast."""
    return str(dict(each.attributes)["to"]) if each.op == "Cast" else None


def is_narrowing(each: HostStep) -> bool:
    """Whether a step, or one of its branches, rounds to fewer bits than those of float32."""
    return any(cast_type(one) == "float16" for one in every((each,)))


def content(each: HostStep) -> Hashable:
    """A hashable key of a step: steps with equal keys compute the same."""
    operands = tuple((value.dtype.str, value.shape, value.tobytes()) for value in each.operands)
    return each.op, operands, each.attributes, tuple(tuple(map(content, branch)) for branch in each.branches)


def last_quantizer(steps: Steps) -> int | None:
    """The index of the last quantizer among steps; None if there is none."""
    return max((i for i, each in enumerate(steps) if each.op in QUANTIZERS), default=None)


def binary(quantizer: HostStep) -> bool:
    """Whether a quantizer's only codes are -1 and +1."""
    attributes = dict(quantizer.attributes)
    match quantizer.op:
        case "Quant":
            return attributes["bits"] == 1 and bool(attributes["signed"])
        case "MultiThreshold":
            return attributes["unit"] == 2
        case op:
            return op == "BipolarQuant"


def quantizer_range(quantizer: HostStep, origin: str) -> tuple[int, int]:
    """The minimum and maximum code of a quantizer for any input; ``origin`` names its node.

    Raises BitfabricError for a Trunc of version 1, which does not clip.
    """
    attributes = dict(quantizer.attributes)
    match quantizer.op:
        case "Quant":
            return code_range(attributes["bits"], attributes["signed"], attributes["narrow"])
        case "QuantizeLinear":
            return attributes["low"], attributes["high"]
        case "MultiThreshold":
            least: int = attributes["least"]
            return least, least + len(quantizer.operands[0]) * attributes["unit"]
        case "Trunc":
            clip = attributes["clip"]
            if clip is None:
                raise BitfabricError(
                    f"{origin}: Trunc cannot be the input's quantizer: it bounds nothing; put a Quant there"
                )
            return clip
        case _:
            return -1, 1
