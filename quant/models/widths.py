"""Widths of weights and activations that differ from layer to layer (mixed precision)."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Literal

import torch

from quant import layers, schemes
from quant.errors import QuantError
from quant.layers.weighted import Conv1d, Conv2d, Linear
from quant.models.network import Network
from quant.quantizers.formed import Formed
from quant.quantizers.tensor_quant import UniformAct
from quant.schemes.scheme import Scheme

RANGES = (1.0, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2)
"""Parts of an activation's range that are tried at another width."""

Width = int | Literal["ternary"]
"""Bits of a weight, or "ternary" for -1, 0 and +1."""


def weighted_layers(model: torch.nn.Module) -> dict[str, Any]:
    """Returns the linear layers and convolutions with a scheme by name, in the network's order."""
    return {name: each for name, each in model.named_modules() if isinstance(each, Linear | Conv1d | Conv2d)}


def hidden_activations(model: Network) -> dict[str, Any]:
    """Returns the activations whose width may be chosen by name, in the network's order.

    They are those that ``layers.activation`` made; the quantizers of the input and of residual sums are none of them.
    """
    apart = [f"{name}." for name, each in model.named_modules() if isinstance(each, layers.Add | layers.InputQuant)]
    return {
        name: each
        for name, each in model.named_modules()
        if (isinstance(each, layers.ReluActivation) or _is_sign(each)) and not any(name.startswith(a) for a in apart)
    }


def _is_sign(module: torch.nn.Module) -> bool:
    """Whether this is a hidden activation of 1 bit."""
    return type(module) is layers.Activation and int(module.act_quant.bit_width() or 0) == 1


def present_width(layer: Any) -> Width:
    """The width of a layer's weights."""
    if getattr(layer.scheme, "weight_bits", None) == "ternary":
        return "ternary"
    return int(layer.quant_weight().bit_width)


def weight_scheme(scheme: Scheme, width: Width, unit: float = 1.0) -> Scheme:
    """The scheme of a layer with weights of ``width`` in a network of ``scheme``: the same with this width, or
    ``binaryconnect`` for 1 bit, with weights of +-``unit``. Raises QuantError (status 2) for widths that there are
    not."""
    _check_variable(scheme)
    if width == 1:
        return schemes.get("binaryconnect", act_bits=max(2, _act_bits(scheme)), scale=unit)
    return _with(scheme, weight_bits=width)


def activation_scheme(scheme: Scheme, width: int) -> Scheme:
    """The scheme of an activation of ``width`` bits: the same with this width, or ``binarynet`` (signs) for 1 bit."""
    _check_variable(scheme)
    return schemes.get("binarynet") if width == 1 else _with(scheme, act_bits=width)


def apply_widths(
    model: Network, weight_widths: Sequence[Width] | None = None, activation_widths: Sequence[int] | None = None
) -> None:
    """Replaces, in place, the layers and activations of a new network by those of other widths.

    ``weight_widths`` are those of ``weighted_layers``, ``activation_widths`` those of ``hidden_activations``; None
    leaves them as they are. The initial weights of a layer depend on torch's seed, on the layer's place and on its
    own width, not on the widths of other layers.

    Raises QuantError (status 2) for another number of widths, for widths that the scheme does not have, and for a
    scheme of one width.
    """
    if weight_widths is not None:
        known = weighted_layers(model)
        _check_count("weight_widths", weight_widths, known)
        seeds = torch.randint(2**31, (len(known),)).tolist()
        for (name, layer), width, seed in zip(known.items(), weight_widths, seeds, strict=True):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                made = _like(layer, weight_scheme(model.scheme, width))
            model.set_submodule(name, made)
            if name == "output" and not isinstance(model.scale, torch.nn.Sequential):
                unit = made.scheme.unit_weights
                model.scale = layers.LogitScale(made.weight[0].numel()) if unit else torch.nn.Identity()
    if activation_widths is not None:
        places = hidden_activations(model)
        _check_count("activation_widths", activation_widths, places)
        for name, bits in zip(places, activation_widths, strict=True):
            model.set_submodule(name, layers.activation(activation_scheme(model.scheme, bits)))


