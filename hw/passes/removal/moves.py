"""Rules of kernels that pass channels on: forks, windows, pools, crops, copies; and of those that join streams."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.ir.graph import Node
from hw.ir.kernel import Kernel
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.concat.kernel import Concat
from hw.kernels.fork.kernel import Fork
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.select.kernel import Select
from hw.kernels.shared.pool import Pool
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.upsample.kernel import Upsample
from hw.passes.removal.channels import Channels
from hw.passes.removal.elementwise import input_range
from hw.passes.removal.state import Rule, State


class PassRule(Rule):
    """Base of the rules of kernels whose outputs have the channels of the one input: what is removed from the input is
    removed from the outputs, and nothing else.

    ``_inward`` and ``_outward`` are the channels of the input and of an output that belong to those of the other.
    """

    passes_offsets = True

    def _inward(self, kernel: Any, channels: np.ndarray) -> Iterator[np.ndarray]:
        """The input's channels, of a mask or of labels of an output's; several where several outputs are one input."""
        yield channels

    def _outward(self, kernel: Any, channels: np.ndarray) -> np.ndarray:
        """An output's channels, of a mask of the input's."""
        return channels

    def refuse(self, state: State, node: Node, labels: np.ndarray) -> bool:
        for each in self._inward(node.kernel, labels):
            state.refuse_at(node, each)
        return True

    def forward(self, state: State, node: Node) -> list[Channels]:
        return [state.read(node)] * len(node.outputs)

    def need(self, state: State, node: Node) -> None:
        for edge in node.outputs:
            for each in self._inward(node.kernel, state.kept[edge]):
                state.keep_at(node, each)

    def follow(self, state: State, node: Node) -> None:
        state.follow(node, self._outward(node.kernel, state.kept_at(node)))


class ForkRule(PassRule):
    """Copies."""

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Kernel:
        kernel = node.kernel
        assert isinstance(kernel, Fork)
        return replace(kernel, shape=_fewer(kernel.shape, state.kept_at(node)), dtype=dtypes[0])


class UpsampleRule(PassRule):
    """Repeated positions."""

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Kernel:
        kernel = node.kernel
        assert isinstance(kernel, Upsample)
        return replace(kernel, shape=_fewer(kernel.shape, state.kept_at(node)), dtype=dtypes[0])


class SlidingWindowRule(PassRule):
    """Windows. A constant channel is one at the border only if it is padded with the constant, and equal channels are
    equal there only if their padding is."""

    def _inward(self, kernel: Any, channels: np.ndarray) -> Iterator[np.ndarray]:
        yield from channels.reshape(-1, kernel.channels)

    def _outward(self, kernel: Any, channels: np.ndarray) -> np.ndarray:
        return np.tile(channels, kernel.window // kernel.channels)

    def forward(self, state: State, node: Node) -> list[Channels]:
        kernel, x = node.kernel, state.read(node)
        assert isinstance(kernel, SlidingWindow)
        if kernel.padded:
            padding = np.broadcast_to(np.array(kernel.pad_values, np.int64), len(x))
            source = padding[x.source] - x.offset[x.source]
            follows = np.where(x.constant, x.offset, x.sign * source + x.offset)
            state.refuse_at(node, ~x.own & (follows != padding))
            x = replace(x, low=np.minimum(x.low, padding), high=np.maximum(x.high, padding))
        return [x.tiled(kernel.window // kernel.channels)]

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Kernel:
        kernel, kept = node.kernel, state.kept_at(node)
        assert isinstance(kernel, SlidingWindow)
        padding = np.broadcast_to(np.array(kernel.pad_values, np.int64), len(kept)) - state.read(node).offset
        shape = _fewer(kernel.shape, kept)
        return replace(kernel, shape=shape, dtype=dtypes[0], pad_value=tuple(padding[kept].tolist()))


class PoolRule(PassRule):
    """Maxima and sums over windows. The offset of a sum is that of all its elements; a maximum has no sign."""

    def _inward(self, kernel: Any, channels: np.ndarray) -> Iterator[np.ndarray]:
        yield np.tile(channels, int(np.prod(kernel.kernel)) if kernel.windows else 1)

    def _outward(self, kernel: Any, channels: np.ndarray) -> np.ndarray:
        return np.asarray(np.any(channels.reshape(-1, kernel.channels), axis=0))

    def forward(self, state: State, node: Node) -> list[Channels]:
        kernel, x = node.kernel, state.read(node)
        assert isinstance(kernel, Pool)
        turns, count = len(x) // kernel.channels, int(np.prod(kernel.kernel))
        start = np.arange(turns)[:, None] * kernel.channels
        source, sign, offset, low, high = (each.reshape(turns, -1) for each in vars(x).values())
        source = np.where(source < 0, -1, source - start)
        uneven = ((source != source[0]) | (sign != sign[0]) | (offset != offset[0])).any(axis=0)
        if isinstance(kernel, MaxPool):
            uneven |= sign[0] < 0
        state.refuse_at(node, np.tile(uneven, turns))
        most = count if isinstance(kernel, AccumulatePool) else 1
        return [Channels(source[0], sign[0], most * offset[0], most * low.min(axis=0), most * high.max(axis=0))]

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Kernel:
        kernel, kept = node.kernel, state.kept[node.outputs[0]]
        assert isinstance(kernel, MaxPool | AccumulatePool)
        made: Kernel = replace(kernel, shape=_fewer(kernel.shape, kept), dtype=dtypes[0])
        if isinstance(kernel, AccumulatePool):
            limits = input_range(state, node, dtypes[0])
            made = replace(kernel, shape=_fewer(kernel.shape, kept), dtype=dtypes[0], input_range=limits)
        return made


class SelectRule(PassRule):
    """A part of the channels, or of the positions. Channels that are not passed on are not needed."""

    def _inward(self, kernel: Any, channels: np.ndarray) -> Iterator[np.ndarray]:
        every = np.full(kernel.channels, False if channels.dtype == bool else -1)
        every[list(kernel.kept[-1])] = channels
        yield every

    def _outward(self, kernel: Any, channels: np.ndarray) -> np.ndarray:
        return channels[list(kernel.kept[-1])]

    def forward(self, state: State, node: Node) -> list[Channels]:
        kernel, x = node.kernel, state.read(node)
        assert isinstance(kernel, Select)
        passed = list(kernel.kept[-1])
        place = np.full(len(x), -2)
        place[passed] = np.arange(len(passed))
        source = np.where(x.source[passed] < 0, -1, place[x.source[passed]])
        missing = np.zeros(len(x), bool)
        missing[passed] = source == -2
        state.refuse_at(node, missing)
        source = np.where(source == -2, np.arange(len(passed)), source)
        return [Channels(source, *(each[passed] for each in (x.sign, x.offset, x.low, x.high)))]

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Kernel:
        kernel, kept = node.kernel, state.kept_at(node)
        assert isinstance(kernel, Select)
        passed = kept & np.isin(np.arange(len(kept)), kernel.kept[-1])
        places = tuple(np.flatnonzero(passed[kept]).tolist())
        shape = _fewer(kernel.shape, kept)
        return replace(kernel, shape=shape, kept=(*kernel.kept[:-1], places), dtype=dtypes[0], pe=1)


class ConcatRule(Rule):
    """One stream's channels after another's."""

    passes_offsets = True

    def refuse(self, state: State, node: Node, labels: np.ndarray) -> bool:
        for number, each in enumerate(np.split(labels, _starts(node))):
            state.refuse_at(node, each, number)
        return True

    def forward(self, state: State, node: Node) -> list[Channels]:
        parts = [state.read(node, number) for number in range(len(node.inputs))]
        starts = [0, *_starts(node)]
        source = [np.where(x.source < 0, -1, x.source + at) for x, at in zip(parts, starts, strict=True)]
        rest = [np.concatenate(each) for each in zip(*((x.sign, x.offset, x.low, x.high) for x in parts), strict=True)]
        return [Channels(np.concatenate(source), *rest)]

    def need(self, state: State, node: Node) -> None:
        for number, each in enumerate(np.split(state.kept[node.outputs[0]], _starts(node))):
            state.keep_at(node, each, number)

    def follow(self, state: State, node: Node) -> None:
        state.follow(node, np.concatenate([state.kept_at(node, number) for number in range(len(node.inputs))]))

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Kernel:
        kernel = node.kernel
        assert isinstance(kernel, Concat)
        shapes = tuple(_fewer(shape, state.kept_at(node, number)) for number, shape in enumerate(kernel.shapes))
        return replace(kernel, shapes=shapes, dtypes=tuple(dtypes))


class AddRule(Rule):
    """Sums of two streams: a channel is removed where it can be from both of them, in the same way."""

    passes_offsets = True

    def forward(self, state: State, node: Node) -> list[Channels]:
        kernel, parts = node.kernel, state.parts[node.outputs[0]]
        assert isinstance(kernel, Add)
        x, y = (state.read(node, number) for number in range(2))
        (ca, cb), constant = kernel.coefficients, x.constant & y.constant & (parts < 0)
        alike = (x.source == y.source) & (x.source >= 0) & (x.sign == y.sign) & (parts == parts[x.source])
        source = np.where(constant, -1, np.where(alike, x.source, np.arange(len(x))))
        for number, each in enumerate((x, y)):
            state.refuse_at(node, ~constant & ~alike & ~each.own, number)
        ends_x, ends_y = (ca * x.low, ca * x.high), (cb * y.low, cb * y.high)
        low = np.minimum(*ends_x) + np.minimum(*ends_y)
        high = np.maximum(*ends_x) + np.maximum(*ends_y)
        return [Channels(source, np.where(alike, x.sign, 1), ca * x.offset + cb * y.offset, low, high)]

    def need(self, state: State, node: Node) -> None:
        for number in range(2):
            state.keep_at(node, state.kept[node.outputs[0]], number)

    def follow(self, state: State, node: Node) -> None:
        for number in range(2):
            state.follow(node, state.kept_at(node, number))

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Kernel:
        kernel = node.kernel
        assert isinstance(kernel, Add)
        ranges = kernel.input_ranges
        if ranges is not None:
            a, b = (input_range(state, node, dtypes[number], number) for number in range(2))
            assert a is not None
            assert b is not None
            ranges = a, b
        shape = _fewer(kernel.shape, state.kept[node.outputs[0]])
        return replace(kernel, shape=shape, dtypes=(dtypes[0], dtypes[1]), input_ranges=ranges)


class WholeRule(Rule):
    """Kernels that need all channels as they are, in a type that may be narrower: ArgMax, Reorder, a FIFO that passes
    an input on. An offset that all channels share does not change which is the largest."""

    def __init__(self, field: str = "", any_offset: bool = False) -> None:
        """``field`` holds the type of the input; a FIFO reads an input of the network, whose type does not change."""
        self.field = field
        self.any_offset = any_offset

    def forward(self, state: State, node: Node) -> list[Channels]:
        x = state.read(node)
        state.refuse_at(node, ~x.own)
        if x.offset.any() and not (self.any_offset and (x.offset == x.offset[0]).all()):
            state.keep_level(node.inputs[0])
        [made] = node.kernel.outputs()
        size = made.shape[-1]
        return [Channels.independent(np.full(size, int(made.dtype.min())), np.full(size, int(made.dtype.max())))]

    def need(self, state: State, node: Node) -> None:
        state.keep_at(node, np.ones(node.kernel.inputs()[0].shape[-1], bool))

    def follow(self, state: State, node: Node) -> None:
        for edge in node.outputs:
            state.keep(edge, np.ones(state.sizes[edge], bool))

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Kernel:
        return replace(node.kernel, **{self.field: dtypes[0]})


def _fewer(shape: tuple[int, ...], kept: np.ndarray) -> tuple[int, ...]:
    return (*shape[:-1], int(kept.sum()))


def _starts(node: Node) -> list[int]:
    """The first channels of a concatenation's inputs but the first."""
    starts: list[int] = np.cumsum([each.shape[-1] for each in node.kernel.inputs()])[:-1].tolist()
    return starts
