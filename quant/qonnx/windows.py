"""Windows of layers in the form that every reader of a file agrees on."""

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes


def with_explicit_windows(wrapper: ModelWrapper) -> ModelWrapper:
    """The file with pads as numbers, and shapes in which no window of ``ceil_mode`` begins in the padding.

    torch's ``padding="same"`` becomes ``auto_pad``, which ONNX Runtime refuses with dilations; and up to operator set
    21 ONNX's shapes count windows that torch and ONNX Runtime leave out.
    """
    while any(_pads_same(node) or _starts_inside(node, wrapper) for node in wrapper.graph.node):
        del wrapper.graph.value_info[:]
        for output in wrapper.graph.output:
            output.type.tensor_type.ClearField("shape")
        wrapper = wrapper.transform(InferShapes())
    return wrapper


def _pads_same(node: onnx.NodeProto) -> bool:
    """Replaces ``auto_pad`` of a convolution, of stride 1 as torch has it; returns whether there was one."""
    given = _attributes(node)
    if node.op_type != "Conv" or given.get("auto_pad") != b"SAME_UPPER":
        return False
    taps = given["kernel_shape"]
    steps = given.get("dilations", [1] * len(taps))
    totals = [step * (count - 1) for step, count in zip(steps, taps, strict=True)]
    _replace(node, ("auto_pad",), pads=[*(total // 2 for total in totals), *(total - total // 2 for total in totals)])
    return True


def _starts_inside(node: onnx.NodeProto, wrapper: ModelWrapper) -> bool:
    """Replaces ``ceil_mode`` by pads where a last window would begin in the padding; returns whether one would."""
    given = _attributes(node)
    if node.op_type not in ("MaxPool", "AveragePool") or not given.get("ceil_mode"):
        return False
    taps = given["kernel_shape"]
    ones, axes = [1] * len(taps), len(taps)
    sizes = wrapper.get_tensor_shape(node.input[0])[2:]
    pads = given.get("pads", [0] * 2 * axes)
    inside, beyond = True, []  # beyond: by axis, what the last window reads behind the pads
    for axis, size in enumerate(sizes):
        stride, before, end = given.get("strides", ones)[axis], pads[axis], pads[axes + axis]
        reach = given.get("dilations", ones)[axis] * (taps[axis] - 1) + 1
        count = -(-(size + before + end - reach) // stride) + 1
        if (count - 1) * stride >= size + before:
            inside, count = False, count - 1
        beyond.append(max(0, (count - 1) * stride + reach - size - before - end))
    if inside:
        return False
    if given.get("count_include_pad") and any(beyond):
        # The pads count in the divisor, and what is behind them does not: so the pads become elements.
        _pad_before(node, wrapper, pads)
        _replace(node, ("ceil_mode", "count_include_pad"), pads=[*(0 for _ in taps), *beyond])
    else:
        ends = [end + more for end, more in zip(pads[axes:], beyond, strict=True)]
        _replace(node, ("ceil_mode",), pads=[*pads[:axes], *ends])
    return True


def _pad_before(node: onnx.NodeProto, wrapper: ModelWrapper, pads: list[int]) -> None:
    """Inserts a Pad with zeros before a node."""
    axes = len(pads) // 2
    widths, padded = wrapper.make_new_valueinfo_name(), f"{node.output[0]}_padded"
    wrapper.set_initializer(widths, np.array([0, 0, *pads[:axes], 0, 0, *pads[axes:]], np.int64))
    made = helper.make_node("Pad", [node.input[0], widths], [padded], name=f"{node.name}_Pad")
    wrapper.graph.node.insert(list(wrapper.graph.node).index(node), made)
    node.input[0] = padded


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _replace(node: onnx.NodeProto, names: Collection[str], pads: list[int]) -> None:
    """Replaces the attributes ``names``, and pads, by these pads."""
    kept = [each for each in node.attribute if each.name not in {*names, "pads"}]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("pads", pads)])
