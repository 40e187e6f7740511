"""Early exits as kernels: the decision of ``hw.lowering.exit_sites``, and the streams that end there.

A decision is lowered to a kernel ``margin``, whose verdict a kernel ``merge`` reads. After the lowering ``with_exits``
puts a kernel ``exit`` wherever layers that only the last head needs read a stream.
"""

from collections.abc import Mapping
from dataclasses import replace
from heapq import heapify, heappop, heappush

import numpy as np
import onnx

from hw.host.elementwise import COMBINERS
from hw.host.errors import BitfabricError
from hw.host.steps import run
from hw.ir.graph import Node, Port
from hw.ir.origin import Origin
from hw.ir.stream import Stream
from hw.kernels.exit.kernel import Exit
from hw.kernels.margin.kernel import Margin
from hw.kernels.merge.kernel import Merge
from hw.lowering.context import Lowering
from hw.lowering.exit_sites import DECISION, DOMAIN, Site
from hw.lowering.handlers import Handler, Handlers, affine_by_channel
from hw.lowering.integer_tensor import IntegerTensor
from hw.lowering.logits import quantized_logits
from hw.lowering.refusal import lowering_error

REMEDY = "put one quantizer behind both heads"
LARGEST = 2048
"""Codes of a logit up to which all pairs are tried."""


def _decision(context: Lowering, node: onnx.NodeProto) -> None:
    """The verdict of the first logits' margin, and the logits that it chooses."""
    site = context.exits[node.output[0]]
    node = site.node
    first, last = (quantized_logits(context, node, each, REMEDY) for each in (site.first, site.last))
    if first.shape != last.shape:
        raise lowering_error(node, f"its heads give {first.shape[0]} and {last.shape[0]} logits", "give both as many")
    kernel = Margin(first.channels, first.dtype, _threshold(node, site, first))
    merge = Merge(first.shape, (first.dtype, last.dtype))
    margin = context.append(context.name("margin"), kernel, first.edge)
    edge = context.append(context.name("merge"), merge, margin, first.edge, last.edge)
    low, high = np.minimum(first.low, last.low), np.maximum(first.high, last.high)
    result = replace(first, edge=edge, dtype=merge.output_dtype, low=low, high=high)
    if not np.array_equal(_values(result, result), _values(last, result)):
        raise lowering_error(node, f"{site.first} and {site.last} have different scales", REMEDY)
    context.values[node.output[0]] = result


def _values(tensor: IntegerTensor, other: IntegerTensor) -> np.ndarray:
    """The model's values, float32 (codes,), of all codes that ``other`` can have, in one class."""
    codes = np.arange(int(other.low.min()), int(other.high.max()) + 1, dtype=np.float64)
    rows = np.broadcast_to(codes[:, None], (len(codes), tensor.channels))
    result: np.ndarray = run(tensor.steps, np.ascontiguousarray(rows)).reshape(len(codes), -1)[:, 0]
    return result


def _threshold(node: onnx.NodeProto, site: Site, logits: IntegerTensor) -> int:
    """The least margin of integers of a frame that leaves.

    In float32 the model's verdict must follow from that margin alone. All pairs of codes are tried; of more codes than
    LARGEST the scale must be a power of two, where nothing rounds.
    """
    compare = COMBINERS[site.op]
    values = _values(logits, logits)
    if len(values) > LARGEST:
        slope = affine_by_channel(logits)[0][0]
        if slope.numerator.bit_count() > 1 or slope.denominator.bit_count() > 1:
            raise lowering_error(
                node, f"its {len(values)} logits have a scale that float32 rounds", "take a power of two, or fewer bits"
            )
        margins = (values - values[0])[None, :]
    else:
        margins = np.triu(values[None, :] - values[:, None])
    leaves = np.asarray(compare(margins, site.threshold.astype(margins.dtype))) == site.large
    size = len(values)
    by_margin = [np.diagonal(leaves, gap) if len(leaves) > 1 else leaves[:, gap] for gap in range(size)]
    if any(each.any() and not each.all() for each in by_margin):
        raise lowering_error(
            node, "float32 rounding decides at its threshold", "take one in the middle between two margins of the codes"
        )
    threshold = next((gap for gap, each in enumerate(by_margin) if each.all()), None)
    if threshold == 0:
        raise lowering_error(node, "every frame leaves", "raise its threshold, or end the network at its first head")
    if threshold is None:
        raise lowering_error(
            node, f"no margin reaches its threshold of {float(site.threshold):g}", "lower it, or leave the exit out"
        )
    return threshold


