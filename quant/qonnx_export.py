"""From a trained network to a QONNX file that computes the same integers."""

import copy
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
import torch
from brevitas.export.onnx.qonnx.handler import BrevitasBiasQuantProxyHandler, BrevitasWeightQuantProxyHandler
from brevitas.export.onnx.qonnx.manager import QONNXManager
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from brevitas.proxy import ActQuantProxyFromInjector
from onnx import TensorProto, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_node, execute_onnx
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.change_batchsize import ChangeBatchSize
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.general import (
    GiveReadableTensorNames,
    GiveUniqueParameterTensors,
    RemoveStaticGraphInputs,
    RemoveUnusedTensors,
)
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.quant_constant_folding import FoldTransposeIntoQuantInit
from qonnx.util.basic import get_preferred_qonnx_opset

from quant.errors import QuantError
from quant.models.network import Network

_QUANTIZERS = ("Quant", "BipolarQuant", "Trunc")


@dataclass(frozen=True)
class Verification:
    """How the exported file's execution compares with torch, over ``frames`` inputs.

    In float64, where rounding does not matter, every integer out of the ``quantizers`` activation quantizers was equal
    (else the export failed) and ``max_abs_diff`` is the largest difference of a logit. In float32, which QONNX
    prescribes, a value within float32's rounding of a decision point may fall to the other side;
    ``float32_max_abs_diff`` and ``float32_arg_max_differ`` (frames) tell what that did.
    """

    frames: int
    quantizers: int
    max_abs_diff: float
    float32_max_abs_diff: float
    float32_arg_max_differ: int


class _WeightHandler(BrevitasWeightQuantProxyHandler):
    """Exports the quantized weights themselves. Brevitas's own handler exports the latent ones with a rounding
    quantizer behind them, which gives other integers for every quantizer that does not round half to even."""

    def prepare_for_export(self, module):  # type: ignore[no-untyped-def]
        super().prepare_for_export(module)
        if module.is_quant_enabled:
            self.value = module.tracked_module_list[0].quant_weight().value

    def symbolic_execution(self, x: torch.Tensor):  # type: ignore[no-untyped-def]
        return super().symbolic_execution(self.value)


class _BiasHandler(BrevitasBiasQuantProxyHandler):
    """The same for biases that have their own scale (the others' scale is known only inside the network)."""

    def prepare_for_export(self, module):  # type: ignore[no-untyped-def]
        super().prepare_for_export(module)
        own_scale = module.is_quant_enabled and not module.requires_input_scale
        self.value = module.tracked_module_list[0].quant_bias().value if own_scale else None

    def symbolic_execution(self, x: torch.Tensor, *input_scale_and_bits):  # type: ignore[no-untyped-def]
        return super().symbolic_execution(x if self.value is None else self.value, *input_scale_and_bits)


class _Manager(QONNXManager):
    handlers = [_WeightHandler, _BiasHandler, *QONNXManager.handlers]  # noqa: RUF012 (Brevitas's own attribute)


def export(model: Network, path: str | os.PathLike[str], frames: np.ndarray | None = None) -> Verification:
    """Writes ``model`` as a cleaned QONNX file and checks it against torch; the model itself is left as it was.

    The file has one input ``global_in`` (1, *input_shape) float32, whole numbers in ``model.in_range``, and one output
    ``global_out`` (1, classes) float32 logits (qonnx's names). Weights are the quantized values that training
    used. Nodes are named after their modules: ``hidden_0_linear_MatMul``.

    ``frames`` (N, *input_shape) are executed in torch and with qonnx; default: 64 random ones. Raises QuantError if any
    quantizer's integer or any arg-max differs, in which case no file is written. A file of that name is
    replaced only by a whole, verified one.
    """
    for module in model.modules():
        if isinstance(module, QuantWeightBiasInputOutputLayer):
            module.scheme.check_export(model)
    target = Path(path)
    if not target.parent.is_dir():
        raise QuantError(f"cannot write {target}: there is no folder {target.parent}", status=2)
    if frames is None:
        low, high = model.in_range
        frames = np.random.default_rng(0).integers(low, high, (64, *model.input_shape), endpoint=True)
    frames = np.asarray(frames, dtype=np.float32)
    frozen = copy.deepcopy(model).cpu().eval()
    wrapper = _clean(_to_onnx(frozen))
    _set_rounding(frozen, wrapper)
    verification = _verify(frozen, wrapper, frames)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        wrapper.save(str(partial))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return verification


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps the exporters' progress lines, warnings and log records off the user's terminal."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def _to_onnx(frozen: Network) -> onnx.ModelProto:
    # A failed export leaves a Brevitas model in export mode, so it gets its own copy. TorchScript's exporter, as
    # it names nodes after modules and takes residual networks.
    with _silence(), tempfile.TemporaryDirectory() as folder:
        return _Manager.export(
            copy.deepcopy(frozen), torch.zeros(1, *frozen.input_shape), f"{folder}/model.onnx", dynamo=False
        )


def _clean(model: onnx.ModelProto) -> ModelWrapper:
    """What ``qonnx.util.cleanup`` does, but nodes keep their modules' names."""
    wrapper = ModelWrapper(model)
    for node in wrapper.graph.node:
        if node.op_type in _QUANTIZERS:
            node.domain = "qonnx.custom_op.general"
    for transformation in (
        InferShapes(),
        GiveUniqueParameterTensors(),
        FoldConstants(exclude_op_types=list(_QUANTIZERS)),
        FoldTransposeIntoQuantInit(),
        RemoveUnusedTensors(),
        RemoveStaticGraphInputs(),
    ):
        wrapper = wrapper.transform(transformation)
    for node in wrapper.graph.node:
        node.name = _node_name(node.name)
    return wrapper.transform(GiveReadableTensorNames())


