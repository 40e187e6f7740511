"""Rules of lookup networks: levels that are never or always reached, tables that are constant or equal, and bits that
no table depends on.

Tables are compared as functions of the bits that are kept, without the inputs that they do not depend on. A table that
is another one's negation is not needed either, where tables read it: they take the negation in. The constants of a
class's bits go to the offset of its sum.
"""

from dataclasses import replace

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.ir.graph import Node
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_layer.support import Table, reduced
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.thermometer.kernel import Thermometer
from hw.passes.removal.channels import Channels, grouped
from hw.passes.removal.state import Rule, State


def _bits(
    keys: list[object], negated: np.ndarray, constant: np.ndarray, value: np.ndarray, parts: np.ndarray
) -> Channels:
    """Bits that are equal where their keys and parts are, or each other's negation where ``negated`` (B,) differs;
    ``constant`` (B,) ones are ``value``."""
    every = np.arange(len(keys))
    groups = grouped(list(zip(keys, parts.tolist(), strict=True)))
    source = np.where(constant, np.where(parts < 0, -1, every), groups)
    turned = (source >= 0) & (negated != negated[source])
    offset = np.where(source < 0, value, turned).astype(np.int64)
    low, high = (np.where(constant, value, end).astype(np.int64) for end in (0, 1))
    return Channels(source, np.where(turned, -1, 1), offset, low, high)


def _refuse_negations(state: State, node: Node, x: Channels, read: np.ndarray) -> None:
    """Refuse inputs that are ``read`` and follow from others with a negative sign; equal ones may stay one."""
    negated = ~x.own & (x.sign < 0) & np.isin(np.arange(len(x)), read)
    state.refuse_at(node, np.where(negated, x.source, -1))


def _places(kept: np.ndarray) -> np.ndarray:
    """The numbers of the kept channels among themselves."""
    return np.cumsum(kept) - 1


class ThermometerRule(Rule):
    """Levels: an offset of what is compared is subtracted from them."""

    def forward(self, state: State, node: Node) -> list[Channels]:
        kernel, x = node.kernel, state.read(node)
        assert isinstance(kernel, Thermometer)
        read = kernel.features
        _refuse_negations(state, node, x, read)
        levels = kernel.levels
        constant = (levels <= x.low[read]) | (levels > x.high[read])
        source, level = x.source[read], levels - x.offset[read]
        keys: list[object] = list(zip(source.tolist(), level.tolist(), strict=True))
        same = np.zeros(len(levels), bool)
        return [_bits(keys, same, constant, levels <= x.low[read], state.parts[node.outputs[0]])]

    def need(self, state: State, node: Node) -> None:
        kernel, x, bits = node.kernel, state.read(node), state.kept[node.outputs[0]]
        assert isinstance(kernel, Thermometer)
        source = x.source[kernel.features[bits]]
        state.keep_at(node, np.isin(np.arange(len(x)), source))

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Thermometer:
        kernel, x, kept = node.kernel, state.read(node), state.kept_at(node)
        assert isinstance(kernel, Thermometer)
        bits = state.kept[node.outputs[0]]
        read = kernel.features[bits]
        features = _places(kept)[np.maximum(x.source[read], 0)]
        levels = kernel.levels[bits] - x.offset[read]
        constant = x.constant[read]  # A constant bit that is kept nevertheless.
        always = np.where(levels <= 0, int(dtypes[0].min()), int(dtypes[0].max()) + 1)
        return Thermometer(
            np.where(constant, 0, features),
            np.where(constant, always, levels),
            int(kept.sum()),
            dtypes[0],
            kernel.prefix,
        )


