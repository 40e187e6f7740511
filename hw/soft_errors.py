"""Soft errors: what a network gives when bits of its weight and threshold memories are flipped.

The emulator computes what the hardware would: a weight is its code with the bits flipped, sums wrap around in the
accumulator's bits, and damaged thresholds are searched as the hardware searches them, sorted or not. Left out, for they
are no bits of weights or thresholds: memories of layers whose weights are stored as sums and differences of pairs
(``matrix_vector`` with ``input_planes``), and those of other kernels (depthwise weights, requants). Every bit counts
once, where a memory that several lanes share has copies too.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.errors import BitfabricError
from hw.graph import Graph
from hw.kernels.depthwise import Depthwise
from hw.kernels.kernel import Kernel
from hw.kernels.matrix_vector import MatrixVector
from hw.kernels.requant import Requant
from hw.kernels.threshold import Threshold
from hw.stream import container, decode, encode


def _wrap(values: np.ndarray, dtype: BaseDataType) -> np.ndarray:
    """Integers in the bits of ``dtype``, as an adder that overflows leaves them."""
    return decode(values.astype(np.int64).view(np.uint64) & np.uint64((1 << dtype.bitwidth()) - 1), dtype)


class DamagedMatrixVector(MatrixVector):
    """A ``matrix_vector`` with other weights than it was made for."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        weights = self.weights.T.astype(np.float64)  # exact up to 2**53
        sums = (x.reshape(-1, self.mw).astype(np.float64) @ weights).astype(np.int64)
        return (_wrap(sums, self.accumulator_dtype).reshape(len(x), *self.prefix, self.mh),)


class DamagedThreshold(Threshold):
    """A ``threshold`` with other words in its memories than it was made for."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        table, bits = self._table, self.input_dtype.bitwidth()
        codes = encode(x, self.input_dtype).astype(np.int64)
        if self.input_dtype.signed() and self.input_dtype != DataType["BIPOLAR"]:
            codes ^= 1 << bits - 1
        channel = np.broadcast_to(np.arange(self.channels) % len(table.words), x.shape)
        found = np.zeros(x.shape, np.int64)
        for stage in range(self.code_bits):
            step = 1 << self.code_bits - stage
            bound = table.words[channel, found * step + step // 2 - 1]
            found = 2 * found + (codes > bound if table.strict else codes >= bound)
        found = np.where(table.invert[channel], (1 << self.code_bits) - 1 - found, found)
        if self.output_dtype == DataType["BIPOLAR"]:
            return ((2 * found - 1).astype(container(self.output_dtype)),)
        return (_wrap(found + self._least, self.output_dtype),)


def _weights(kernel: MatrixVector, flips: np.ndarray) -> Kernel:
    damaged = object.__new__(DamagedMatrixVector)
    # The accumulator stays as wide as it was for the right weights.
    vars(damaged).update(vars(kernel), accumulator_dtype=kernel.accumulator_dtype, planes=kernel.planes)
    for known in ("_matrix", "_signs"):
        vars(damaged).pop(known, None)
    bits = kernel.weight_dtype.bitwidth()
    codes = encode(kernel.weights, kernel.weight_dtype).ravel()
    np.bitwise_xor.at(codes, flips // bits, np.uint64(1) << (flips % bits).astype(np.uint64))
    weights = decode(codes, kernel.weight_dtype).astype(np.int64).reshape(kernel.weights.shape)
    object.__setattr__(damaged, "weights", weights)
    return damaged


def _thresholds(kernel: Threshold, flips: np.ndarray) -> Kernel:
    damaged = object.__new__(DamagedThreshold)
    vars(damaged).update(vars(kernel))
    table = kernel._table
    words = table.words.copy()
    np.bitwise_xor.at(words.reshape(-1), flips // table.width, 1 << flips % table.width)
    vars(damaged)["_table"] = replace(table, words=words)
    return damaged


@dataclass(frozen=True)
class _Memory:
    """Bits of one layer's memory."""

    node: int
    bits: int
    damage: Callable[[np.ndarray], Kernel]


def _memory(index: int, kernel: Kernel) -> _Memory | None:
    if isinstance(kernel, MatrixVector) and kernel.datapath != "input_planes":
        bits = kernel.weights.size * kernel.weight_dtype.bitwidth()
        return _Memory(index, bits, lambda flips: _weights(kernel, flips))
    if isinstance(kernel, Threshold):
        words = kernel._table.words
        return _Memory(index, words.size * kernel._table.width, lambda flips: _thresholds(kernel, flips))
    return None


class SoftErrors:
    """A graph whose memories can be damaged. ``layers`` has the bits of every layer that can; ``left_out`` the others
    with parameters of their own."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        made = [_memory(i, node.kernel) for i, node in enumerate(graph.nodes)]
        self._memories = [memory for memory in made if memory is not None]
        self.layers = {graph.nodes[memory.node].name: memory.bits for memory in self._memories}
        self.left_out = [
            node.name
            for node, memory in zip(graph.nodes, made, strict=True)
            if memory is None and isinstance(node.kernel, (MatrixVector, Depthwise, Requant))
        ]
        if not self._memories:
            raise BitfabricError("the network has no weight or threshold memory whose bits could be flipped", 2)

    @property
    def bits(self) -> int:
        """Bits of all the memories."""
        return sum(self.layers.values())

    def damaged(self, flips: Sequence[int] | np.ndarray) -> Graph:
        """The graph with these bits flipped, counted from 0 through the layers in order."""
        nodes, first = list(self.graph.nodes), 0
        flips = np.asarray(flips, np.int64)
        for memory in self._memories:
            here = flips[(flips >= first) & (flips < first + memory.bits)] - first
            if len(here):
                node = copy(nodes[memory.node])
                nodes[memory.node] = replace(node, kernel=memory.damage(here))
            first += memory.bits
        return replace(self.graph, nodes=tuple(nodes))

    def random(self, count: int, rng: np.random.Generator) -> Graph:
        """The graph with ``count`` different bits flipped. Raises BitfabricError (status 2) for more than it has."""
        if not 0 <= count <= self.bits:
            raise BitfabricError(f"{count} bits to flip; the memories have {self.bits}", 2)
        return self.damaged(rng.choice(self.bits, count, replace=False))