def _set_rounding(frozen: Network, wrapper: ModelWrapper) -> None:
    """Writes the rounding modes that Brevitas cannot export (``qonnx_rounding`` of a rounding module) into the file."""
    nodes = {node.name: node for node in wrapper.graph.node}
    for name, proxy in frozen.named_modules():
        if isinstance(proxy, ActQuantProxyFromInjector):
            for module in proxy.modules():
                if hasattr(module, "qonnx_rounding"):
                    getCustomOp(nodes[_node_name(name) + "_Quant"]).set_nodeattr("rounding_mode", module.qonnx_rounding)


def _node_name(path: str) -> str:
    """``/hidden.0/act/act_quant/export_handler/BipolarQuant`` -> ``hidden_0_act_act_quant_BipolarQuant``."""
    return re.sub(r"[./]+", "_", path.replace("/export_handler", "").strip("/"))


def _verify(frozen: Network, wrapper: ModelWrapper, frames: np.ndarray) -> Verification:
    expected, codes = _run_torch(_in_float64(frozen), frames.astype(np.float64))
    expected32, _ = _run_torch(frozen, frames)
    batched = wrapper.transform(ChangeBatchSize(len(frames))).transform(InferShapes())
    found32 = execute_onnx(batched, {"global_in": frames})["global_out"]
    context = _execute_float64(batched, frames)
    found = context["global_out"]

    nodes = {_module_name(node.name): node for node in wrapper.graph.node if node.op_type in _QUANTIZERS}
    for module, code in codes.items():
        if module not in nodes:
            raise QuantError(f"export of {frozen.name}: the file has no quantizer for {module}, so it was not written")
        node = nodes[module]
        exported = np.rint(context[node.output[0]] / wrapper.get_initializer(node.input[1])).astype(np.int64)
        wrong = np.argwhere(exported != code)
        if len(wrong):
            at = tuple(wrong[0].tolist())
            raise QuantError(
                f"export of {frozen.name}: {len(wrong)} of {code.size} integers of {module} differ, the first at {at} "
                f"(torch {code[at]}, QONNX {exported[at]}), so the file was not written; please report this model"
            )
    difference = float(np.abs(found - expected).max())
    # The integers are equal, so what is left is the float32 rounding of exported scales (and ties that it breaks).
    if difference > 1e-5 * max(1.0, float(np.abs(expected).max())):
        raise QuantError(
            f"export of {frozen.name}: the logits differ by up to {difference:.3g}, so the file was not written; "
            "please report this model"
        )
    return Verification(
        frames=len(frames),
        quantizers=len(codes),
        max_abs_diff=difference,
        float32_max_abs_diff=float(np.abs(found32 - expected32).max()),
        float32_arg_max_differ=int((found32.argmax(1) != expected32.argmax(1)).sum()),
    )


def _module_name(node_name: str) -> str:
    return node_name.rpartition("_")[0]


def _in_float64(frozen: Network) -> Network:
    """A float64 copy that computes with the weights and biases that were quantized in float32, as in training."""
    double = copy.deepcopy(frozen)
    with torch.no_grad():
        for module in double.modules():
            if not isinstance(module, QuantWeightBiasInputOutputLayer):
                continue
            for parameter, proxy, quantized in (
                (module.weight, module.weight_quant, module.quant_weight),
                (module.bias, module.bias_quant, module.quant_bias),
            ):
                if parameter is not None and proxy.is_quant_enabled:
                    parameter.copy_(quantized().value)
                    proxy.disable_quant = True
    return double.double()


def _run_torch(model: Network, frames: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits, and the integers out of every activation quantizer by the quantizer's node-style module name."""
    codes: dict[str, np.ndarray] = {}

    def keep(name: str):  # type: ignore[no-untyped-def]
        def hook(_module, _inputs, output):  # type: ignore[no-untyped-def]
            values, scale = output[:2]
            codes[name] = torch.round(values / scale).numpy().astype(np.int64)

        return hook

    hooks = [
        module.fused_activation_quant_proxy.tensor_quant.register_forward_hook(keep(_node_name(name)))
        for name, module in model.named_modules()
        if isinstance(module, ActQuantProxyFromInjector) and module.is_quant_enabled
    ]
    try:
        with torch.no_grad():
            logits = model(torch.from_numpy(frames)).numpy()
    finally:
        for hook in hooks:
            hook.remove()
    return logits, codes


def _execute_float64(wrapper: ModelWrapper, frames: np.ndarray) -> dict[str, np.ndarray]:
    """All tensors of a qonnx execution in float64. (``execute_onnx`` rounds each quantizer's output to float32.)"""
    double = copy.deepcopy(wrapper)
    for tensor in double.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for value in (*double.graph.input, *double.graph.output, *double.graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    context = double.make_empty_exec_context()
    context["global_in"] = frames.astype(np.float64)
    versions = double.get_opset_imports()
    for node in double.graph.node:
        execute_node(node, context, double.graph, versions.get(node.domain, get_preferred_qonnx_opset()))
        for name in node.output:
            context[name] = context[name].astype(np.float64)
    return context