HANDLERS: Handlers = {(DOMAIN, DECISION): Handler(_decision)}


def with_exits(context: Lowering, nodes: list[Node], outputs: tuple[Port, ...]) -> list[Node]:
    """The nodes with a kernel ``exit`` on every stream that enters a rest: the layers that only the last head of a
    decision needs. Raises BitfabricError for a rest that something else reads, and for heads of the same layers."""
    for merge in [node for node in nodes if isinstance(node.kernel, Merge)]:
        nodes = _with_exit(context, nodes, outputs, merge)
    return nodes


def _with_exit(context: Lowering, nodes: list[Node], outputs: tuple[Port, ...], merge: Node) -> list[Node]:
    writers = {edge: node for node in nodes for edge in node.outputs}
    margin, first, last = merge.inputs
    needed = _before(first, writers)
    rest = _before(last, writers) - needed
    inside = {edge for node in nodes if node.name in rest for edge in node.outputs}
    if not rest or last not in inside:
        raise BitfabricError(
            f"{merge.title}: the exit saves nothing: the first head needs all layers of the last one; take its logits "
            "from an earlier layer"
        )
    for node in nodes:
        if node.name not in rest and node.name != merge.name and (read := inside.intersection(node.inputs)):
            raise _read_elsewhere(merge, min(read), node.title)
    for port in outputs:
        if port.edge in inside:
            raise _read_elsewhere(merge, port.edge, f"output {port.name}")
    streams = {edge: stream for node in nodes for edge, stream in zip(node.inputs, node.kernel.inputs(), strict=True)}
    streams |= {edge: s for node in nodes for edge, s in zip(node.outputs, node.kernel.outputs(), strict=True)}
    exits: dict[str, Node] = {}
    result: list[Node] = []
    for node in nodes:
        if node.name in rest:
            for edge in node.inputs:
                if edge not in inside and edge not in exits:
                    exits[edge] = _exit(context, streams[edge], margin, edge, merge.origin)
                    result.append(exits[edge])
            passed = tuple(exits[edge].outputs[0] if edge in exits else edge for edge in node.inputs)
            node = replace(node, inputs=passed)
        result.append(node)
    return _in_order(result)


def _exit(context: Lowering, stream: Stream, margin: str, edge: str, origin: Origin) -> Node:
    name = context.name("exit")
    return Node(name, Exit(stream.shape, stream.dtype), (margin, edge), (name,), origin)


def _read_elsewhere(merge: Node, edge: str, reader: str) -> BitfabricError:
    return BitfabricError(
        f"{merge.title}: frames that leave early have no {edge}, but {reader} reads it too; give it layers of its own"
    )


def _before(edge: str, writers: Mapping[str, Node]) -> set[str]:
    """The names of the nodes that an edge depends on."""
    found: set[str] = set()
    pending = [edge]
    while pending:
        node = writers.get(pending.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            pending.extend(node.inputs)
    return found


def _in_order(nodes: list[Node]) -> list[Node]:
    """The nodes in an order in which each comes after those it reads from, otherwise as they are."""
    writers = {edge: number for number, node in enumerate(nodes) for edge in node.outputs}
    waits = [{writers[edge] for edge in node.inputs if edge in writers} for node in nodes]
    readers: dict[int, list[int]] = {}
    for number, before in enumerate(waits):
        for each in before:
            readers.setdefault(each, []).append(number)
    free = [number for number, before in enumerate(waits) if not before]
    heapify(free)
    result = []
    while free:
        number = heappop(free)
        result.append(nodes[number])
        for reader in readers.get(number, ()):
            waits[reader].discard(number)
            if not waits[reader]:
                heappush(free, reader)
    return result
