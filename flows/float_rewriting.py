"""What ONNX Runtime's quantizer needs of a float file, and what is left to do on the file that it writes."""

import math

import numpy as np
import onnx
from onnx import numpy_helper

_REMOVED = ("Relu", "Clip")
"""Operators that the quantizer leaves out in front of a quantizer whose range stands for them."""
_MEANS = ("AveragePool", "GlobalAveragePool", "ReduceMean")


def fold_factors(model: onnx.ModelProto) -> None:
    """Multiplies the factors ``alpha`` and ``beta`` of every Gemm into its constants, in place.

    ONNX Runtime's quantizer scales the bias by them, and leaves them in the node as well.
    """
    graph = model.graph
    held = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type != "Gemm":
            continue
        factors = {each.name: each.f for each in node.attribute if each.name in ("alpha", "beta")}
        if factors.get("beta", 1.0) == 0:
            del node.input[2:]
        given = {1: factors.get("alpha", 1.0), 2: factors.get("beta", 1.0)}
        places = [place for place in given if place < len(node.input) and node.input[place]]
        if any(node.input[place] not in held for place in places):
            continue
        for place in places:
            if given[place] != 1:
                value = numpy_helper.to_array(held[node.input[place]])
                name = f"{node.name or node.output[0]}_constant_{place}"
                graph.initializer.append(numpy_helper.from_array(np.float32(given[place]) * value, name))
                node.input[place] = name
        kept = [each for each in node.attribute if each.name not in factors]
        del node.attribute[:]
        node.attribute.extend(kept)


def make_means_exact(model: onnx.ModelProto) -> None:
    """Rounds the scale of what a mean reads up to a power of two, in place; its zero point follows.

    Every quarter of the means of four codes is a tie. With other scales the float32 rounding of the runtime decides
    them, one by one; with these sums are exact, as the hardware's are.
    """
    graph = model.graph
    held = {each.name: each for each in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    users: dict[str, set[str]] = {}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            users.setdefault(node.input[1], set()).add(node.input[2] if len(node.input) > 2 else "")
    for node in graph.node:
        source = made.get(node.input[0]) if node.op_type in _MEANS else None
        if source is None or source.op_type != "DequantizeLinear":
            continue
        scale, zero = held.get(source.input[1]), held.get(source.input[2] if len(source.input) > 2 else "")
        if scale is None or scale.dims or zero is None or users[scale.name] != {zero.name}:
            continue
        before = float(numpy_helper.to_array(scale))
        after = 2.0 ** math.ceil(math.log2(before))
        moved = round(int(numpy_helper.to_array(zero)) * before / after)
        scale.CopyFrom(numpy_helper.from_array(np.array(after, np.float32), scale.name))
        zero.CopyFrom(onnx.helper.make_tensor(zero.name, zero.data_type, [], [moved]))


def drop_output_quantizer(model: onnx.ModelProto, source: onnx.ModelProto) -> None:
    """Removes the quantizer at the output of ``model``, in place: the sums of the last layer leave the hardware as they
    are. ``source`` is the file that was quantized; a Relu or Clip at its output that the quantizer stood for is again
    there.
    """
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    output = graph.output[0]
    dequantize = made.get(output.name)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return
    quantize = made.get(dequantize.input[0])
    if quantize is None or quantize.op_type != "QuantizeLinear":
        return
    graph.node.remove(dequantize)
    graph.node.remove(quantize)
    given, layer = quantize.input[0], made[quantize.input[0]]
    last = next(node for node in source.graph.node if output.name in node.output)
    lost = last.op_type in _REMOVED and layer.name != last.name
    name = f"{output.name}_before_{last.op_type}" if lost else output.name
    for node in graph.node:
        node.output[:] = [name if each == given else each for each in node.output]
        node.input[:] = [name if each == given else each for each in node.input]
    if lost:
        _append(graph, last, name, source)


def _append(graph: onnx.GraphProto, node: onnx.NodeProto, name: str, source: onnx.ModelProto) -> None:
    """Adds a copy of a node of ``source`` that reads the tensor ``name``, and the constants that it needs."""
    again = graph.node.add()
    again.CopyFrom(node)
    again.input[0] = name
    held = {each.name for each in graph.initializer}
    needed = {*node.input[1:]} - held
    graph.initializer.extend(each for each in source.graph.initializer if each.name in needed)
