"""Rules of quantizers: channels whose code is the same for every sum that is reached, and channels of equal codes.

Each channel of a quantizer is seen as a function of the reduced graph's integer ``r`` that it reads: the code of
``sign * r + offset``. So thresholds and constants that differ by the offset of a sum, or by the sign of a row, are
compared as what they compute.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.ir.graph import Node
from hw.ir.kernel import Kernel
from hw.kernels.requant.kernel import Requant
from hw.kernels.table.kernel import Table, input_values
from hw.kernels.threshold.kernel import Threshold
from hw.passes.removal.channels import Channels
from hw.passes.removal.elementwise import bound_groups
from hw.passes.removal.state import Rule, State


class _Read(NamedTuple):
    """What one channel reads: ``sign * r + offset`` with ``r`` in ``low..high``; a constant has the sign 0."""

    sign: int
    offset: int
    low: int
    high: int

    def at(self, r: np.ndarray) -> np.ndarray:
        """The integers that the channel reads."""
        return self.sign * r + self.offset


@dataclass(frozen=True)
class _Codes:
    """The codes of one channel: ``direction * shape(r) + first``, with the same ``shape`` where the ``key`` is equal.

    ``first`` is the code of the lowest ``r``; ``low..high`` are the bounds that the codes reach.
    """

    key: object
    first: int
    direction: int
    low: int
    high: int


class QuantizerRule(Rule):
    """Base of the rules of quantizers."""

    @abstractmethod
    def _codes(self, kernel: Any, channel: int, read: _Read) -> _Codes:
        """The function of ``r`` that a channel computes."""

    def forward(self, state: State, node: Node) -> list[Channels]:
        dtype = node.kernel.inputs()[0].dtype
        x = state.read(node).clipped((int(dtype.min()), int(dtype.max())))
        below, above = (each.tolist() for each in x.reduced_range())
        reads = [
            _Read(sign, offset, below[k], above[k]) if k >= 0 else _Read(0, offset, 0, 0)
            for k, sign, offset in zip(x.source.tolist(), x.sign.tolist(), x.offset.tolist(), strict=True)
        ]
        codes = [self._codes(node.kernel, c, read) for c, read in enumerate(reads)]
        first, direction, low, high = (
            np.array([getattr(each, name) for each in codes], np.int64)
            for name in ("first", "direction", "low", "high")
        )
        groups = bound_groups(state, node, x.source, [each.key for each in codes], low == high)
        of = np.where(groups < 0, 0, groups)
        derived = (groups >= 0) & (of != np.arange(len(of)))
        sign = np.where(derived, direction * direction[of], 1)
        offset = np.where(groups < 0, first, np.where(derived, first - sign * first[of], 0))
        return [Channels(groups, sign, offset, low, high)]

    def need(self, state: State, node: Node) -> None:
        state.keep_at(node, state.kept[node.outputs[0]])

    def follow(self, state: State, node: Node) -> None:
        state.follow(node, state.kept_at(node))


class ThresholdRule(QuantizerRule):
    """Thresholds: an offset of the sums is subtracted from them."""

    def _codes(self, kernel: Any, channel: int, read: _Read) -> _Codes:
        thresholds, rises = kernel.thresholds[channel] - read.offset, not kernel.decreasing[channel]
        if read.sign < 0:  # -r >= t where r < 1 - t
            thresholds, rises = np.sort(1 - thresholds), not rises
        before = int((thresholds <= read.low).sum())
        inner = thresholds[(thresholds > read.low) & (thresholds <= read.high)]
        unit = 2 if kernel.output_dtype == DataType["BIPOLAR"] else 1
        least = int(kernel.output_dtype.min()) if kernel.output_min is None else int(kernel.output_min)
        first = least + unit * (before if rises else kernel.steps - before)
        last = first + (unit if rises else -unit) * len(inner)
        return _Codes(inner.tobytes(), first, 1 if rises else -1, min(first, last), max(first, last))

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Kernel:
        kernel, kept = node.kernel, state.kept_at(node)
        assert isinstance(kernel, Threshold)
        limits = int(dtypes[0].min()), int(dtypes[0].max()) + 1
        thresholds = (kernel.thresholds - state.read(node).offset[:, None])[kept].clip(*limits)
        return replace(kernel, thresholds=thresholds, decreasing=kernel.decreasing[kept], input_dtype=dtypes[0])


class RequantRule(QuantizerRule):
    """Scaled integers: an offset of the sums, times the multiplier, goes to the addend."""

    def _codes(self, kernel: Any, channel: int, read: _Read) -> _Codes:
        single = replace(kernel, multiplier=kernel.multiplier[[channel]], addend=kernel.addend[[channel]], prefix=())
        first, last = single.execute(read.at(np.array([[read.low], [read.high]])))[0].ravel().tolist()
        multiplier, addend = int(kernel.multiplier[channel]), int(kernel.addend[channel])
        key = (read.sign * multiplier, addend + read.offset * multiplier)
        return _Codes(key, first, 1, min(first, last), max(first, last))

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Kernel:
        kernel, kept = node.kernel, state.kept_at(node)
        assert isinstance(kernel, Requant)
        multiplier, addend = kernel.multiplier[kept], kernel.addend[kept]
        offset = state.read(node).offset[kept]
        if offset.any():
            addend = addend.astype(object) + multiplier.astype(object) * offset.astype(object)
            if max(map(abs, addend.tolist())) < 1 << 62:
                addend = addend.astype(np.int64)
        return replace(kernel, multiplier=multiplier, addend=addend, input_dtype=dtypes[0])


class TableRule(QuantizerRule):
    """Any function of few bits. What it reads keeps the integers of the original graph: with an offset they could need
    more bits than a table has."""

    def forward(self, state: State, node: Node) -> list[Channels]:
        x = state.read(node)
        if x.offset[x.own].any():
            state.keep_level(node.inputs[0])
        return super().forward(state, node)

    def _codes(self, kernel: Any, channel: int, read: _Read) -> _Codes:
        inputs = input_values(kernel.input_dtype)
        reached = inputs[(inputs >= read.low) & (inputs <= read.high)] if read.sign else np.zeros(1, np.int64)
        codes = kernel.values[channel][np.searchsorted(inputs, read.at(reached))]
        shape = codes - codes[0]
        direction = -1 if shape.any() and shape[shape != 0][0] < 0 else 1
        key = (read.low, (direction * shape).tobytes())
        return _Codes(key, int(codes[0]), direction, int(codes.min()), int(codes.max()))

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Kernel:
        kernel, kept = node.kernel, state.kept_at(node)
        assert isinstance(kernel, Table)
        inputs = input_values(kernel.input_dtype)
        places = np.searchsorted(inputs, input_values(dtypes[0]))
        return replace(kernel, values=kernel.values[kept][:, places], input_dtype=dtypes[0])
