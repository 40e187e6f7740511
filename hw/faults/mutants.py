"""Mutants: graphs with one small error in one layer, with which the checks of a graph are checked themselves."""

from collections import deque
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from qonnx.core.datatype import DataType

from hw.ir.graph import Graph, Node
from hw.ir.kernel import Kernel
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.margin.kernel import Margin
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.requant.kernel import MAX_SHIFT, Requant
from hw.kernels.shared.flipped_bits import with_parameters
from hw.kernels.table.kernel import Table
from hw.kernels.thermometer.kernel import Thermometer
from hw.kernels.threshold.kernel import Threshold
from hw.passes.fold import plain


@dataclass(frozen=True, eq=False)
class Mutant:
    """A layer with one error: the ``kernel`` that takes the place of the layer's own.

    ``kind``: ``threshold`` (one of them, of a thermometer's levels, or of a margin, plus or minus 1), ``value`` (of a
    table; the sign of one bit, or the bit of a lookup table, otherwise plus or minus 1), ``weight`` (likewise),
    ``constant`` (a requant's multiplier, addend or shift, or the offset of a class, plus or minus 1), ``wire`` (of a
    lookup table or a popcount, to the next or previous bit), ``permutation`` (two channels exchanged). ``index`` says
    where: channel and number of a threshold, value or wire, output and input of a weight, name and channel of a
    constant, the axis and its two channels.
    """

    layer: str
    kind: str
    index: tuple[int | str, ...]
    kernel: Kernel

    def __str__(self) -> str:
        return f"{self.layer}: {self.kind} {', '.join(map(str, self.index))}"


def mutants(graph: Graph, count: int, seed: int = 0) -> list[Mutant]:
    """``count`` mutants, or as many different ones as there are; the same for the same seed. Of a layer with several
    implementations they are mutants of the kernel that defines its function.

    The layers, and the kinds in each of them, take turns.
    """
    rng = np.random.default_rng(seed)
    layers = deque(deque(sources) for node in plain(graph) if (sources := _sources(node, rng)))
    made: list[Mutant] = []
    while layers and len(made) < count:
        layer = layers.popleft()
        source = layer.popleft()
        if (mutant := next(source, None)) is not None:
            made.append(mutant)
            layer.append(source)
        if layer:
            layers.append(layer)
    return made


Make = Callable[[str, Any, int, int], Mutant | None]
"""From a layer's name, its kernel, the number of a place and a sign to a mutant; None if there is none."""


def _sources(node: Node, rng: np.random.Generator) -> list[Iterator[Mutant]]:
    """The mutants of a layer in random order, one iterator for each kind."""
    kinds: list[tuple[Make, int]]
    match kernel := node.kernel:
        case Threshold():
            kinds = [(_threshold, kernel.thresholds.size), (_channels, kernel.channels**2)]
        case Table():
            kinds = [(_value, kernel.values.size), (_channels, kernel.channels**2)]
        case MatrixVector() | Depthwise():
            kinds = [(_weight, kernel.weights.size), (_permuted, sum(size**2 for size in kernel.weights.shape))]
        case Requant():
            kinds = [(_constant, 3 * kernel.channels), (_channels, kernel.channels**2)]
        case Thermometer():
            kinds = [(_level, kernel.levels.size), (_wire, kernel.features.size)]
        case LookupLayer():
            kinds = [(_bit, kernel.tables.size), (_wire, kernel.wires.size)]
        case Margin():
            kinds = [(_margin, 1)]
        case PopcountClass():
            kinds = [(_offset, kernel.offsets.size), (_wire, kernel.wires.size)]
        case _:
            return []
    return [_in_random_order(node, make, size, rng) for make, size in kinds]


def _in_random_order(node: Node, make: Make, size: int, rng: np.random.Generator) -> Iterator[Mutant]:
    """Each place once, with a random sign, or the other one where that is no mutant."""
    seed = int(rng.integers(1 << 31))
    local = np.random.default_rng(seed)
    for place in local.permutation(size).tolist():
        sign = int(local.choice([-1, 1]))
        for each in (sign, -sign):
            if (mutant := make(node.name, node.kernel, place, each)) is not None:
                yield mutant
                break


def _changed(kernel: Kernel, **changes: object) -> Kernel:
    """The kernel with other parameters, without what it has computed from its own; its streams stay the same."""
    bare = copy(kernel)
    kept = {field.name for field in fields(kernel)} | {"accumulator_dtype", "output_dtype"}
    for name in set(vars(bare)) - kept:
        del vars(bare)[name]
    if isinstance(kernel, MatrixVector):
        changes["accumulator_dtype"] = kernel.accumulator_dtype
    if isinstance(kernel, Depthwise):
        changes["output_dtype"] = kernel.output_dtype
    return with_parameters(type(kernel), bare, **changes)


def _threshold(layer: str, kernel: Threshold, place: int, sign: int) -> Mutant | None:
    channel, number = divmod(place, kernel.steps)
    table = kernel.thresholds.copy()
    table[channel, number] += sign
    if not int(kernel.input_dtype.min()) <= table[channel, number] <= int(kernel.input_dtype.max()) + 1:
        return None
    table[channel].sort()
    return Mutant(layer, "threshold", (channel, number, sign), _changed(kernel, thresholds=table))


