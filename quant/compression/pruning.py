"""Magnitude pruning: the weights of smallest magnitude are set to zero and stay zero."""

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
    """Returns a copy of ``model`` whose weights of smallest magnitude are zero. The others stay trainable.

    ``fraction`` of the weights of each layer is pruned, rounded to a whole number of weights. It is a number, or a
    number by layer: ``{"conv": 0.3, "linear": 0.8}``, or by patterns of names. ``jointly`` ranks the weights of all
    chosen layers together and needs one fraction. If ``model`` is already pruned, its zeros count towards ``fraction``.
    In a Brevitas layer the latent weights are pruned and the quantizer is kept. ``layers``: names or patterns, default
    all.

    Han, Pool, Tran, Dally, "Learning both weights and connections for efficient neural networks", NIPS 2015: prune,
    train the rest, and repeat; also the first step of Deep Compression (``deep_compression``).

    Raises QuantError (status 2) for a fraction outside [0, 1) and for layers with shared weights or codewords.
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
    # a stable sort: of equal magnitudes the first ones are pruned, and their number is exact
    kept[torch.sort(magnitudes, stable=True).indices[: round(fraction * len(magnitudes))]] = False
    parts = kept.split([latent_of(layer).numel() for layer in layers])
    for layer, part in zip(layers, parts, strict=True):
        latent = latent_of(layer)
        mask = part.view(latent.shape).clone()
        latent.mul_(mask)  # Brevitas derives the scale from the latent weights
        attach(layer, Pruned(mask))
