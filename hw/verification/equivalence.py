"""Whether a mutant of a layer computes the same as the layer, for every input of the layer's input type.

A layer's inputs are the codes of the quantizers before it, each between its channel's minimum and maximum. Its output
is the codes of the next quantizers, or the sums that leave the network. What the sums in between can be is decided from
the weights (``hw.faults.reachable``), not by trying inputs. Where that is not decided, a mutant counts as different.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from qonnx.core.datatype import DataType

from hw.faults.mutants import Mutant
from hw.faults.reachable import ReachableSums, Terms, total
from hw.ir.graph import Graph, Node
from hw.kernels.add.kernel import Add
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.requant.kernel import Requant
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.table.kernel import Table, input_values
from hw.kernels.thermometer.kernel import Thermometer
from hw.kernels.threshold.kernel import Threshold
from hw.lowering.lower import LoweredModel
from hw.passes.fold import plain
from hw.verification.lookup_equivalence import counts_differ, tables_differ
from hw.verification.places import passed_on

EVALUATED = 1 << 24
"""Limit on the sums of one channel on which two requants are compared."""
MOVES = frozenset(
    {"fork", "fifo", "width_converter", "sliding_window", "sparse_window", "upsample", "select", "reorder"}
)
"""Kernels of one input whose outputs are elements of it, or 0."""


@dataclass(frozen=True, eq=False)
class _Decision:
    """A quantizer that reads the sums of a layer, times ``factor``."""

    node: Node
    factor: int


class Equivalence:
    """Decides which mutants of ``graph``, folded or not, are equivalent; ``lowering`` is that of the same model."""

    def __init__(self, graph: Graph, lowering: LoweredModel) -> None:
        self.graph = graph = plain(graph)
        edges = {node.name: node.outputs[0] for node in graph}
        ports = {port.name: port.edge for port in graph.inputs}
        edges |= {port.edge: ports[port.name] for port in lowering.graph.inputs}
        known = {**lowering.computed, **lowering.tensors}
        self._ranges = {edges[name]: tensor for name, (_, tensor) in known.items()}
        self._codes = {edges[name] for name in lowering.tensors} | set(ports.values())
        self._writers = {edge: node for node in graph for edge in node.outputs}
        self._readers = {edge: node for node in graph for edge in node.inputs}
        self._numbers = {edge: number for number, edge in enumerate(graph.edges)}
        self._places: dict[str, np.ndarray] = {}
        self._sums: dict[tuple[str, int], list[ReachableSums]] = {}

    def equivalent(self, mutant: Mutant) -> bool:
        """Whether no input of the mutant's layer changes the layer's output."""
        node = self.graph.node(mutant.layer)
        old, new = node.kernel, mutant.kernel
        if isinstance(old, Threshold) and isinstance(new, Threshold):
            return not any(self._threshold_differs(node, old, new, channel) for channel in _changed(old, new))
        if isinstance(old, Requant) and isinstance(new, Requant):
            return not any(self._requant_differs(node, old, new, channel) for channel in _changed(old, new))
        if isinstance(old, Table) and isinstance(new, Table):
            return not any(self._table_differs(node, old, new, channel) for channel in _changed(old, new))
        if isinstance(old, Thermometer) and isinstance(new, Thermometer):
            return not self._levels_differ(node, old, new)
        if isinstance(old, LookupLayer) and isinstance(new, LookupLayer):
            return not tables_differ(old, new, *self._bits(node))
        if isinstance(old, PopcountClass) and isinstance(new, PopcountClass):
            return not counts_differ(old, new, *self._bits(node))
        assert isinstance(old, MatrixVector | Depthwise)
        assert isinstance(new, MatrixVector | Depthwise)
        rows, columns = np.nonzero(old.weights != new.weights)
        if mutant.kind == "weight":
            return not self._weight_differs(node, int(rows[0]), int(columns[0]), int((new.weights - old.weights).sum()))
        return not len(rows)

    # --- quantizers ---

    def _reached(self, node: Node, channel: int) -> list[ReachableSums]:
        """The integers that a quantizer's channel can read, at the positions that differ."""
        key = node.name, channel
        if key not in self._sums:
            self._sums[key] = [ReachableSums(terms) for terms in self._terms_at(node, channel)]
        return self._sums[key]

    def _terms_at(self, node: Node, channel: int) -> Iterator[Terms]:
        """The sums that a quantizer's channel reads: in the middle of the image, and at its corners and edges."""
        channels = node.kernel.inputs()[0].shape[-1]
        for position in self._positions(node.inputs[0]):
            yield self._terms(node.inputs[0], position * channels + channel)

    def _threshold_differs(self, node: Node, old: Threshold, new: Threshold, channel: int) -> bool:
        falls = old.decreasing[channel], new.decreasing[channel]
        before, after = (each.thresholds[channel].tolist() for each in (old, new))
        ranges = [(min(pair), max(pair) - 1) for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
        if falls[0] != falls[1]:
            ranges.append((int(old.input_dtype.min()), int(old.input_dtype.max())))
        return any(sums.any_in(*each) for sums in self._reached(node, channel) for each in ranges)

    def _table_differs(self, node: Node, old: Table, new: Table, channel: int) -> bool:
        integers = input_values(old.input_dtype)[old.values[channel] != new.values[channel]].tolist()
        before = self._writers.get(node.inputs[0])
        if before is None or node.inputs[0] in self._codes or not isinstance(before.kernel, Threshold):
            return any(sums.any_in(each, each) for sums in self._reached(node, channel) for each in integers)
        # The number of the piece in which an integer of the threshold's lies.
        kernel = before.kernel
        starts = [
            int(kernel.input_dtype.min()),
            *kernel.thresholds[channel].tolist(),
            int(kernel.input_dtype.max()) + 1,
        ]
        pieces = [(starts[each], starts[each + 1] - 1) for each in integers if each + 1 < len(starts)]
        return any(sums.any_in(*each) for sums in self._reached(before, channel) for each in pieces)

    def _requant_differs(self, node: Node, old: Requant, new: Requant, channel: int) -> bool:
        one, other = (_single(kernel, channel) for kernel in (old, new))
        for sums in self._reached(node, channel):
            if (sums.high - sums.low) // sums.divisor >= EVALUATED:
                return True
            values = np.arange(sums.low, sums.high + 1, sums.divisor).reshape(-1, 1)
            differs = values[one.execute(values)[0] != other.execute(values)[0]]
            if any(sums.any_in(value, value) for value in differs.tolist()):
                return True
        return False

    # --- lookup layers ---

    def _bits(self, node: Node) -> tuple[np.ndarray, np.ndarray]:
        """The minimum and the maximum of each bit that a layer reads, over all positions, (channels,) each."""
        stream = node.kernel.inputs()[0]
        read = self._weighted(node.inputs[0], np.arange(stream.elements), np.ones(stream.elements, np.int64))
        if len(read.low) != stream.elements:  # Some are elements of others, or padding.
            return np.zeros(stream.shape[-1], np.int64), np.ones(stream.shape[-1], np.int64)
        low, high = (each.reshape(-1, stream.shape[-1]) for each in (read.low, read.high))
        return low.min(axis=0), high.max(axis=0)

    def _levels_differ(self, node: Node, old: Thermometer, new: Thermometer) -> bool:
        changed = np.flatnonzero((old.levels != new.levels) | (old.features != new.features))
        positions = range(node.kernel.inputs()[0].elements // old.channels)
        return any(
            self._bit_differs(node, position * old.channels, old, new, bit)
            for bit in changed.tolist()
            for position in positions
        )

    def _bit_differs(self, node: Node, start: int, old: Thermometer, new: Thermometer, bit: int) -> bool:
        """Whether one comparison of the position whose first element is ``start`` has another result."""
        levels, features = ([int(getattr(each, name)[bit]) for each in (old, new)] for name in ("levels", "features"))
        sums = [ReachableSums(self._terms(node.inputs[0], start + feature)) for feature in features]
        if features[0] == features[1]:
            return sums[0].any_in(min(levels), max(levels) - 1)
        known = [{each.low >= level, each.high >= level} for each, level in zip(sums, levels, strict=True)]
        return len(known[0] | known[1]) > 1

    # --- weights ---

    def _weight_differs(self, node: Node, row: int, column: int, change: int) -> bool:
        """Whether a weight that is larger by ``change`` changes a code, or a sum that leaves the network."""
        for decision in self._decisions(node.outputs[0], 1):
            if decision is None:
                if self._leaves(node, row, column):
                    return True
            elif self._code_changes(decision, node, row, column, change):
                return True
        return False

    def _decisions(self, edge: str, factor: int) -> Iterator[_Decision | None]:
        """The quantizers that read an edge, directly or added to others; None for every other reader."""
        reader = self._readers.get(edge)
        if reader is None:
            yield None
        elif isinstance(reader.kernel, Threshold | Requant | Table):
            yield _Decision(reader, factor)
        elif isinstance(reader.kernel, Add):
            yield from self._decisions(
                reader.outputs[0], factor * reader.kernel.coefficients[reader.inputs.index(edge)]
            )
        elif reader.kernel.op in ("fork", "fifo", "width_converter"):
            for output in reader.outputs:
                yield from self._decisions(output, factor)
        else:
            yield None

    def _multiplied(self, node: Node, position: int, row: int, column: int) -> Terms:
        """The integer that one weight multiplies, for the sums at a position; no term for padding with 0."""
        kernel = node.kernel
        if isinstance(kernel, Depthwise):
            element = (position * kernel.k + column) * kernel.channels + row
        else:
            assert isinstance(kernel, MatrixVector)
            element = position * kernel.mw + column
        return self._terms(node.inputs[0], element)

    def _leaves(self, node: Node, row: int, column: int) -> bool:
        """Whether the input of a weight can be other than 0, so that the weight changes a sum."""
        for position in self._positions(node.outputs[0]):
            terms = self._multiplied(node, position, row, column)
            if np.any((terms.weights != 0) & ((terms.low != 0) | (terms.high != 0))):
                return True
        return False

    def _code_changes(self, decision: _Decision, node: Node, row: int, column: int, change: int) -> bool:
        """Whether a weight that is larger by ``change`` changes a code of a quantizer."""
        kernel = decision.node.kernel
        if not isinstance(kernel, Threshold | Table) or kernel.inputs()[0].shape != node.kernel.outputs()[0].shape:
            return True
        if isinstance(kernel, Threshold):
            points = sorted(set(kernel.thresholds[row].tolist()))
        else:
            points = input_values(kernel.input_dtype)[1:][np.diff(kernel.values[row]) != 0].tolist()
        return any(
            self._changes_at(decision, node, position, row, column, change, points)
            for position in self._positions(node.outputs[0])
        )

    def _changes_at(
        self, decision: _Decision, node: Node, position: int, row: int, column: int, change: int, points: list[int]
    ) -> bool:
        """The same for the sum at one position, given the channel's decision ``points``."""
        multiplied = self._multiplied(node, position, row, column)
        if len(multiplied.names) != 1:
            return len(multiplied.names) > 1
        channels = decision.node.kernel.inputs()[0].shape[-1]
        sums = self._terms(decision.node.inputs[0], position * channels + row)
        at = int(np.flatnonzero((sums.names == multiplied.names[0]).all(axis=1))[0])
        weight, step = int(sums.weights[at]), int(sums.step[at])
        changed = weight + decision.factor * int(multiplied.weights[0]) * change
        rest = ReachableSums(sums.without(at))
        for value in sorted(range(int(sums.low[at]), int(sums.high[at]) + 1, step), key=abs, reverse=True):
            low, high = sorted((weight * value, changed * value))
            # A code changes where a point lies between the two sums.
            if any(rest.any_in(point - high, point - 1 - low) for point in points):
                return True
        return False

    # --- sums ---

    def _terms(self, edge: str, element: int) -> Terms:
        """An element of an edge as a sum of the integers that the layer reads."""
        if edge in self._codes or edge not in self._writers:
            return self._variable(edge, element)
        node = self._writers[edge]
        kernel = node.kernel
        if isinstance(kernel, MatrixVector):
            position, row = divmod(element, len(kernel.weights))
            width = kernel.weights.shape[1]
            elements = np.arange(width) + position * width
            return self._weighted(node.inputs[0], elements, kernel.weights[row])
        if isinstance(kernel, Depthwise):
            position, channel = divmod(element, kernel.channels)
            elements = (np.arange(kernel.k) + position * kernel.k) * kernel.channels + channel
            return self._weighted(node.inputs[0], elements, kernel.weights[channel])
        if isinstance(kernel, Add):
            parts = zip(node.inputs, kernel.coefficients, strict=True)
            return total([self._terms(each, element).scaled(int(factor)) for each, factor in parts])
        if kernel.op in MOVES:
            place = int(self._moved(node)[element])
            return self._terms(node.inputs[0], place) if place >= 0 else self._padding(node, np.array([element]))
        return self._variable(edge, element)

    def _weighted(self, edge: str, elements: np.ndarray, weights: np.ndarray) -> Terms:
        """Elements of an edge times weights, summed."""
        padding = [_NOTHING]
        while edge not in self._codes and edge in self._writers and self._writers[edge].kernel.op in MOVES:
            node = self._writers[edge]
            places = self._moved(node)[elements]
            inside = places >= 0
            if not inside.all():
                padding.append(self._padding(node, elements[~inside], weights[~inside]))
            elements, weights, edge = places[inside], weights[inside], node.inputs[0]
        if self._opaque(edge):
            return total([*padding, self._variable(edge, elements, weights)])
        parts = zip(elements.tolist(), weights.tolist(), strict=True)
        return total([*padding, *(self._terms(edge, element).scaled(weight) for element, weight in parts)])

    def _padding(self, node: Node, elements: np.ndarray, weights: np.ndarray | int = 1) -> Terms:
        """Elements of padding of a sliding window, as integers with one value each; zeros are left out."""
        kernel = node.kernel
        assert isinstance(kernel, SlidingWindow)
        values = np.broadcast_to(np.array(kernel.pad_values), kernel.channels)[elements % kernel.channels]
        some = values != 0
        values, factors = values[some], np.broadcast_to(weights, elements.shape)[some].astype(np.int64)
        names = np.stack([np.full(len(values), -1), values], axis=1)
        return total([Terms(names, factors, values, values, np.ones(len(values), np.int64))])

    def _opaque(self, edge: str) -> bool:
        """Whether the elements of an edge count as integers that the layer reads: codes, and results of pools."""
        kernel = self._writers[edge].kernel if edge in self._writers else None
        return edge in self._codes or not (
            isinstance(kernel, MatrixVector | Depthwise | Add) or (kernel is not None and kernel.op in MOVES)
        )

    def _variable(self, edge: str, element: np.ndarray | int, weight: np.ndarray | int = 1) -> Terms:
        """Elements of an edge as integers that the layer reads."""
        elements = np.atleast_1d(element)
        stream = self.graph.edges[edge]
        if edge in self._ranges:
            tensor = self._ranges[edge]
            low, high = (np.broadcast_to(bound, tensor.shape).ravel() for bound in (tensor.low, tensor.high))
        else:
            low, high = (np.full(stream.elements, int(end)) for end in (stream.dtype.min(), stream.dtype.max()))
        names = np.stack([np.full(len(elements), self._numbers[edge]), elements], axis=1)
        step = np.full(len(elements), self._step(edge))
        return Terms(
            names, np.broadcast_to(weight, elements.shape).astype(np.int64), low[elements], high[elements], step
        )

    def _step(self, edge: str) -> int:
        """The distance between the values of an edge's elements: 2 for one-bit integers and for pools of them."""
        while edge in self._writers and self._writers[edge].kernel.op in (*MOVES, "accumulate_pool", "max_pool"):
            edge = self._writers[edge].inputs[0]
        return 2 if self.graph.edges[edge].dtype == DataType["BIPOLAR"] else 1

    def _positions(self, edge: str) -> list[int]:
        """The numbers of positions of an edge: one in the middle, one at every edge and corner, and one for each way in
        which the windows of its sums reach into padding."""
        shape = self.graph.edges[edge].shape[:-1]
        axes = [list(dict.fromkeys((size // 2, 0, size - 1))) for size in shape]
        for window in self._windows(edge):
            for axis, places in enumerate(axes if window.out_spatial == shape else ()):
                _, first, way = np.unique(window.inside(axis), axis=0, return_index=True, return_inverse=True)
                seen = set(way.ravel()[places].tolist())
                places.extend(place for number, place in enumerate(first.tolist()) if number not in seen)
        return [int(np.ravel_multi_index(place, shape)) if place else 0 for place in product(*axes)]

    def _windows(self, edge: str) -> list[SlidingWindow]:
        """The sliding windows whose windows are summed on an edge."""
        node = self._writers.get(edge)
        if node is None:
            return []
        if isinstance(node.kernel, SlidingWindow):
            return [node.kernel]
        if isinstance(node.kernel, MatrixVector | Depthwise | Add) or node.kernel.op in (
            "fork",
            "fifo",
            "width_converter",
        ):
            return [window for source in node.inputs for window in self._windows(source)]
        return []

    def _moved(self, node: Node) -> np.ndarray:
        """For each element that a node of ``MOVES`` writes, its place in the node's input, -1 for padding."""
        if node.name not in self._places:
            stream = node.kernel.inputs()[0]
            given = np.arange(1, stream.elements + 1).reshape(1, *stream.shape)
            self._places[node.name] = passed_on(node.kernel, given).ravel() - 1
        return self._places[node.name]


_NOTHING = Terms(np.empty((0, 2), np.int64), *(np.empty(0, np.int64) for _ in range(4)))


def _changed(old: Threshold | Requant | Table, new: Threshold | Requant | Table) -> list[int]:
    """The channels whose constants differ."""
    if isinstance(old, Threshold) and isinstance(new, Threshold):
        return np.flatnonzero(
            (old.thresholds != new.thresholds).any(axis=1) | (old.decreasing != new.decreasing)
        ).tolist()
    if isinstance(old, Table) and isinstance(new, Table):
        return np.flatnonzero((old.values != new.values).any(axis=1)).tolist()
    assert isinstance(old, Requant)
    assert isinstance(new, Requant)
    differs = (old.multiplier != new.multiplier) | (old.addend != new.addend) | (old.shift != new.shift)
    return [int(channel) for channel in np.flatnonzero(differs)]


def _single(kernel: Requant, channel: int) -> Requant:
    """The requant of one channel."""
    multiplier, addend = kernel.multiplier[[channel]], kernel.addend[[channel]]
    return replace(kernel, multiplier=multiplier, addend=addend, prefix=(), pe=1, pixels=1)
