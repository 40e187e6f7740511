"""Verifies that an exported file computes the same as torch: compares every integer of every activation quantizer."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from brevitas.proxy.parameter_quant import ParameterQuantProxyFromInjector
from brevitas.quant_tensor import QuantTensor
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_node, execute_onnx
from qonnx.transformation.change_batchsize import ChangeBatchSize
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.basic import get_preferred_qonnx_opset
from torch.nn import functional

from quant.errors import QuantError
from quant.lookup.tables import TableLayer
from quant.lookup.thermometer import Thermometer
from quant.qonnx.handlers import quantizers, tensor_quant

QUANTIZERS = ("Quant", "BipolarQuant", "MultiThreshold", "Trunc")
"""Operators of a QONNX file whose outputs are integers (times a scale)."""

# Maximum number of elements of the largest tensor per execution; the memory used is a few times as much.
_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class Verification:
    """The result of comparing the exported file with torch over ``frames`` inputs.

    With sums in float64, where rounding has no effect, every integer of the ``quantizers`` activation quantizers,
    encoders and layers of tables was equal (otherwise the export fails), and ``max_abs_diff`` is the largest difference
    of a logit. In float32, which QONNX prescribes, a value within float32's rounding error of a decision threshold may
    be quantized differently. ``float32_max_abs_diff`` (logits) and ``float32_arg_max_differ`` (frames) measure the
    effect; both are 0 for networks of tables alone, which ONNX Runtime executes by itself.
    """

    frames: int
    quantizers: int
    max_abs_diff: float
    float32_max_abs_diff: float
    float32_arg_max_differ: int


def verify(
    name: str, frozen: torch.nn.Module, wrapper: ModelWrapper, nodes: Mapping[str, list[str]], frames: np.ndarray
) -> Verification:
    """Compares the file with ``frozen``, a model in eval mode. Raises QuantError for integers that differ.

    ``nodes`` contains the names of each quantizer's nodes by its path, in the order in which torch calls them.
    ``frames`` are (N, ...) float32. Sums are computed in float64 on both sides; each quantizer computes in float32, as
    in training.
    """
    size = min(len(frames), max(1, _ELEMENTS // _largest_tensor(wrapper)))
    batched = wrapper.transform(ChangeBatchSize(size)).transform(InferShapes())
    double = _with_float64_sums(batched)
    by_name = {node.name: node for node in double.graph.node}
    torch64 = _Recorded(frozen)
    # Files without QONNX's operators are executed by ONNX Runtime alone.
    plain = all(node.domain in ("", "ai.onnx") for node in batched.graph.node)
    session = InferenceSession(batched.model.SerializeToString()) if plain else None
    outputs = []
    for start in range(0, len(frames), size):
        count = min(size, len(frames) - start)
        part = np.resize(frames[start : start + count], (size, *frames.shape[1:]))
        expected, codes = torch64(part.astype(np.float64))
        context = _execute(double, part)
        for path, calls in codes.items():
            _compare(name, path, calls, [by_name[each] for each in nodes[path]], context)
        with torch.no_grad():
            expected32 = value_of(frozen(torch.from_numpy(part))).numpy()
        found32 = session.run(None, {"global_in": part})[0] if session else _execute32(batched, part)
        outputs.append([each[:count] for each in (expected, context["global_out"], expected32, found32)])
    expected, found, expected32, found32 = (np.concatenate(each) for each in zip(*outputs, strict=True))
    difference = float(np.abs(found - expected).max())
    # The integers are equal, so a difference can only come from constants that the file stores in float32.
    if difference > 1e-5 * max(1.0, float(np.abs(expected).max())):
        raise QuantError(
            f"export of {name}: the outputs differ by up to {difference:.3g}, so the file was not written; "
            "please report this model"
        )
    if session and _is_exact(frozen) and not np.array_equal(found32, expected32):
        raise QuantError(
            f"export of {name}: ONNX Runtime computes other outputs than torch, so the file was not written; please "
            "report this model"
        )
    differ = (found32.argmax(1) != expected32.argmax(1)).reshape(len(frames), -1).any(axis=1)
    return Verification(
        frames=len(frames),
        quantizers=sum(len(calls) for calls in codes.values()),
        max_abs_diff=difference,
        float32_max_abs_diff=float(np.abs(found32 - expected32).max()),
        float32_arg_max_differ=int(differ.sum()),
    )


def value_of(output: Any) -> torch.Tensor:
    """Returns a model's output as a tensor, also if it is one of Brevitas's quantized tensors."""
    return output.value if isinstance(output, QuantTensor) else output


def _largest_tensor(wrapper: ModelWrapper) -> int:
    """Returns the number of elements of the largest activation tensor of one frame.

    Tensors whose first dimension is not the batch of 1 are weights.
    """
    values = (*wrapper.graph.input, *wrapper.graph.value_info, *wrapper.graph.output)
    shapes = ([dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values)
    return max(math.prod(shape) for shape in shapes if shape[:1] == [1])


def _compare(
    name: str, path: str, calls: list[np.ndarray], nodes: list[onnx.NodeProto], context: Mapping[str, np.ndarray]
) -> None:
    if len(calls) != len(nodes):
        raise QuantError(
            f"export of {name}: torch calls {path} {len(calls)} times, and the file has {len(nodes)} nodes for it, so "
            "it was not written; please report this model"
        )
    for code, node in zip(calls, nodes, strict=True):
        scale: Any = 1.0
        if node.op_type in ("Quant", "BipolarQuant", "Trunc"):  # others output codes
            scale = context[node.input[4 if node.op_type == "Trunc" else 1]]
        exported = np.rint(context[node.output[0]] / scale).astype(np.int64)
        wrong = np.argwhere(exported != code)
        if len(wrong):
            at = tuple(wrong[0].tolist())
            raise QuantError(
                f"export of {name}: {len(wrong)} of {code.size} integers of {path} differ, the first at {at} "
                f"(torch {code[at]}, QONNX {exported[at]}), so the file was not written; please report this model"
            )


class _Recorded:
    """A copy of a model that computes in float64, except in its quantizers, and records their integers."""

    def __init__(self, frozen: torch.nn.Module) -> None:
        self.model = copy.deepcopy(frozen).double()
        self.codes: dict[str, list[np.ndarray]] = {}
        for path, proxy in quantizers(self.model).items():
            module = tensor_quant(proxy).float()
            module.register_forward_pre_hook(lambda _, inputs: tuple(_cast(each, torch.float32) for each in inputs))
            module.register_forward_hook(lambda _m, _i, outputs: tuple(_cast(each, torch.float64) for each in outputs))
            if not isinstance(proxy, ParameterQuantProxyFromInjector):
                module.register_forward_hook(self._keep(path))

        for path, module in self.model.named_modules():
            if isinstance(module, TableLayer | Thermometer):
                module.register_forward_hook(self._keep_bits(path))

    def _keep_bits(self, path: str) -> Any:
        def hook(module: Any, _inputs: Any, output: torch.Tensor) -> None:
            self.codes.setdefault(path, []).append(module.in_file(output).numpy().astype(np.int64))

        return hook

    def _keep(self, path: str) -> Any:
        def hook(_module: Any, _inputs: Any, outputs: Any) -> None:
            values, scale = outputs[:2]
            self.codes.setdefault(path, []).append(torch.round(values / scale).numpy().astype(np.int64))

        return hook

    def __call__(self, frames: np.ndarray) -> tuple[np.ndarray, dict[str, list[np.ndarray]]]:
        self.codes.clear()
        with torch.no_grad():
            output = value_of(self.model(torch.from_numpy(frames))).numpy()
        return output, self.codes


def _is_exact(model: torch.nn.Module) -> bool:
    """Returns whether all sums of a model are counts of bits, which do not depend on their order."""
    trained = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
    return bool(trained) and all(isinstance(module, TableLayer | Thermometer) for module in trained)


def _execute32(batched: ModelWrapper, frames: np.ndarray) -> np.ndarray:
    found: np.ndarray = execute_onnx(batched, {"global_in": frames})["global_out"]
    return found


def _cast(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


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


def _execute(double: ModelWrapper, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Executes the file in float64 and returns all its tensors.

    Quantizers compute in float32, including the scale that follows a ``MultiThreshold``.
    """
    context = double.make_empty_exec_context()
    context["global_in"] = frames.astype(np.float64)
    versions = double.get_opset_imports()
    codes = {node.output[0] for node in double.graph.node if node.op_type == "MultiThreshold"}
    for node in double.graph.node:
        if node.op_type in _BY_TORCH:
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            operands = [torch.from_numpy(context[each]) for each in node.input]
            context[node.output[0]] = _BY_TORCH[node.op_type](*operands, **attributes).numpy()
            continue
        if node.op_type == "Mul" and node.input[0] in codes:
            values, scale = (context[each].astype(np.float32) for each in node.input)
            context[node.output[0]] = (values * scale).astype(np.float64)
            continue
        used = context
        if node.op_type in QUANTIZERS:
            used = {each: context[each].astype(np.float32) for each in (*node.input, *node.output) if each}
        execute_node(node, used, double.graph, versions.get(node.domain, get_preferred_qonnx_opset()))
        for each in node.output:
            # Bits and addresses of tables are bool and int64.
            context[each] = used[each].astype(np.float64) if used[each].dtype.kind == "f" else used[each]
    return context