def _value(layer: str, kernel: Table, place: int, sign: int) -> Mutant | None:
    index = divmod(place, kernel.values.shape[1])
    values = kernel.values.copy()
    values[index] += -2 * values[index] if kernel.output_dtype == DataType["BIPOLAR"] else sign
    if not int(kernel.output_dtype.min()) <= values[index] <= int(kernel.output_dtype.max()):
        return None
    return Mutant(layer, "value", (*index, sign), _changed(kernel, values=values))


def _weight(layer: str, kernel: MatrixVector | Depthwise, place: int, sign: int) -> Mutant | None:
    index = divmod(place, kernel.weights.shape[1])
    weights = kernel.weights.copy()
    if kernel.weight_dtype == DataType["BIPOLAR"]:
        sign = -2 * int(weights[index])
    weights[index] += sign
    low, high = int(kernel.weight_dtype.min()), int(kernel.weight_dtype.max())
    if not low <= weights[index] <= high:
        return None
    return Mutant(layer, "weight", (*index, sign), _changed(kernel, weights=weights))


def _constant(layer: str, kernel: Requant, place: int, sign: int) -> Mutant | None:
    number, channel = divmod(place, kernel.channels)
    name = ("multiplier", "addend", "shift")[number]
    if name == "shift":
        if channel or not 0 <= kernel.shift + sign <= MAX_SHIFT:
            return None
        return Mutant(layer, "constant", (name, sign), _changed(kernel, shift=kernel.shift + sign))
    values = getattr(kernel, name).copy()
    values[channel] += sign
    return Mutant(layer, "constant", (name, channel, sign), _changed(kernel, **{name: values}))


def _level(layer: str, kernel: Thermometer, place: int, sign: int) -> Mutant | None:
    levels = kernel.levels.copy()
    levels[place] += sign
    return Mutant(layer, "threshold", (place, sign), replace(kernel, levels=levels))


def _margin(layer: str, kernel: Margin, place: int, sign: int) -> Mutant | None:
    threshold = kernel.threshold + sign
    if not 1 <= threshold <= kernel.most:
        return None
    return Mutant(layer, "threshold", (place, sign), replace(kernel, threshold=threshold))


def _bit(layer: str, kernel: LookupLayer, place: int, sign: int) -> Mutant | None:
    index = divmod(place, kernel.tables.shape[1])
    tables = kernel.tables.copy()
    tables[index] ^= 1
    return Mutant(layer, "value", index, replace(kernel, tables=tables))


def _offset(layer: str, kernel: PopcountClass, place: int, sign: int) -> Mutant | None:
    """An offset of another value, if the sums still have their type."""
    offsets = kernel.offsets.copy()
    offsets[place] += sign
    changed = replace(kernel, offsets=offsets)
    same = changed.outputs()[0].dtype == kernel.outputs()[0].dtype
    return Mutant(layer, "constant", ("offsets", place, sign), changed) if same else None


def _wire(layer: str, kernel: Thermometer | LookupLayer | PopcountClass, place: int, sign: int) -> Mutant | None:
    if kernel.channels == 1:
        return None
    name = "features" if isinstance(kernel, Thermometer) else "wires"
    wires = getattr(kernel, name).copy()
    wires.flat[place] = (wires.flat[place] + sign) % kernel.channels
    index = np.unravel_index(place, wires.shape)
    return Mutant(layer, "wire", (*map(int, index), sign), replace(kernel, **{name: wires}))


def _pair(place: int, count: int) -> tuple[int, int] | None:
    """Two different channels; None where ``place`` is not that of a pair in order."""
    first, second = divmod(place, count)
    return (first, second) if first < second else None


def _exchanged(values: np.ndarray, pair: tuple[int, int], axis: int = 0) -> np.ndarray:
    order = np.arange(values.shape[axis])
    order[list(pair)] = pair[::-1]
    return values.take(order, axis)


def _permuted(layer: str, kernel: MatrixVector | Depthwise, place: int, sign: int) -> Mutant | None:
    rows, columns = kernel.weights.shape
    axis = int(place >= rows**2)
    pair = _pair(place - axis * rows**2, columns if axis else rows)
    if pair is None:
        return None
    weights = np.ascontiguousarray(_exchanged(kernel.weights, pair, axis))
    return Mutant(layer, "permutation", (("outputs", "inputs")[axis], *pair), _changed(kernel, weights=weights))


def _channels(layer: str, kernel: Threshold | Requant | Table, place: int, sign: int) -> Mutant | None:
    pair = _pair(place, kernel.channels)
    if pair is None:
        return None
    match kernel:
        case Threshold():
            names: tuple[str, ...] = ("thresholds", "decreasing")
        case Table():
            names = ("values",)
        case _:
            names = ("multiplier", "addend")
    changes = {name: _exchanged(getattr(kernel, name), pair) for name in names}
    return Mutant(layer, "permutation", ("channels", *pair), _changed(kernel, **changes))
