"""Verifies that an exported file computes the same as torch: compares every integer of every activation quantizer."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from brevitas.proxy.parameter_quant import ParameterQuantProxyFromInjector
from onnxruntime import InferenceSession
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.change_batchsize import ChangeBatchSize
from qonnx.transformation.infer_shapes import InferShapes

from quant.errors import QuantError
from quant.lookup.tables import TableLayer
from quant.lookup.thermometer import Thermometer
from quant.qonnx.calls import outputs_of
from quant.qonnx.float64 import Float64Execution
from quant.qonnx.handlers import quantizers, tensor_quant

# Maximum number of elements of the largest tensor per execution; the memory used is a few times as much.
_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class Verification:
    """The result of comparing the exported file with torch over ``frames`` inputs.

    With sums in float64, where rounding has no effect, every integer of the ``quantizers`` activation quantizers,
    encoders and layers of tables was equal (otherwise the export fails), and ``max_abs_diff`` is the largest difference
    of an output's element. In float32, which QONNX prescribes, a value within float32's rounding error of a decision
    threshold may be quantized differently. ``float32_max_abs_diff`` (elements of all outputs) and
    ``float32_arg_max_differ`` (frames with another arg max along axis 1 of any output) measure the effect; both are 0
    for networks of tables alone, which ONNX Runtime executes by itself.
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
    batched = _with_batch(wrapper, size)
    double = Float64Execution(batched)
    torch64 = _Recorded(frozen)
    # Files without QONNX's operators are executed by ONNX Runtime alone.
    plain = all(node.domain in ("", "ai.onnx") for node in batched.graph.node)
    session = InferenceSession(batched.model.SerializeToString()) if plain else None
    names = [each.name for each in batched.graph.output]
    parts: list[tuple[list[np.ndarray], ...]] = []
    for start in range(0, len(frames), size):
        count = min(size, len(frames) - start)
        part = np.resize(frames[start : start + count], (size, *frames.shape[1:]))
        expected, codes = torch64(part.astype(np.float64))
        context = double.run(part)
        for path, calls in codes.items():
            _compare(name, path, calls, [double.nodes[each] for each in nodes[path]], context)
        with torch.no_grad():
            expected32 = [each.numpy() for each in outputs_of(frozen(torch.from_numpy(part)))]
        found32 = session.run(names, {"global_in": part}) if session else _execute32(batched, part, names)
        results = expected, [context[each] for each in names], expected32, found32
        parts.append(tuple([each[:count] for each in of] for of in results))
    if any(value.shape != node.shape for value, node in zip(expected, results[1], strict=True)):
        raise QuantError(f"export of {name}: its outputs do not have the batch as their first axis")
    exact, float32 = [], []
    for output in range(len(names)):
        expect, find, expect32, find32 = (np.concatenate([part[of][output] for part in parts]) for of in range(4))
        exact.append(float(np.abs(find - expect).max()))
        # The integers are equal, so a difference can only come from constants that the file stores in float32.
        if not exact[-1] <= 1e-5 * max(1.0, float(np.abs(expect).max())):
            raise QuantError(
                f"export of {name}: the outputs differ by up to {exact[-1]:.3g}, so the file was not written; "
                "please report this model"
            )
        float32.append((expect32, find32))
    if session and _is_exact(frozen) and not all(np.array_equal(found, right) for right, found in float32):
        raise QuantError(
            f"export of {name}: ONNX Runtime computes other outputs than torch, so the file was not written; please "
            "report this model"
        )
    differ = [
        (found.argmax(1) != right.argmax(1)).reshape(len(frames), -1).any(axis=1)
        for right, found in float32
        if right.ndim > 1
    ]
    return Verification(
        frames=len(frames),
        quantizers=sum(len(calls) for calls in codes.values()),
        max_abs_diff=max(exact),
        float32_max_abs_diff=max(float(np.abs(found - right).max()) for right, found in float32),
        float32_arg_max_differ=int(np.any(differ, axis=0).sum()) if differ else 0,
    )


def _with_batch(wrapper: ModelWrapper, size: int) -> ModelWrapper:
    """The file with frames (``size``, ...). qonnx's transformation changes the first output only, and constants too."""
    changed = wrapper.transform(ChangeBatchSize(size))
    data = {each.name for each in wrapper.graph.input}
    for node in wrapper.graph.node:
        if not data.isdisjoint(node.input):
            data.update(node.output)
        elif node.op_type == "Reshape":
            changed.set_initializer(node.input[1], wrapper.get_initializer(node.input[1]))
    for value in changed.graph.output:
        value.type.tensor_type.shape.dim[0].dim_value = size
    return changed.transform(InferShapes())


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

    def __call__(self, frames: np.ndarray) -> tuple[list[np.ndarray], dict[str, list[np.ndarray]]]:
        self.codes.clear()
        with torch.no_grad():
            outputs = [each.numpy() for each in outputs_of(self.model(torch.from_numpy(frames)))]
        return outputs, self.codes


def _is_exact(model: torch.nn.Module) -> bool:
    """Returns whether all sums of a model are counts of bits, which do not depend on their order."""
    trained = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
    return bool(trained) and all(isinstance(module, TableLayer | Thermometer) for module in trained)


def _execute32(batched: ModelWrapper, frames: np.ndarray, names: list[str]) -> list[np.ndarray]:
    found = execute_onnx(batched, {"global_in": frames})
    return [found[each] for each in names]


def _cast(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value
