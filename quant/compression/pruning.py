"""Pruning: the weights of lowest score are set to zero and stay zero."""

from collections.abc import Callable, Mapping

import torch

from quant.compression.selection import check_fractions, check_prunable, prune_layers
from quant.compression.weights import (
    Layer,
    Layers,
    Model,
    compressing,
    compression_of,
    find_layers,
    for_layer,
    latent_of,
)
from quant.errors import QuantError
from quant.structure import Structure
from quant.structure import structure as read_structure

Score = Callable[[str, Layer], torch.Tensor]
"""A criterion: the scores of a layer's weights, given its name and the layer; at least 0, the lowest are pruned."""


def magnitude(name: str, layer: Layer) -> torch.Tensor:
    """The criterion of Han et al.: the magnitudes of the latent weights (out, in, *kernel)."""
    return latent_of(layer).detach().abs()


def prune(
    model: Model,
    fraction: float | Mapping[str, float] | None = None,
    *,
    layers: Layers = None,
    jointly: bool = False,
    structure: str | Structure = "unstructured",
    score: Score = magnitude,
    savings: Mapping[str, float] | None = None,
) -> Model:
    """Returns a copy of ``model`` whose weights of lowest score are zero. The others stay trainable.

    ``fraction`` of the weights of each layer is pruned, rounded to a whole number of units. It is a number, or a
    number by layer: ``{"conv": 0.3, "linear": 0.8}``, or by patterns of names; None is 0.5, or what an N:M structure
    states. ``jointly`` ranks the weights of all chosen layers together and needs one fraction. If ``model`` is already
    pruned, its zeros count towards ``fraction``. Every output keeps an input. In a Brevitas layer the latent weights
    are pruned and the quantizer is kept. ``layers``: names or patterns, default all.

    ``structure`` (``quant.structure``) says which weights become zero together: "unstructured", N:M as "2:4",
    "bank-balanced:PExSIMD", "blocks:PExSIMD" or "columns". ``score(name, layer)`` returns the scores of a layer's
    weights, default their magnitudes; a unit's score is their root mean square.

    ``savings`` states for each layer what one weight less saves in hardware (``quant.compression.savings``). The layers
    are then ranked together by ``score / mean score of the layer / saving``.

    Han, Pool, Tran, Dally, "Learning both weights and connections for efficient neural networks", NIPS 2015: prune,
    train the rest, and repeat; also the first step of Deep Compression (``deep_compression``). ``quant.fit`` prunes
    gradually (``quant.Pruning``).

    Raises QuantError (status 2) for a fraction outside [0, 1) or beyond what leaves every output an input, for layers
    with shared weights or codewords, and for 1-bit weights, which have no zero.
    """
    kind = read_structure(structure)
    if (jointly or savings is not None) and isinstance(fraction, Mapping):
        raise QuantError("jointly=True ranks all layers' weights together: give one fraction", status=2)
    if kind.fraction is not None and (jointly or savings is not None):
        raise QuantError(f"structure {kind} prunes all layers alike: take jointly=False and no savings", status=2)
    for name, layer in find_layers(model, layers).items():
        check_prunable(name, layer, kind)
    with compressing(model, layers) as (small, chosen):
        shares = {name: _fraction(for_layer(fraction, "fraction", name, layer), kind, name)
                  for name, layer in chosen.items()}  # fmt: skip
        for layer in chosen.values():
            form = compression_of(layer)
            if form is not None:
                with torch.no_grad():
                    latent_of(layer).copy_(form(latent_of(layer)))
        scores = {name: score(name, layer) for name, layer in chosen.items()}
        together = jointly or savings is not None
        check_fractions(chosen, scores, shares, kind, together)
        if together:
            prune_layers(chosen, scores, next(iter(shares.values())), kind, hardware_factors(scores, savings))
        else:
            for name, layer in chosen.items():
                prune_layers({name: layer}, scores, shares[name], kind)
    return small


def hardware_factors(
    scores: Mapping[str, torch.Tensor], savings: Mapping[str, float] | None
) -> dict[str, float] | None:
    """Returns the factors of layers' scores for a ranking by hardware: ``1 / (mean score * saving)``; zeros do not
    count in the mean.

    A layer that saves nothing is ranked last: its saving counts as a thousandth of the largest.
    """
    if savings is None:
        return None
    least = max(savings[name] for name in scores) / 1000
    means = {name: float(score.sum()) / max(1, int(score.count_nonzero())) for name, score in scores.items()}
    return {name: 1.0 / (max(means[name], 1e-30) * max(savings[name], least)) for name in scores}


def _fraction(given: float | None, structure: Structure, name: str) -> float:
    stated = structure.fraction
    if given is None:
        return 0.5 if stated is None else stated
    if not 0 <= given < 1:
        raise QuantError(f"fraction={given!r} of layer {name} is not from 0 to below 1", status=2)
    structure.check_fraction(given, f" of layer {name}")
    return given if stated is None else stated
