"""Ties the weights of layers: a structure says which of them are one value."""

from collections.abc import Mapping
from typing import Literal

import torch

from quant.compression.forms import Tied
from quant.compression.weights import (
    Layer,
    Layers,
    Model,
    attach,
    check_compressible,
    compressing,
    compression_of,
    find_layers,
    is_quantized,
    is_transposed,
    latent_of,
)
from quant.errors import QuantError
from quant.ties import Ties
from quant.ties import ties as read_ties

Start = Literal["nearest", "sample"]
"""How the values start: see ``tie``."""


def tie(
    model: Model, structure: str | Ties = "circulant:8", *, layers: Layers = None, start: Start = "nearest"
) -> Model:
    """Returns a copy of ``model`` whose weights are tied by ``structure`` (``quant.ties``), as "circulant:8".

    The weight of a layer is then ``sign * values[index]``, of the same shape as before. ``quant.fit`` or any other loop
    trains the values; the gradient of a value is the sum over its places. The layer keeps its quantizer, and the scale
    is common to the layer, so tied weights have one integer. An exported file has dense integers, in which hardware
    finds the ties.

    - ``layers``: names or patterns. None: all in which the structure ties weights, but the last one.
    - ``start``: the values at the beginning. "nearest": the mean of the weights at a value's places, times their signs,
      which is the nearest tied weight; for trained networks. "sample": the weight at the first of them, so that values
      have the variance that the layer was initialized with; for new networks.

    Raises QuantError (status 2) if nothing is tied in a chosen layer, for layers that are compressed already, for
    quantizers with a scale for each channel where ties reach over channels (1-bit weights are the signs, whatever their
    scales), and for ties with signs where the quantizer is not symmetric.
    """
    with compressing(model, layers, one_bit=True) as (small, _chosen):
        tie_layers(small, structure, layers, start)
    return small


def tie_layers(
    model: torch.nn.Module, structure: str | Ties = "circulant:8", layers: Layers = None, start: Start = "nearest"
) -> None:
    """Ties the weights of ``model`` as ``tie`` does, in place."""
    kind = read_ties(structure)
    forms = _forms(model, kind, layers)
    found = find_layers(model)
    for name, form in forms.items():
        _check(name, found[name], kind, form)
    for name, form in forms.items():
        layer = found[name]
        latent = latent_of(layer)
        form.to(latent)
        (form.project if start == "nearest" else form.sample)(latent)
        attach(layer, form)
        with torch.no_grad():
            latent.copy_(form(latent))


def _forms(model: torch.nn.Module, ties: Ties, layers: Layers) -> Mapping[str, Tied]:
    """The forms by layer, with values of 0."""
    all_layers = find_layers(model)
    inputs, output = next(iter(all_layers)), list(all_layers)[-1]
    forms = {}
    for name, layer in find_layers(model, layers).items():
        if layers is None and name == output and len(all_layers) > 1:
            continue
        shape = latent_of(layer).shape
        form = None
        if not is_transposed(layer):
            form = Tied.structured(ties, shape, getattr(layer, "groups", 1), first=name == inputs)
        if form is not None:
            forms[name] = form
        elif layers is not None:
            raise QuantError(
                f"structure {ties} ties no weights of layer {name} with shape {'x'.join(map(str, shape))}: choose "
                "other layers or another structure",
                status=2,
            )
    if not forms:
        raise QuantError(f"structure {ties} ties no weights of any layer but the last one: choose another", status=2)
    return forms


def _check(name: str, layer: Layer, ties: Ties, form: Tied) -> None:
    check_compressible(name, layer, one_bit=True)
    before = compression_of(layer)
    if before is not None:
        raise QuantError(
            f"layer {name} has {before.kind} weights, which structure {ties} would undo: tie the weights of the "
            "uncompressed network",
            status=2,
        )
    if not is_quantized(layer):
        return
    quantized = layer.quant_weight()
    scheme = getattr(layer, "scheme", None)
    of = "its quantizer" if scheme is None else f"scheme {scheme.name}"
    if quantized.scale.numel() > 1 and int(quantized.bit_width) > 1 and _across_channels(form.index):
        raise QuantError(
            f"layer {name}: {of} has a scale for each channel, so weights that structure {ties} ties would become "
            "different integers: take a scheme with one scale a layer (integer, learned_step, twn), or other layers",
            status=2,
        )
    if form.sign is not None and not layer.weight_quant.is_narrow_range:
        raise QuantError(
            f"layer {name}: structure {ties} ties weights of opposite signs, but the integers of {of} are not "
            "symmetric: take a structure without signs (circulant:8, hashed:8:4x4), or symmetric weights (integer of 3 "
            "bits or more, ternary)",
            status=2,
        )


def _across_channels(index: torch.Tensor) -> bool:
    """Whether a value has places in several output channels."""
    rows = index.flatten(1)
    return sum(len(row.unique()) for row in rows) > len(index.unique())
