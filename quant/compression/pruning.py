"""Magnitude pruning: the smallest weights become zero and stay zero."""

from collections.abc import Mapping

import torch

from quant.compression.forms import Pruned
from quant.compression.weights import Layer, Layers, Model, attach, compressing, compression_of, for_layer, latent_of
from quant.errors import QuantError


def prune(
    model: Model,
    fraction: float | Mapping[str, float] = 0.5,
    *,
    layers: Layers = None,
    jointly: bool = False,
) -> Model:
    """A copy whose smallest weights (by magnitude) are zero; the others can be trained on, ``fit(prune(model), ...)``.

    ``fraction`` of the weights of each layer, rounded to a whole number of weights; or by layer, as
    ``{"conv": 0.3, "linear": 0.8}`` or with patterns of names. ``jointly`` ranks the weights of all chosen layers
    together (one fraction then). Pruning a pruned network further counts its zeros in. In a Brevitas layer the latent
    weights are pruned, and the layer's quantizer stays in place. ``layers``: names or patterns, default all.

    Han, Pool, Tran, Dally, "Learning both weights and connections for efficient neural networks", NIPS 2015: prune,
    train the rest, and repeat; also the first step of Deep Compression (``deep_compression``).

    Raises QuantError (status 2) for a fraction outside 0 to below 1 and for layers with shared weights or codewords.
    """
    if jointly and isinstance(fraction, Mapping):
        raise QuantError("jointly=True ranks all layers' weights together: give one fraction", status=2)
    with compressing(model, layers) as (small, chosen):
        shares = {name: for_layer(fraction, "fraction", name, layer) for name, layer in chosen.items()}
        for name, layer in chosen.items():
            if not 0 <= shares[name] < 1:
                raise QuantError(f"fraction={shares[name]!r} of layer {name} is not from 0 to below 1", status=2)
            if not isinstance(compression_of(layer), Pruned | None):
                raise QuantError(f"layer {name} has shared weights or codewords: prune before", status=2)
        with torch.no_grad():
            groups = [list(chosen)] if jointly else [[name] for name in chosen]
            for group in groups:
                _prune_group([chosen[name] for name in group], shares[group[0]])
    return small


def _prune_group(layers: list[Layer], fraction: float) -> None:
    for layer in layers:
        form = compression_of(layer)
        if form is not None:
            latent_of(layer).copy_(form(latent_of(layer)))
    magnitudes = torch.cat([latent_of(layer).abs().flatten() for layer in layers])
    kept = torch.ones(len(magnitudes), dtype=torch.bool, device=magnitudes.device)
    # a stable sort, so that of equal magnitudes the first ones go, and the number is exact
    kept[torch.sort(magnitudes, stable=True).indices[: round(fraction * len(magnitudes))]] = False
    parts = kept.split([latent_of(layer).numel() for layer in layers])
    for layer, part in zip(layers, parts, strict=True):
        latent = latent_of(layer)
        mask = part.view(latent.shape).clone()
        latent.mul_(mask)  # Brevitas takes its scale from these
        attach(layer, Pruned(mask))
