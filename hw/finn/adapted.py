"""Conversion of a graph to an equivalent one in which every kernel has an equivalent in FINN.

- FINN's thresholds can only increase. For a channel that decreases, the weights of the layer before are negated.
- FINN has no windows without some of their elements: sparse windows become whole ones, and products have columns of
  zeros again.
- FINN's Requant rounds half up in float32. A Requant of at most 8 bits that rounds otherwise becomes a Threshold.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from hw.finn import requant
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node
from hw.ir.kernel import Kernel
from hw.ir.stream import Stream
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.requant.kernel import Requant
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.width_converter.kernel import WidthConverter
from hw.lowering.weights import weight_dtype
from hw.passes.columns import with_whole_windows
from hw.passes.fold import plain


def adapted(graph: Graph) -> Graph:
    """The equivalent graph for FINN. Raises BitfabricError, naming the node, if there is none."""
    return _with_increasing_thresholds(_with_thresholds(with_whole_windows(plain(graph))))


def bounds(nodes: Iterable[Node], edge: str, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum integer of each channel of an edge, int64 (channels,), from the kernel that writes it.

    ``nodes`` are those of the graph; without a kernel of known range, the bounds are those of the stream's type.
    """
    before = next((each for each in nodes if edge in each.outputs), None)
    low: np.ndarray | int = int(stream.dtype.min())
    high: np.ndarray | int = int(stream.dtype.max())
    if before is not None and isinstance(before.kernel, MatrixVector | Depthwise | Add | AccumulatePool):
        low, high = before.kernel.output_range()
    if np.size(low) not in (1, stream.shape[-1]):
        low, high = np.min(low), np.max(high)
    low, high = (np.broadcast_to(np.asarray(end, np.int64), stream.shape[-1:]) for end in (low, high))
    return low, high


def _with_thresholds(graph: Graph) -> Graph:
    """The graph with a Threshold for every Requant of few bits that FINN's Requant cannot compute."""
    kernels: dict[str, Kernel] = {}
    for node in graph:
        kernel = node.kernel
        if isinstance(kernel, Requant) and kernel.high - kernel.low <= requant.THRESHOLDS:
            reach = bounds(graph, node.inputs[0], kernel.inputs()[0])
            try:
                requant.parameters(kernel, node.name, reach)
            except BitfabricError:
                kernels[node.name] = requant.as_thresholds(kernel, reach)
    return graph.with_kernels(kernels)


def _with_increasing_thresholds(graph: Graph) -> Graph:
    """The graph with thresholds that increase: for a ``decreasing`` channel, the weights before it are negated.

    The result is the same. Raises BitfabricError, naming the node, if the node before is not a layer of weights, with
    at most FIFOs and width converters between.
    """
    kernels: dict[str, Kernel] = {}
    writers = {edge: node for node in graph for edge in node.outputs}
    for node in graph:
        threshold = node.kernel
        if not isinstance(threshold, Threshold) or not threshold.decreasing.any():
            continue
        between: list[Node] = []
        before = writers.get(node.inputs[0])
        while before is not None and isinstance(before.kernel, Fifo | WidthConverter):
            between.append(before)
            before = writers.get(before.inputs[0])
        channels = None if before is None else before.kernel.outputs()[0].shape[-1]
        if before is None or not isinstance(before.kernel, MatrixVector | Depthwise) or channels != threshold.channels:
            what = "the input" if before is None else f"{before.name} ({before.kernel.op})"
            raise BitfabricError(
                f"{node.name}: its output falls while its input rises, which FINN's thresholds cannot, and "
                f"{what} before it has no weights to change the sign of; train with a positive factor (BatchNorm) "
                "there, or use the open back end"
            )
        layer = _negated(before.kernel, threshold.decreasing)
        given = layer.outputs()[0].dtype
        kernels[before.name] = layer
        for each in between:
            assert isinstance(each.kernel, Fifo | WidthConverter)
            kernels[each.name] = replace(each.kernel, stream=replace(each.kernel.stream, dtype=given))
        falling = threshold.decreasing[:, None]
        # steps - #(x >= t) = #(x < t) = #(-x >= 1 - t)
        table = np.where(falling, 1 - threshold.thresholds[:, ::-1], threshold.thresholds)
        kernels[node.name] = replace(
            threshold,
            thresholds=np.clip(table, int(given.min()), int(given.max()) + 1),
            decreasing=np.zeros(threshold.channels, bool),
            input_dtype=given,
        )
    return graph.with_kernels(kernels)


def _negated(layer: MatrixVector | Depthwise, negated: np.ndarray) -> MatrixVector | Depthwise:
    """The layer with the weights of the outputs in ``negated`` multiplied by -1."""
    weights = np.where(negated[:, None], -layer.weights, layer.weights)
    fits = all(map(layer.weight_dtype.allowed, (int(weights.min()), int(weights.max()))))
    return replace(layer, weights=weights, weight_dtype=layer.weight_dtype if fits else weight_dtype(weights))