class LookupLayerRule(Rule):
    """Tables: what is known of their inputs goes into their contents."""

    def forward(self, state: State, node: Node) -> list[Channels]:
        kernel = node.kernel
        assert isinstance(kernel, LookupLayer)
        tables = state.tables[node.name] = _tables(kernel, state.read(node))
        sizes = np.array([1 << len(each.wires) for each in tables], object)
        value = np.array([each.contents & 1 for each in tables], bool)
        keys: list[object] = [
            (each.wires, each.contents ^ ((1 << size) - 1) if first else each.contents)
            for each, size, first in zip(tables, sizes.tolist(), value.tolist(), strict=True)
        ]
        constant = np.array([not each.wires for each in tables])
        return [_bits(keys, value, constant, value, state.parts[node.outputs[0]])]

    def need(self, state: State, node: Node) -> None:
        needed = np.zeros(node.kernel.inputs()[0].shape[-1], bool)
        for table, kept in zip(state.tables[node.name], state.kept[node.outputs[0]].tolist(), strict=True):
            if kept:
                needed[list(table.wires)] = True
        state.keep_at(node, needed)

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> LookupLayer:
        kernel, kept = node.kernel, state.kept_at(node)
        assert isinstance(kernel, LookupLayer)
        outputs = state.kept[node.outputs[0]].tolist()
        tables = [each for each, needed in zip(state.tables[node.name], outputs, strict=True) if needed]
        inputs, places = max(1, *(len(each.wires) for each in tables)), _places(kept)
        wires, contents = np.zeros((len(tables), inputs), np.int64), np.empty((len(tables), 1 << inputs), np.uint8)
        address = np.arange(1 << inputs)
        for number, table in enumerate(tables):
            count = len(table.wires)
            wires[number, :count] = places[list(table.wires)]
            wires[number, count:] = wires[number, 0]
            bits = np.array([table.contents >> a & 1 for a in range(1 << count)], np.uint8)
            contents[number] = bits[address & (1 << count) - 1]
        return LookupLayer(wires, contents, int(kept.sum()), kernel.prefix)


def _tables(kernel: LookupLayer, x: Channels) -> list[Table]:
    """The tables as functions of the inputs that are their own sources, with increasing wires."""
    inputs = kernel.wires.shape[1]
    source, turned, fixed = (each[kernel.wires] for each in (x.source, x.sign < 0, x.constant))
    bits = 1 << np.arange(inputs)
    flips = ((turned & ~fixed) * bits).sum(axis=1)
    constants, values = (fixed * bits).sum(axis=1), ((fixed & (x.offset[kernel.wires] != 0)) * bits).sum(axis=1)
    order = np.argsort(source, axis=1, kind="stable")
    address = np.zeros((len(source), 1 << inputs), np.int64)
    for j in range(inputs):  # Bit j of the new address is that of the j-th wire in order.
        address |= (np.arange(1 << inputs) >> j & 1) << order[:, j, None]
    address = (address ^ flips[:, None]) & ~constants[:, None] | values[:, None]
    contents = np.take_along_axis(kernel.tables, address, axis=1)
    return list(reduced(np.maximum(np.take_along_axis(source, order, axis=1), 0), contents))


class PopcountClassRule(Rule):
    """Sums of bits: equal bits are counted several times, and constants are an offset of the sums."""

    def forward(self, state: State, node: Node) -> list[Channels]:
        kernel, x, edge = node.kernel, state.read(node), node.outputs[0]
        assert isinstance(kernel, PopcountClass)
        _refuse_negations(state, node, x, kernel.wires)
        classes = len(kernel.offsets)
        constants = _constants(kernel, x)
        source, groups = x.source[kernel.wires], kernel.groups
        counted = [tuple(sorted(source[(groups == c) & (source >= 0)].tolist())) for c in range(classes)]
        parts = state.parts[edge]
        same = grouped(list(zip(counted, parts.tolist(), strict=True)))
        every, empty = np.arange(classes), np.array([not each for each in counted])
        of = np.where(empty, np.where(parts < 0, -1, every), same)
        total = kernel.offsets + constants
        own = kernel.offsets + (constants if edge in state.level else 0)  # What the kernel itself adds.
        offset = np.where(of < 0, total, total - own[np.maximum(of, 0)])
        return [Channels(of, np.ones(classes, np.int64), offset, total, total + [len(each) for each in counted])]

    def need(self, state: State, node: Node) -> None:
        kernel, x = node.kernel, state.read(node)
        assert isinstance(kernel, PopcountClass)
        read = kernel.wires[state.kept[node.outputs[0]][kernel.groups]]
        state.keep_at(node, np.isin(np.arange(len(x)), x.source[read]))

    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> PopcountClass:
        kernel, x, kept = node.kernel, state.read(node), state.kept_at(node)
        assert isinstance(kernel, PopcountClass)
        classes = state.kept[node.outputs[0]]
        offsets = kernel.offsets + (_constants(kernel, x) if node.outputs[0] in state.level else 0)
        source = x.source[kernel.wires]
        counted = classes[kernel.groups] & (source >= 0)
        return replace(
            kernel,
            wires=_places(kept)[source[counted]],
            groups=_places(classes)[kernel.groups[counted]],
            offsets=offsets[classes],
            channels=int(kept.sum()),
        )


def _constants(kernel: PopcountClass, x: Channels) -> np.ndarray:
    """The sums of the constant bits of each class."""
    constants = np.zeros(len(kernel.offsets), np.int64)
    np.add.at(constants, kernel.groups, np.where(x.constant, x.offset, 0)[kernel.wires])
    return constants
