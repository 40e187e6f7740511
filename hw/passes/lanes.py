"""Width converters between kernels whose lanes differ, and the hardware of a folded graph."""

from dataclasses import replace

import numpy as np

from hw.ir.graph import Graph, Node
from hw.ir.stream import Stream, divides
from hw.kernels.width_converter.kernel import WidthConverter
from hw.passes.chains import joined


def connected(graph: Graph) -> Graph:
    """The hardware of a folded graph without FIFOs: chains of layers in logic are one pipeline, and there are width
    converters between kernels."""
    return insert_width_converters(joined(graph))


def insert_width_converters(graph: Graph) -> Graph:
    """The graph with width converters on every edge whose writer and reader differ in lanes."""
    nodes: list[Node] = []
    given: dict[str, Stream] = {}
    for node in graph:
        inputs = []
        for edge, stream in zip(node.inputs, node.kernel.inputs(), strict=True):
            for kernel in converters(given.get(edge, stream), stream):
                name = f"{edge}_x{kernel.out_lanes}"
                nodes.append(Node(name, kernel, (edge,), (name,)))
                edge = name
            inputs.append(edge)
        nodes.append(replace(node, inputs=tuple(inputs)))
        given.update(zip(node.outputs, node.kernel.outputs(), strict=True))
    return replace(graph, nodes=tuple(nodes))


def converters(stream: Stream, want: Stream) -> list[WidthConverter]:
    """The width converters from a stream to the lanes of ``want``, the stream of its reader.

    There are none for equal lanes, one where one number of lanes divides the other, and otherwise two, with the least
    common multiple of the lanes between them.
    """
    have, need = stream.lanes, want.lanes
    if have == need:
        return []
    steps = [need] if max(have, need) % min(have, need) == 0 else [int(np.lcm(have, need)), need]
    shape = want.shape if all(divides(lanes, want.shape) for lanes in (have, *steps)) else (want.elements,)
    result = []
    current = Stream(shape, stream.dtype, have)
    for lanes in steps:
        result.append(WidthConverter(current, lanes))
        current = current.with_lanes(lanes)
    return result
