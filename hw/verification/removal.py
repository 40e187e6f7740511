"""The graph without the channels that do nothing against the graph that has them, exactly.

The original graph is compared with the model's reference as always, with all its channels. Here the hardware, which
has fewer, is compared with the original graph: all edges and outputs on the user's frames, and every layer at inputs of
its own. Every channel that was removed is compared, too: the constant that stands for it, or the channel that it
equals.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hw.host.errors import BitfabricError
from hw.ir.frames import Batch
from hw.ir.graph import Graph, Node
from hw.ir.stream import container
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.requant.kernel import Requant
from hw.kernels.sparse_window.kernel import SparseWindow
from hw.kernels.table.kernel import Table
from hw.kernels.threshold.kernel import Threshold
from hw.passes.chains import unfused
from hw.passes.removal.channels import Channels
from hw.passes.removal.remove import Removal
from hw.verification.difference import first_difference
from hw.verification.driven import legal

CHUNK = 1 << 21
"""Integers of a graph's widest edge that are computed at once, which bounds the memory."""
WORK = 1 << 22
"""Limit on the integers of a layer's widest stream, over all its inputs."""
PRODUCTS = 1 << 28
"""Limit on the products with weights that a layer computes, over all its inputs."""
RANDOM = 16
"""Inputs of each random kind."""
POINTS = 256
"""Most decision points of a channel that a layer is driven at."""


@dataclass(frozen=True)
class RemovalChecked:
    """What was compared, without a difference: ``frames`` of the whole graph, and ``layers`` at ``inputs`` of their
    own; ``channels`` are the removed ones, of all edges."""

    frames: int
    layers: int
    inputs: int
    channels: int

    @property
    def summary(self) -> str:
        """The same in one line."""
        return (
            f"without {self.channels:,} channels that do nothing: equal to the graph that has them in "
            f"{self.frames:,} frames, and in {self.layers:,} layers at {self.inputs:,} inputs of their own"
        )


def check_removal(removal: Removal, hardware: Graph, frames: Batch) -> RemovalChecked:
    """Compare ``hardware``, made of the reduced graph, with the original one.

    ``frames`` are the model's. Raises BitfabricError, with the layer, for any difference.
    """
    nodes = {node.name: node for node in unfused(hardware)}
    sent = _sent_elements(removal.original, nodes)
    _check_frames(removal, hardware, sent, frames)
    inputs = 0
    for number, node in enumerate(removal.original):
        inputs += _check_layer(removal, node, nodes[node.name], sent, np.random.default_rng(number))
    removed = sum(int((~kept).sum()) for kept in removal.kept.values())
    count = len(next(iter(frames.values())) if isinstance(frames, dict) else frames)
    return RemovalChecked(count, len(removal.original.nodes), inputs, removed)


def _sent_elements(original: Graph, nodes: Mapping[str, Node]) -> dict[str, np.ndarray]:
    """By edge behind a sparse window, the elements of a reduced window that the hardware sends."""
    return {
        node.outputs[0]: kernel.picks
        for node in original
        if isinstance(kernel := nodes[node.name].kernel, SparseWindow)
    }


