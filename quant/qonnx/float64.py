"""Execution of a QONNX file with sums in float64, whose rounding changes no integer of a quantizer.

ONNX Runtime lacks many operators in float64. Here ONNX's own reference implementation computes them in NumPy, and
torch's functions those with windows. Quantizers compute in float32, as in training.
"""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_node
from qonnx.util.basic import get_preferred_qonnx_opset
from torch.nn import functional

QUANTIZERS = ("Quant", "BipolarQuant", "MultiThreshold", "Trunc")
"""Operators of a QONNX file whose outputs are integers (times a scale)."""


class Float64Execution:
    """A copy of a file that computes in float64, except in its quantizers."""

    def __init__(self, wrapper: ModelWrapper) -> None:
        self.model = _with_float64_sums(wrapper)
        self.versions = self.model.get_opset_imports()
        self.nodes = {node.name: node for node in self.model.graph.node}
        graph = self.model.graph
        self.codes = {node.output[0] for node in graph.node if node.op_type == "MultiThreshold"}
        self.standard = {
            node.name: _evaluator(node, self.versions[node.domain])
            for node in graph.node
            if node.domain in ("", "ai.onnx") and node.op_type not in _BY_TORCH
        }

    def run(self, frames: np.ndarray) -> dict[str, np.ndarray]:
        """Executes the file and returns all its tensors.

        Quantizers compute in float32, including the scale that follows a ``MultiThreshold``.
        """
        context: dict[str, np.ndarray] = self.model.make_empty_exec_context()
        context["global_in"] = frames.astype(np.float64)
        for node in self.model.graph.node:
            if node.op_type in _BY_TORCH:
                attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
                given = [np.require(context[each], requirements=("C", "W")) if each else None for each in node.input]
                operands = [None if each is None else torch.from_numpy(each) for each in given]
                context[node.output[0]] = _BY_TORCH[node.op_type](*operands, **attributes).numpy()
            elif node.op_type == "Mul" and node.input[0] in self.codes:
                values, scale = (context[each].astype(np.float32) for each in node.input)
                context[node.output[0]] = (values * scale).astype(np.float64)
            elif node.name in self.standard:
                used = {each: context[each] for each in node.input if each}
                found = self.standard[node.name].run(None, used)
                assert isinstance(found, list)
                context.update(zip(filter(None, node.output), found, strict=True))
            else:
                used = {each: context[each].astype(np.float32) for each in (*node.input, *node.output) if each}
                version = self.versions.get(node.domain, get_preferred_qonnx_opset())
                execute_node(node, used, self.model.graph, version)
                context.update({each: used[each].astype(np.float64) for each in node.output})
        return context


def _evaluator(node: onnx.NodeProto, opset: int) -> ReferenceEvaluator:
    inputs, outputs = (
        [helper.make_empty_tensor_value_info(each) for each in dict.fromkeys(filter(None, names))]
        for names in (node.input, node.output)
    )
    graph = helper.make_graph([node], node.name, inputs, outputs)
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))


def _with_float64_sums(wrapper: ModelWrapper) -> ModelWrapper:
    """Returns a copy whose floating-point tensors are float64."""
    double = copy.deepcopy(wrapper)
    for tensor in double.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for node in double.graph.node:
        for each in node.attribute:
            if node.op_type == "Cast" and each.i == TensorProto.FLOAT:
                each.i = TensorProto.DOUBLE
    for value in (*double.graph.input, *double.graph.output, *double.graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return double


def _conv(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *, group: int = 1, **attributes: Any
) -> torch.Tensor:
    axes = x.dim() - 2
    function: Any = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[axes]
    padded = functional.pad(x, _pads(attributes, axes))
    strides, dilations = (attributes.get(each, [1] * axes) for each in ("strides", "dilations"))
    return function(padded, weight, bias, stride=strides, dilation=dilations, groups=group)


def _conv_transpose(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    group: int = 1,
    output_padding: list[int] | None = None,
    **attributes: Any,
) -> torch.Tensor:
    axes = x.dim() - 2
    function: Any = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
    strides, dilations = (attributes.get(each, [1] * axes) for each in ("strides", "dilations"))
    pads, more = attributes.get("pads", [0] * 2 * axes), output_padding or [0] * axes
    # torch exports equal pads before and after.
    return function[axes](
        x, weight, bias, stride=strides, padding=pads[:axes], output_padding=more, groups=group, dilation=dilations
    )


def _max_pool(x: torch.Tensor, **attributes: Any) -> torch.Tensor:
    axes = x.dim() - 2
    function: Any = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}[axes]
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1] * axes)
    pads, ceil = _pads(attributes, axes), bool(attributes.get("ceil_mode", 0))
    dilations = attributes.get("dilations", [1] * axes)
    return function(functional.pad(x, pads, value=-math.inf), kernel, strides, dilation=dilations, ceil_mode=ceil)


def _average_pool(x: torch.Tensor, *, count_include_pad: int = 0, **attributes: Any) -> torch.Tensor:
    axes = x.dim() - 2
    function: Any = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}[axes]
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1] * axes)
    pads, ceil = _pads(attributes, axes), bool(attributes.get("ceil_mode", 0))
    counted = torch.ones_like(x[:1, :1])
    counted = functional.pad(counted, pads, value=float(count_include_pad))
    sums, counts = (function(each, kernel, strides, ceil_mode=ceil) for each in (functional.pad(x, pads), counted))
    return sums / counts


def _resize(
    x: torch.Tensor,
    _roi: torch.Tensor | None,
    scales: torch.Tensor | None,
    sizes: torch.Tensor | None = None,
    **_attributes: Any,
) -> torch.Tensor:
    """The nearest neighbour, as ``torch.nn.functional.interpolate`` chooses it."""
    size = [int(each) for each in sizes] if sizes is not None else []
    if not size and scales is not None:
        size = [math.floor(length * float(scale)) for length, scale in zip(x.shape, scales, strict=True)]
    return functional.interpolate(x, size=size[2:], mode="nearest")


def _pads(attributes: Mapping[str, Any], axes: int) -> list[int]:
    """Converts ONNX's pads (all begins, then all ends) to the order of torch's ``pad`` (last axis first)."""
    pads = attributes.get("pads", [0] * 2 * axes)
    return [pads[axis + side] for axis in reversed(range(axes)) for side in (0, axes)]


_BY_TORCH: dict[str, Callable[..., torch.Tensor]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda x: x.mean(dim=tuple(range(2, x.dim())), keepdim=True),
    "Resize": _resize,
}
"""Operators with windows, in torch's arguments; ``Resize`` as torch exports it."""
