"""Pads that repeat elements of a stream (reflect, edge, wrap), as selections and a Concat along each axis.

No nested loops count through the elements of a frame with such a border; a concatenation of parts needs none. Before
the first quantizer the host pads.
"""

from itertools import pairwise

import numpy as np
import onnx
from onnx import helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper

from hw.lowering.domains import LINEAR_OPS, QUANTIZER_OPS, operator_key
from hw.lowering.node_attributes import attribute

KEY = "", "Pad"
LIMITS = {"reflect": 1, "wrap": 0}
"""Elements of an axis of which the mode cannot make a border; ``edge`` repeats one as often as is asked."""
Widths = dict[int, tuple[int, int]]


def with_selections(model: ModelWrapper) -> ModelWrapper:
    """A loaded model without Pads that repeat elements behind a quantizer; the model itself where it has none.

    Pads along the batch, with negative widths, or wider than their mode allows stay: their handler refuses them.
    """
    pads = [node for node in model.graph.node if operator_key(node) == KEY]
    if all(attribute(node, "mode", "constant") == "constant" for node in pads):
        return model
    proto = onnx.ModelProto()
    proto.CopyFrom(model.model)
    graph = proto.graph
    constants = {each.name for each in graph.initializer}
    taken = constants | {name for node in graph.node for name in (*node.input, *node.output)}
    data, quantized = {value.name for value in graph.input} - constants, set[str]()
    nodes: list[onnx.NodeProto] = []
    for node in list(graph.node):
        widths = _widths(model, node) if node.input and node.input[0] in quantized else {}
        nodes += _selections(model, graph, node, widths, taken) if widths else [node]
        if not data.isdisjoint(node.input):
            data.update(node.output)
            if node.op_type in (*QUANTIZER_OPS, *LINEAR_OPS) or not quantized.isdisjoint(node.input):
                quantized.update(node.output)
    del graph.node[:]
    graph.node.extend(nodes)
    return ModelWrapper(proto, fix_missing_initializer_valueinfo=False)


def _widths(model: ModelWrapper, node: onnx.NodeProto) -> Widths:
    """By axis the elements before and after it; empty for another operator, and for a Pad that stays."""
    mode = attribute(node, "mode", "constant")
    if operator_key(node) != KEY or mode == "constant":
        return {}
    given = [None if not name else model.get_initializer(name) for name in node.input]
    listed = np.asarray(attribute(node, "pads", ()) if len(given) < 2 else given[1], np.int64)
    shape = model.get_tensor_shape(node.input[0])
    axes = range(len(shape)) if len(given) < 4 or given[3] is None else np.ravel(given[3]) % len(shape)
    found = {
        int(axis): (int(before), int(after))
        for axis, before, after in zip(axes, *np.reshape(listed, (2, -1)), strict=True)
        if before or after
    }
    for axis, ends in found.items():
        limit = shape[axis] - LIMITS[mode] if mode in LIMITS else max(ends)
        if axis == 0 or min(ends) < 0 or max(ends) > limit:
            return {}
    return found


def _selections(
    model: ModelWrapper, graph: onnx.GraphProto, node: onnx.NodeProto, widths: Widths, taken: set[str]
) -> list[onnx.NodeProto]:
    """The nodes in the place of a Pad, of its name: for each axis the runs of neighbours, and their Concat.

    Adds the names of their tensors to those that are ``taken``.
    """
    made: list[onnx.NodeProto] = []
    source, shape = node.input[0], list(model.get_tensor_shape(node.input[0]))
    elem_type = model.get_tensor_valueinfo(source).type.tensor_type.elem_type

    def free(wanted: str) -> str:
        while wanted in taken:
            wanted += "_"
        taken.add(wanted)
        return wanted

    for axis, ends in widths.items():
        indices = np.pad(np.arange(shape[axis]), ends, attribute(node, "mode", "constant"))
        starts = [0, *(np.flatnonzero(np.diff(indices) != 1) + 1).tolist(), len(indices)]
        parts = []
        for number, (start, end) in enumerate(pairwise(starts)):
            part = free(f"{node.output[0]}_{axis}_{number}")
            places = free(f"{part}_indices")
            graph.initializer.append(numpy_helper.from_array(indices[start:end], places))
            made.append(helper.make_node("Gather", [source, places], [part], axis=axis))
            shape[axis] = end - start
            graph.value_info.append(helper.make_tensor_value_info(part, elem_type, shape))
            parts.append(part)
        last = axis == list(widths)[-1]
        source = node.output[0] if last else free(f"{node.output[0]}_{axis}")
        made.append(helper.make_node("Concat", parts, [source], axis=axis))
        shape[axis] = len(indices)
        if not last:
            graph.value_info.append(helper.make_tensor_value_info(source, elem_type, shape))
    for each in made:
        each.name = node.name
        each.metadata_props.extend(node.metadata_props)
    return made