def _check_frames(removal: Removal, hardware: Graph, sent: Mapping[str, np.ndarray], frames: Batch) -> None:
    """Compare every edge, and the outputs of the whole graph."""
    original = removal.original
    given = original.check(frames)
    count = len(next(iter(given.values())))
    step = max(1, CHUNK // max(stream.elements for stream in original.edges.values()))
    for start in range(0, count, step):
        chunk = {name: values[start : start + step] for name, values in given.items()}
        want = original.execute(original.enter(chunk), keep=True)
        got = hardware.execute(hardware.enter(chunk), keep=True)
        if (parts := unfused(hardware)) is not hardware:
            got = {**parts.execute(parts.enter(chunk), keep=True), **got}
        for node in original:
            for edge in node.outputs:
                _compare(node, removal.channels[edge], removal.kept[edge], sent.get(edge), got[edge], want[edge])
        for before, after in zip(original.outputs, hardware.outputs, strict=True):
            values = after.decode(got[after.edge]), before.decode(want[before.edge])
            if difference := first_difference(*values):
                raise _differs(f"output {before.name}", difference)


def _check_layer(
    removal: Removal, node: Node, made: Node, sent: Mapping[str, np.ndarray], rng: np.random.Generator
) -> int:
    """Compare one layer at inputs of its own; returns their number."""
    given = [_legal(removal, node, number, rng) for number in range(len(node.inputs))]
    count = min(len(each) for each in given)
    whole, fewer = [], []
    for number, frames in enumerate(given):
        channels, kept = removal.read(node, number)
        stream, streams = node.kernel.inputs()[number], made.kernel.inputs()[number]
        whole.append(frames[:count].astype(container(stream.dtype)))
        reduced = channels.reduced(frames[:count], kept)
        if node.inputs[number] in sent:
            reduced = reduced[..., sent[node.inputs[number]]]
        fewer.append(reduced.reshape(count, *streams.shape).astype(container(streams.dtype)))
    want, got = node.kernel.execute(*whole), made.kernel.execute(*fewer)
    for edge, reduced, original in zip(node.outputs, got, want, strict=True):
        _compare(node, removal.channels[edge], removal.kept[edge], sent.get(edge), reduced, original)
    return count


def _compare(
    node: Node, channels: Channels, kept: np.ndarray, sent: np.ndarray | None, got: np.ndarray, want: np.ndarray
) -> None:
    """Compare the reduced integers of an edge with the original ones, and these with what is known of them.

    ``sent``: the reduced integers that there are; None: all.
    """
    want = want.reshape(len(want), -1, len(channels)).astype(np.int64)
    known = channels.constant | kept[channels.source]
    there = got.reshape(*want.shape[:2], -1).astype(np.int64)
    if sent is not None:
        reduced = channels.reduced(want, kept)
        if difference := first_difference(there, reduced[..., sent]):
            raise _differs(f"layer {node.title}", difference)
        there = reduced  # no filter reads the others
    made = channels.original(there, kept)
    within = np.clip(want, channels.low, channels.high)
    for each, part in ((made, known), (within, np.full(len(known), True))):
        if difference := first_difference(each[..., part], want[..., part]):
            raise _differs(f"layer {node.title}", difference)


def _differs(what: str, difference: str) -> BitfabricError:
    return BitfabricError(
        f"the graph without channels that do nothing differs from the original in {what}: {difference}; report it"
    )


def _legal(removal: Removal, node: Node, number: int, rng: np.random.Generator) -> np.ndarray:
    """Integers of one input of a layer of the original graph, ``(N, *shape)``, as its channels can be: constant, or
    equal to others."""
    channels, _ = removal.read(node, number)
    stream = node.kernel.inputs()[number]
    positions = stream.elements // len(channels)
    low, high = channels.low, channels.high
    shape = RANDOM * positions, len(channels)
    chosen = rng.integers(0, 2, (2, *shape))
    ends = np.where(chosen[0], high, low)
    parts = [
        np.repeat(np.stack([low, high]), positions, axis=0),
        rng.integers(low, high, shape, endpoint=True),
        ends,
        np.where(rng.random(shape) < 1 / RANDOM, ends, 0),
        _points(node, channels, positions, rng),
    ]
    values = legal(np.concatenate(parts).clip(low, high), low, high, stream.dtype)
    frames = values[: len(values) // positions * positions].reshape(-1, positions, len(channels))
    frames = channels.original(channels.reduced(frames, channels.own), channels.own)
    most = max(4, min(WORK // stream.elements, PRODUCTS // _products(node)))
    return frames[:most].reshape(-1, *stream.shape)


def _points(node: Node, channels: Channels, positions: int, rng: np.random.Generator) -> np.ndarray:
    """Positions (N, C) on both sides of each decision point of a quantizer, or at which each sum of a product has its
    minimum or its maximum."""
    low, high, kernel = channels.low, channels.high, node.kernel
    match kernel:
        case Threshold():
            spread = np.linspace(0, kernel.steps - 1, min(kernel.steps, POINTS)).astype(int)
            values = np.concatenate([kernel.thresholds[:, spread] - 1, kernel.thresholds[:, spread]], axis=1).T
        case Table() | Requant():
            values = np.linspace(low, high, POINTS).round().astype(np.int64)
        case MatrixVector() if positions * len(channels) == kernel.inputs()[0].elements:
            values = np.concatenate([np.where(kernel.weights > 0, *ends) for ends in ((high, low), (low, high))])
        case Depthwise():
            signs = (kernel.weights.T > 0).ravel()
            values = np.stack([np.where(signs, high, low), np.where(signs, low, high)])
        case _:
            values = np.zeros((0, len(channels)), np.int64)
    missing = -len(values) % positions
    return np.concatenate([values, rng.integers(low, high, (missing, len(channels)), endpoint=True)])


def _products(node: Node) -> int:
    """The products with weights of one input."""
    kernel = node.kernel
    if isinstance(kernel, MatrixVector | Depthwise):
        return kernel.weights.size * kernel.outputs()[0].elements // len(kernel.weights)
    return 1
