"""Rules of products with weights: rows that are zero or equal, and columns whose inputs are constant or equal."""

import hashlib
from dataclasses import replace

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.ir.graph import Node
from hw.ir.stream import container, smallest_dtype
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.passes.removal.channels import Channels, grouped
from hw.passes.removal.elementwise import bound_groups, input_range
from hw.passes.removal.state import Rule, State


class MatrixVectorRule(Rule):
    """Constants go to the offsets of the sums, columns of equal inputs are added, equal rows become one.

    Columns are added only where the sums are values of the weights' type: the sum of two one-bit columns is not.
    """

    def forward(self, state: State, node: Node) -> list[Channels]:
        kernel, edge = node.kernel, node.outputs[0]
        assert isinstance(kernel, MatrixVector)
        x = state.read(node)
        matrix, offset = self._columns(state, node, kernel, x)
        state.matrices[node.name] = matrix
        sign, parts = _signs(matrix), state.parts[edge]
        constant, alone = (sign == 0) & (parts < 0), (sign == 0) & (parts >= 0)
        groups = grouped(list(zip(_digests(matrix, sign), parts.tolist(), strict=True)))
        source = np.where(constant, -1, np.where(alone, np.arange(len(groups)), groups))
        wrong = (source == np.arange(len(source))) & (offset != 0)
        if edge in state.level and wrong.any():
            _refuse_offsets(state, node, x, (kernel.weights[wrong] != 0).any(axis=0))
        low, high = _sums(matrix, *x.reduced_range())
        relative = np.where(sign == 0, 1, sign * sign[source])
        return [Channels(source, relative, offset, low + offset, high + offset)]

    @staticmethod
    def _columns(state: State, node: Node, kernel: MatrixVector, x: Channels) -> tuple[np.ndarray, np.ndarray]:
        """The matrix on the channels that are their own sources, and the offsets of the sums."""
        weights = kernel.weights
        if x.unchanged:
            return weights, np.zeros(kernel.mh, np.int64)
        matrix, offset = weights.copy(), weights @ x.offset
        matrix[:, ~x.own] = 0
        refused = np.zeros(len(x), bool)
        for c in np.flatnonzero(~x.own & ~x.constant).tolist():
            total = matrix[:, x.source[c]] + x.sign[c] * weights[:, c]
            low, high = int(total.min()), int(total.max())
            refused[c] = kernel.weight_dtype.name == "BIPOLAR" or not (
                kernel.weight_dtype.allowed(low) and kernel.weight_dtype.allowed(high)
            )
            if not refused[c]:
                matrix[:, x.source[c]] = total
        state.refuse_at(node, refused)
        return matrix, offset

    def need(self, state: State, node: Node) -> None:
        rows = state.matrices[node.name][state.kept[node.outputs[0]]]
        state.keep_at(node, (rows != 0).any(axis=0))

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> MatrixVector:
        kernel = node.kernel
        assert isinstance(kernel, MatrixVector)
        rows, columns = state.kept[node.outputs[0]], state.kept_at(node)
        limits = input_range(state, node, dtypes[0])
        matrix = state.matrices[node.name][np.ix_(rows, columns)]
        return replace(kernel, weights=matrix, input_dtype=dtypes[0], input_range=limits)


class DepthwiseRule(Rule):
    """A product of each channel: channels whose inputs are constant or equal, and whose weights are zero or equal."""

    def forward(self, state: State, node: Node) -> list[Channels]:
        kernel, edge = node.kernel, node.outputs[0]
        assert isinstance(kernel, Depthwise)
        x = state.read(node)
        start = np.arange(kernel.k)[:, None] * kernel.channels
        source, sign, offset = (each.reshape(kernel.k, -1) for each in (x.source, x.sign, x.offset))
        within = np.where(source < 0, -1, source - start)
        uneven = ((within != within[0]) | (sign != sign[0]) | (offset != offset[0])).any(axis=0)
        state.refuse_at(node, np.tile(uneven, kernel.k))
        offsets = (kernel.weights.T * offset).sum(axis=0)
        matrix = kernel.weights * np.where(within[0] < 0, 0, sign[0])[:, None]
        signs = _signs(matrix)
        groups = bound_groups(state, node, within[0], _digests(matrix, signs), signs == 0, tiles=kernel.k)
        wrong = (groups == np.arange(len(groups))) & (offsets != 0)
        if edge in state.level and wrong.any():
            _refuse_offsets(state, node, x, np.tile(wrong, kernel.k) & (kernel.weights != 0).T.ravel())
        low, high = (each.reshape(kernel.k, -1) for each in (x.low, x.high))
        ends = kernel.weights.T * low, kernel.weights.T * high
        relative = np.where(signs == 0, 1, signs * signs[groups])
        return [Channels(groups, relative, offsets, np.minimum(*ends).sum(axis=0), np.maximum(*ends).sum(axis=0))]

    def need(self, state: State, node: Node) -> None:
        assert isinstance(node.kernel, Depthwise)
        state.keep_at(node, np.tile(state.kept[node.outputs[0]], node.kernel.k))

    def follow(self, state: State, node: Node) -> None:
        assert isinstance(node.kernel, Depthwise)
        state.follow(node, np.any(state.kept_at(node).reshape(node.kernel.k, -1), axis=0))

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Depthwise:
        kernel = node.kernel
        assert isinstance(kernel, Depthwise)
        limits = input_range(state, node, dtypes[0])
        weights = kernel.weights[state.kept[node.outputs[0]]]
        return replace(kernel, weights=weights, input_dtype=dtypes[0], input_range=limits)


def _signs(matrix: np.ndarray) -> np.ndarray:
    """The sign of the first weight of each row that is not 0, (rows,); 0 for rows of zeros."""
    first = (matrix != 0).argmax(axis=1)
    return np.asarray(np.sign(matrix[np.arange(len(matrix)), first]))


def _digests(matrix: np.ndarray, signs: np.ndarray) -> list[bytes]:
    """A hash of each row, with its sign such that its first weight is positive."""
    largest = int(np.abs(matrix).max())
    narrow = matrix.astype(container(smallest_dtype(-largest, largest)))
    rows = zip(narrow, signs.tolist(), strict=True)
    return [hashlib.sha256((-row if sign < 0 else row).tobytes()).digest() for row, sign in rows]


def _sums(matrix: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum of each row's sum for inputs in ``low..high``."""
    positive, negative = np.maximum(matrix, 0), np.minimum(matrix, 0)
    return positive @ low + negative @ high, positive @ high + negative @ low


def _refuse_offsets(state: State, node: Node, x: Channels, used: np.ndarray) -> None:
    """Refuse what gives the sums an offset: inputs with an offset that are ``used``, bool."""
    wrong = used & (x.offset != 0)
    state.refuse_at(node, wrong & ~x.own)
    if (wrong & x.own).any():
        state.keep_level(node.inputs[0])