@torch.no_grad()
def with_width(layer: Any, scheme: Scheme, width: Width) -> Any:
    """Returns a new layer with the trained weights of ``layer``, rounded to another width of a network's ``scheme``.

    Weights of 1 bit are +- their mean magnitude, as in XNOR-Net. Raises QuantError (status 2) as ``weight_scheme``, and
    for a layer with pruned, shared or tied weights.
    """
    if isinstance(layer.weight_quant.tensor_quant, Formed):
        raise QuantError("a layer with pruned, shared or tied weights keeps its width: take the run before", status=2)
    weight = layer.weight.detach()
    made = _like(layer, weight_scheme(scheme, width, float(weight.abs().mean()) or 1.0))
    made.weight.data = weight.clone()
    if layer.bias is not None:
        made.bias.data = layer.bias.detach().clone()
    made.weight_quant.init_tensor_quant()  # some quantizers take their first scale from the weights
    return made.train(layer.training)


@torch.no_grad()
def activation_with_width(act: Any, scheme: Scheme, width: int, samples: torch.Tensor) -> Any:
    """Returns a new activation of ``width`` bits, at least 2, with the scale that has the least squared error of the
    activations of ``samples``, values that enter it, among parts of the range of ``act``.

    Raises QuantError (status 2) for an activation without a scale, as of 1 bit.
    """
    old = act.act_quant.fused_activation_quant_proxy.tensor_quant
    if not isinstance(old, UniformAct) or width < 2:
        raise QuantError("activations of 1 bit are signs, which need a training: take widths of at least 2", status=2)
    exact = samples.clamp(min=0)
    top = float(torch.exp2(old.log_scale)) * old.high
    best, least = None, math.inf
    for part in RANGES:
        made = layers.activation(activation_scheme(scheme, width)).eval()
        new = made.act_quant.fused_activation_quant_proxy.tensor_quant
        new.log_scale.fill_(math.log2(part * top / new.high))
        new.collected.fill_(new.collect)
        new._collecting = False
        error = float((made(samples) - exact).square().mean())
        if error < least:
            best, least = made, error
    return best


def _like(layer: Any, scheme: Scheme) -> Any:
    """A new layer of the same sizes with another scheme."""
    bias = layer.bias is not None
    if isinstance(layer, Linear):
        return layers.linear(scheme, layer.in_features, layer.out_features, bias)
    return layers.conv(
        scheme, layer.in_channels, layer.out_channels, layer.kernel_size, stride=layer.stride, padding=layer.padding,
        dilation=layer.dilation, groups=layer.groups, dimensions=len(layer.kernel_size), bias=bias,
    )  # fmt: skip


def _act_bits(scheme: Scheme) -> int:
    return int(getattr(scheme, "act_bits", 1))


def _with(scheme: Scheme, **widths: Any) -> Scheme:
    return replace(scheme, **widths)


def _check_variable(scheme: Scheme) -> None:
    if not {"weight_bits", "act_bits"} <= {each.name for each in fields(scheme)}:
        raise QuantError(
            f"scheme {scheme.name} has one width for all layers: take integer or learned_step, as tfc-w4a4 has, for "
            "widths by layer",
            status=2,
        )


def _check_count(option: str, widths: Any, places: Any) -> None:
    if isinstance(widths, str) or not isinstance(widths, Sequence) or len(widths) != len(places):
        raise QuantError(
            f"{option}={widths!r}: give a list of {len(places)} widths, for {', '.join(places) or 'no layer'}", status=2
        )
    for width in widths:
        if width != "ternary" and (isinstance(width, bool) or not isinstance(width, int)):
            raise QuantError(f"{option}={widths!r}: {width!r} is no number of bits", status=2)
