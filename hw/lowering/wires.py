"""What lowering knows of a tensor: the host's so far, or an edge's integers and the steps from them to its values.

Both are a chain: element-wise ``steps`` in the order of the elements that they start from (of a wire: channels
innermost), then ``moves`` (Reshape, Transpose) into the model's order, then a ``tail`` that only a host
computes. A step that the model has behind a move is taken before it, with its operands moved along: element by
element that is the same. So all that a kernel must know, it has in its stream's own order.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.host.errors import BitfabricError
from hw.host.operators import ELEMENTWISE, QUANTIZERS, RESHAPING, code_range
from hw.host.steps import HostStep, step
from hw.ir.stream import smallest_dtype
from hw.lowering.affine import affine
from hw.lowering.moves import Moves, against_moves, moved_shape, simplified, through_moves

Steps = tuple[HostStep, ...]

AS_FLOAT32 = step("Cast", to="float32")
"""Where the model's own arithmetic begins: behind integers, or behind the exact result of a matrix product."""


@dataclass(frozen=True, eq=False)
class Chain:
    """What becomes of the elements of frames of ``shape``; ``origins``: the model's node of each of ``steps``."""

    shape: tuple[int, ...]
    steps: Steps = ()
    origins: tuple[str, ...] = ()
    moves: Moves = ()
    tail: Steps = ()
    tail_origins: tuple[str, ...] = ()

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The model's shape behind the moves, without the batch."""
        return moved_shape(self.moves, self.shape)

    def then(self, steps: Steps, origin: str) -> Self:
        """The chain with steps of the model, their operands in the model's order."""
        chain = self
        for each in steps:
            if chain.tail or each.op not in ELEMENTWISE | RESHAPING:
                chain = replace(chain, tail=(*chain.tail, each), tail_origins=(*chain.tail_origins, origin))
            elif each.op in RESHAPING:
                chain = replace(chain, moves=simplified((*chain.moves, each), chain.shape))
            else:
                operands = tuple(against_moves(value, chain.moves, chain.shape) for value in each.operands)
                chain = chain.extended((replace(each, operands=operands),), (origin,))
        return chain

    def extended(self, steps: Steps, origins: tuple[str, ...]) -> Self:
        """The chain with more element-wise steps, their operands in the order of ``shape``."""
        return replace(self, steps=self.steps + steps, origins=self.origins + origins)

    def cut(self, count: int) -> Self:
        """The chain with its first ``count`` steps, its moves, and no tail."""
        return replace(self, steps=self.steps[:count], origins=self.origins[:count], tail=(), tail_origins=())


@dataclass(frozen=True, eq=False, kw_only=True)
class HostTensor(Chain):
    """A tensor that is still the host's, from the model's input ``port``; ``dtype`` of one that takes integers."""

    port: str
    dtype: BaseDataType | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Wire(Chain):
    """A tensor from the integers of ``edge``, of type ``dtype``; ``shape`` is the stream's, channels last.

    ``low`` and ``high`` (int64, of shape (channels,)) bound what reaches it. ``back``: moves into the order that the
    chains of the tensors before had, where a host or a view has changed it.
    """

    edge: str
    dtype: BaseDataType
    low: np.ndarray
    high: np.ndarray
    back: Moves = ()

    @property
    def channels(self) -> int:
        return self.shape[-1]

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Values (channels, ...) as they broadcast against a batch of frames of which only channels differ."""
        return values.reshape((1,) * len(self.shape) + values.shape)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """``low`` and ``high`` as frames without a batch, of one element for all of a channel."""
        return self.by_channel(self.low)[0], self.by_channel(self.high)[0]

    @property
    def range(self) -> tuple[int, int]:
        """Bounds of all channels."""
        return int(self.low.min()), int(self.high.max())

    @cached_property
    def line(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Slope and offset (Fractions) of the steps, without the batch, with one element for all of a channel where
        they are not ``uneven``; None where they are not affine."""
        return affine(self.steps, (*(1,) * (len(self.shape) - 1), self.channels))

    @property
    def uneven(self) -> bool:
        """Whether steps treat elements of one channel differently."""
        rank = len(self.shape)
        return any(any(size > 1 for size in value.shape[-rank:-1]) for each in self.steps for value in each.operands)

    def viewed(self, shape: tuple[int, ...]) -> "Wire":
        """The same elements in the same order as a stream of another shape."""
        if shape == self.shape:
            return self
        view = (step("Reshape", shape=shape),)

        def regrouped(bound: np.ndarray) -> np.ndarray:
            return np.broadcast_to(bound, self.shape).reshape(-1, shape[-1])

        operands = [tuple(through_moves(value, view, self.shape) for value in each.operands) for each in self.steps]
        return replace(
            self,
            shape=shape,
            low=regrouped(self.low).min(axis=0),
            high=regrouped(self.high).max(axis=0),
            steps=tuple(replace(each, operands=moved) for each, moved in zip(self.steps, operands, strict=True)),
            moves=simplified((step("Reshape", shape=self.shape), *self.moves), shape),
            back=(step("Reshape", shape=self.shape), *self.back),
        )


def wire(
    edge: str,
    shape: tuple[int, ...],
    dtype: BaseDataType,
    low: np.ndarray | int | None = None,
    high: np.ndarray | int | None = None,
    origin: str = "",
) -> Wire:
    """A wire whose values are its integers, within the bounds (default: the type's); ``origin``: who gives them."""
    least, most = (dtype.min() if low is None else low), (dtype.max() if high is None else high)
    lows, highs = (np.array(np.broadcast_to(np.asarray(bound, np.int64), shape[-1:])) for bound in (least, most))
    return Wire(shape, (AS_FLOAT32,), (origin,), edge=edge, dtype=dtype, low=lows, high=highs)


def dtype_of(low: int, high: int, binary: bool = False) -> BaseDataType:
    """The narrowest type of a range: BIPOLAR if ``binary``, TERNARY for -1..1."""
    if binary:
        return DataType["BIPOLAR"]
    return DataType["TERNARY"] if (low, high) == (-1, 1) else smallest_dtype(low, high)


def in_float64(steps: Steps) -> Steps:
    """The steps without rounding to float32."""
    return tuple(each for each in steps if not to_float32(each))


def to_float32(each: HostStep) -> bool:
    """Whether a step is AS_FLOAT32."""
    return each.op == "Cast" and each.attributes == AS_FLOAT32.attributes


def content(each: HostStep) -> tuple:
    """What a step does, as a key: steps of equal content do the same."""
    operands = tuple((value.dtype.str, value.shape, value.tobytes()) for value in each.operands)
    return each.op, operands, each.attributes


def last_quantizer(steps: Steps) -> int | None:
    """Index of the last quantizer among steps."""
    return max((i for i, each in enumerate(steps) if each.op in QUANTIZERS), default=None)


def binary(quantizer: HostStep) -> bool:
    """Whether a quantizer gives only -1 and +1."""
    attributes = dict(quantizer.attributes)
    match quantizer.op:
        case "Quant":
            return attributes["bits"] == 1 and bool(attributes["signed"])
        case "MultiThreshold":
            return attributes["unit"] == 2
        case op:
            return op == "BipolarQuant"


def quantizer_range(quantizer: HostStep, origin: str) -> tuple[int, int]:
    """Least and greatest code that a quantizer gives, whatever its input. Raises BitfabricError for an old Trunc."""
    attributes = dict(quantizer.attributes)
    match quantizer.op:
        case "Quant":
            return code_range(attributes["bits"], attributes["signed"], attributes["narrow"])
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
