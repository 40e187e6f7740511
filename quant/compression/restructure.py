"""Networks whose layers are not those that ``create_model`` makes: how they were changed, and how that is repeated.

``Network.changes`` lists the changes as plain values. ``restructure`` applies them to a new network, whose weights are
then loaded.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from quant.compression.factored import replace_layers
from quant.compression.forms import CompressedWeight, Shared, Tied
from quant.compression.weights import Layer, compression_of, find_layers, is_quantized, latent_of, layer_kind
from quant.errors import QuantError
from quant.layers import ByChannel
from quant.models import create_model
from quant.models.network import Network


def select(name: str, layer: Layer, outputs: torch.Tensor, inputs: torch.Tensor) -> None:
    """Reduces a layer, in place, to some of its outputs and inputs (places of channels, in order).

    A depthwise convolution has the same outputs and inputs. The weights, masks and shared values that remain are those
    of the layer, and so are the scales of its quantizer.

    Raises QuantError (status 2) for a layer with codewords or tied weights, or with a quantizer whose parameters are
    not those of outputs.
    """
    form = compression_of(layer)
    if isinstance(form, Tied) and not isinstance(form, Shared):
        raise QuantError(
            f"layer {name} has tied weights, whose structure is that of its channels: slim before, then tie", status=2
        )
    shape = layer.weight.shape
    depthwise = getattr(layer, "groups", 1) > 1
    inner = torch.arange(shape[1]) if depthwise else inputs

    def chosen(what: str, x: torch.Tensor) -> torch.Tensor:
        if x.shape == shape:
            return x[outputs][:, inner]
        if x.dim() and len(x) == shape[0] and x.numel() == shape[0]:
            return x[outputs]
        if x.numel() == 1:
            return x
        raise QuantError(
            f"layer {name} cannot have fewer channels: its {what} has the shape {tuple(x.shape)}; slim before", status=2
        )

    kept = {id(form.values)} if isinstance(form, Shared) else set()
    with torch.no_grad():
        latent_of(layer).data = chosen("weight", latent_of(layer)).clone()
        if layer.bias is not None:
            layer.bias.data = layer.bias[outputs].clone()
        if is_quantized(layer):
            _each_tensor(layer.weight_quant.tensor_quant, chosen, kept)
        elif parametrize.is_parametrized(layer, "weight"):
            for part in layer.parametrizations.weight:
                assert isinstance(part, CompressedWeight | torch.nn.Module)
                _each_tensor(part, chosen, kept)
    if layer_kind(layer) == "linear":
        layer.in_features, layer.out_features = len(inputs), len(outputs)
    else:
        layer.in_channels, layer.out_channels = len(inputs), len(outputs)
        if depthwise:
            layer.groups = len(outputs)


def _each_tensor(module: torch.nn.Module, change: Callable[[str, torch.Tensor], torch.Tensor], kept: set[int]) -> None:
    """Replaces all parameters and buffers of a module by ``change(name, tensor)``, shared ones once, those with the
    identities ``kept`` not."""
    seen = set(kept)
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                parameter.data = change(f"quantizer's {name}", parameter).clone()
        for name, buffer in part.named_buffers(recurse=False):
            part._buffers[name] = change(f"quantizer's {name}", buffer).clone()


def select_norm(norm: Any, places: torch.Tensor) -> None:
    """Reduces a BatchNorm, in place, to some of its channels."""
    with torch.no_grad():
        for name in ("weight", "bias"):
            if getattr(norm, name) is not None:
                getattr(norm, name).data = getattr(norm, name)[places].clone()
        for name in ("running_mean", "running_var"):
            if getattr(norm, name) is not None:
                norm._buffers[name] = getattr(norm, name)[places].clone()
    norm.num_features = len(places)


def select_numbers(function: ByChannel, places: torch.Tensor) -> None:
    """Reduces the learned numbers of a function, in place, to those of some channels of its input."""
    for each in function.numbers():
        each.data = each.data[places].clone()


def slim_change(model: torch.nn.Module, layers: Mapping[str, Layer]) -> dict[str, Any]:
    """Describes the sizes of ``layers`` of a network, and of all its modules with numbers for each channel, for
    ``restructure``."""
    return {
        "kind": "slim",
        "layers": {name: [len(layer.weight), _inputs(layer)] for name, layer in layers.items()},
        "norms": {name: norm.num_features for name, norm in norms_of(model).items()},
        "by_channel": {name: len(function.numbers()[0]) for name, function in functions_of(model).items()},
    }


def _inputs(layer: Layer) -> int:
    return layer.in_features if layer_kind(layer) == "linear" else layer.in_channels


def norms_of(model: torch.nn.Module) -> dict[str, Any]:
    """Returns the BatchNorms by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}


def functions_of(model: torch.nn.Module) -> dict[str, ByChannel]:
    """Returns the functions with learned numbers for each channel by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, ByChannel)}


def _slim(model: torch.nn.Module, change: Mapping[str, Any]) -> None:
    layers, norms, functions = find_layers(model), norms_of(model), functions_of(model)
    for name, (outputs, inputs) in change["layers"].items():
        select(name, layers[name], torch.arange(outputs), torch.arange(inputs))
    for name, channels in change["norms"].items():
        select_norm(norms[name], torch.arange(channels))
    for name, channels in change.get("by_channel", {}).items():
        select_numbers(functions[name], torch.arange(channels))


def _low_rank(model: torch.nn.Module, change: Mapping[str, Any]) -> None:
    replace_layers(model, change["layers"])


_KINDS = {"slim": _slim, "low_rank": _low_rank}


def restructure(model: Network, changes: Sequence[Mapping[str, Any]]) -> None:
    """Applies ``changes`` to a new network, in place, and notes them in it. Its weights are then without meaning."""
    for change in changes:
        _KINDS[change["kind"]](model, change)
    model.changes = (*model.changes, *changes)


def renewed(model: Network) -> Network:
    """Returns a network with the layers of ``model`` and new weights, from torch's random numbers.

    Masks and shared weights are not taken over, but for the zeros of grouped factors (``low_rank``). Liu, Sun, Zhou,
    Huang, Darrell, "Rethinking the value of network pruning", ICLR 2019: trained from such weights, a network of the
    sizes that pruning found is as good as one that was pruned.
    """
    made = create_model(model.source or model.name, model.scheme, **model.options)
    restructure(made, model.changes)
    for layer in find_layers(made).values():
        layer.reset_parameters()
        if hasattr(layer, "scheme"):  # layers of Brevitas itself have none
            layer.scheme.initialize(latent_of(layer).data)
        if is_quantized(layer):
            layer.weight_quant.init_tensor_quant()  # some take their first scales from the weights
    return made