# ONNX Runtime has these operators in float32 only. Here torch's functions compute them in float64.


def _conv(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *, group: int = 1, **attributes: Any
) -> torch.Tensor:
    axes = x.dim() - 2
    function: Any = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[axes]
    padded = functional.pad(x, _pads(attributes, axes))
    strides, dilations = (attributes.get(each, [1] * axes) for each in ("strides", "dilations"))
    return function(padded, weight, bias, stride=strides, dilation=dilations, groups=group)


def _average_pool(x: torch.Tensor, *, count_include_pad: int = 0, **attributes: Any) -> torch.Tensor:
    axes = x.dim() - 2
    function: Any = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}[axes]
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1] * axes)
    pads, ceil = _pads(attributes, axes), bool(attributes.get("ceil_mode", 0))
    counted = torch.ones_like(x[:1, :1])
    counted = functional.pad(counted, pads, value=float(count_include_pad))
    sums, counts = (function(each, kernel, strides, ceil_mode=ceil) for each in (functional.pad(x, pads), counted))
    return sums / counts


def _pads(attributes: Mapping[str, Any], axes: int) -> list[int]:
    """Converts ONNX's pads (all begins, then all ends) to the order of torch's ``pad`` (last axis first)."""
    pads = attributes.get("pads", [0] * 2 * axes)
    return [pads[axis + side] for axis in reversed(range(axes)) for side in (0, axes)]


_BY_TORCH: dict[str, Callable[..., torch.Tensor]] = {
    "Conv": _conv,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda x: x.mean(dim=tuple(range(2, x.dim())), keepdim=True),
}
