"""A float network as a graph of modules and functions, prepared for quantization by Brevitas's graph transformations.

Afterwards every module is called once, BatchNorm is part of the layer before it where there is one, and what does
nothing at inference (Dropout) is gone.
"""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from brevitas.fx import GraphModule, brevitas_symbolic_trace, map_arg  # its transformations accept no others
from brevitas.graph.base import MethodToModule
from brevitas.graph.equalize import EqualizeGraph
from brevitas.graph.fixed_point import MergeBatchNorm
from brevitas.graph.standardize import TorchFunctionalToModule
from brevitas.nn import QuantReLU
from brevitas.nn.quant_layer import QuantNonLinearActLayer, QuantWeightBiasInputOutputLayer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from quant.errors import QuantError
from quant.post_training.operators import DROPOUTS, LAYERS

__all__ = ["GraphModule", "float_graph", "map_arg", "plain_modules", "sizes_of"]

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
EQUALIZATION_STEPS = 20
"""Iterations of the equalization of weights. It converges in fewer."""


def float_graph(model: nn.Module, frames: torch.Tensor, equalize: bool) -> GraphModule:
    """Returns a float network as a prepared graph, in eval mode, on the CPU. ``model`` is not changed.

    ``frames`` (N, ...) are executed before and after. ``equalize`` scales the channels of neighbouring layers so that
    their weights have equal ranges (Nagel et al., "Data-free quantization through weight equalization and bias
    correction", ICCV 2019).

    Raises QuantError for a network that cannot be traced or executed, is quantized, or has no layer.
    """
    name = type(model).__name__
    plain = plain_modules(model)
    expected = _run(plain, frames, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = brevitas_symbolic_trace(plain)
    except Exception as error:  # the network's code can raise any type
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()
        raise QuantError(
            f"{name} cannot be traced: {reason}; its forward must not depend on the values of tensors: move such code "
            "out of the network"
        ) from error
    graph.eval()
    if len([node for node in graph.graph.nodes if node.op == "placeholder"]) != 1:
        raise QuantError(f"{name} has several inputs: wrap it in a module with one")
    _drop_dropout(graph)
    _call_once(graph)
    _check_groups(graph)
    _prepare_norms(graph)
    graph = _functions_to_modules(graph)
    graph = MergeBatchNorm().apply(graph)
    if not any(isinstance(module, LAYERS) for module in graph.modules()):
        raise QuantError(f"{name} has no Linear or Conv layer to quantize", status=2)
    if _difference(graph, frames, expected) >= _TOLERANCE:
        raise QuantError(
            f"{name} computes something else in eval mode than its trace: it has to give the same outputs for the same "
            "frames, whatever their number"
        )
    if equalize:
        graph = EqualizeGraph(iterations=EQUALIZATION_STEPS).apply(graph)
        if _difference(graph, frames, expected) >= _TOLERANCE:
            raise QuantError(f"equalization changes what {name} computes: give equalize=False", status=2)
    return graph


def plain_modules(model: nn.Module) -> nn.Module:
    """Returns a copy on the CPU, in eval mode, in which torch's layers replace Brevitas's that quantize nothing.

    Those are the layers of scheme ``float``. Raises QuantError (status 2) for a quantized network.
    """
    name = type(model).__name__
    model = copy.deepcopy(model).cpu().float().eval()
    if isinstance(model, LAYERS):
        model = nn.Sequential(model)
    for path, module in list(model.named_modules()):
        made: nn.Module
        if isinstance(module, QuantWeightBiasInputOutputLayer):
            if module.weight_quant.is_quant_enabled:
                raise QuantError(f"{name} is quantized already ({path}): give quantize a float network", status=2)
            made = _torch_layer(module)
        elif isinstance(module, QuantNonLinearActLayer):
            if module.act_quant.is_quant_enabled:
                raise QuantError(f"{name} is quantized already ({path}): give quantize a float network", status=2)
            made = nn.ReLU() if isinstance(module, QuantReLU) else nn.Identity()
        else:
            continue
        model.set_submodule(path, made)
    return model


def sizes_of(layer: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns the arguments that make a Linear or Conv layer of the same sizes, but for its bias."""
    if isinstance(layer, nn.Linear):
        return (layer.in_features, layer.out_features), {}
    names = ["stride", "padding", "dilation", "groups", "padding_mode"]
    if isinstance(layer, _TRANSPOSED):
        names.append("output_padding")
    return (layer.in_channels, layer.out_channels, layer.kernel_size), {each: getattr(layer, each) for each in names}


@torch.no_grad()
def _torch_layer(layer: Any) -> nn.Module:
    kind: Any = next(kind for kind in LAYERS if isinstance(layer, kind))
    sizes, settings = sizes_of(layer)
    made = kind(*sizes, bias=layer.bias is not None, **settings)
    made.weight.copy_(layer.weight)
    if layer.bias is not None:
        made.bias.copy_(layer.bias)
    plain: nn.Module = made.eval()
    return plain


@torch.no_grad()
def _run(model: Callable[[torch.Tensor], Any], frames: torch.Tensor, name: str) -> torch.Tensor:
    try:
        output = model(frames)
    except Exception as error:  # the network's code can raise any type
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()
        raise QuantError(
            f"{name} does not take the calibration frames of shape {tuple(frames.shape)}: {reason}", status=2
        ) from error
    if not isinstance(output, torch.Tensor):
        raise QuantError(f"{name} returns {type(output).__name__}: wrap it in a module that returns one tensor")
    if not torch.isfinite(output).all():
        raise QuantError(f"the outputs of {name} are not all finite: train it, or check its weights")
    return output


def _drop_dropout(graph: GraphModule) -> None:
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and isinstance(modules[node.target], DROPOUTS):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()


def _call_once(graph: GraphModule) -> None:
    """Gives further calls of a module a copy of it, as hardware does; Brevitas's methods change a module for one."""
    modules, seen = dict(graph.named_modules()), dict[str, int]()
    for node in graph.graph.nodes:
        if node.op != "call_module":
            continue
        number = seen.get(node.target, 0)
        seen[node.target] = number + 1
        if number:
            path = f"{node.target}_{number}"
            graph.add_submodule(path, copy.deepcopy(modules[node.target]))
            node.target = path
    graph.recompile()


def _check_groups(graph: GraphModule) -> None:
    """Raises QuantError for a transposed convolution in groups, to whose weights Brevitas's methods give wrong axes."""
    for path, module in graph.named_modules():
        if isinstance(module, _TRANSPOSED) and module.groups > 1:
            raise QuantError(
                f"{path} ({type(module).__name__}) has {module.groups} groups, with which it cannot be quantized: use "
                "groups=1, or nearest upsampling and a convolution in groups"
            )


def _prepare_norms(graph: GraphModule) -> None:
    for path, module in graph.named_modules():
        if isinstance(module, _BatchNorm):
            if module.running_mean is None:
                raise QuantError(
                    f"{path} normalizes with the statistics of each batch: train it with track_running_stats=True"
                )
            if module.weight is None:  # Brevitas merges BatchNorm with weights only
                module.affine = True
                module.weight = nn.Parameter(torch.ones_like(module.running_mean))
                module.bias = nn.Parameter(torch.zeros_like(module.running_mean))


def _functions_to_modules(graph: GraphModule) -> GraphModule:
    """Replaces calls of functions by modules of torch, the only ones that Brevitas's transformations look at."""
    functions = (*TorchFunctionalToModule.FN_TO_MODULE_MAP, (torch.relu, nn.ReLU), (torch.relu_, nn.ReLU))
    graph = TorchFunctionalToModule(functions).apply(graph)
    for method in ("relu", "relu_"):
        graph = MethodToModule(method, nn.ReLU).apply(graph)
    return graph


_TOLERANCE = 1e-3
"""Largest change of an output that float32 rounding makes, over the largest output."""


@torch.no_grad()
def _difference(graph: GraphModule, frames: torch.Tensor, expected: torch.Tensor) -> float:
    largest = float(expected.abs().max()) or 1.0
    return float((graph(frames) - expected).abs().max()) / largest
