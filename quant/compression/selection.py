"""The selection of the weights that pruning removes: for every criterion, structure and schedule the same one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from quant.compression.forms import Pruned
from quant.compression.structures import Units, from_matrix, to_matrix, units
from quant.compression.weights import (
    Layer,
    attach,
    bit_width_of,
    check_form,
    compression_of,
    is_transposed,
    latent_of,
    of_scheme,
)
from quant.errors import QuantError
from quant.structure import Structure


def check_prunable(name: str, layer: Layer, structure: Structure) -> None:
    """Raises QuantError (status 2) for a layer whose weights cannot be zero, or not in this structure."""
    check_form(name, layer, "pruning", Pruned)
    if bit_width_of(layer) == 1:
        raise QuantError(
            f"layer {name} has 1-bit weights{of_scheme(layer)}, which have no zero to prune to: take ternary weights "
            "(twn, ternary_connect, or integer with weight_bits=ternary), or other layers",
            status=2,
        )
    if structure.kind == "outputs":
        raise QuantError("pruning whole outputs is no mask: choose another structure", status=2)
    if structure.kind != "unstructured" and is_transposed(layer):
        raise QuantError(
            f"layer {name} is a transposed convolution, for whose weights structure {structure} is not defined: take "
            "unstructured or other layers",
            status=2,
        )
    if structure.kind not in ("unstructured", "n:m") and getattr(layer, "groups", 1) > 1:
        raise QuantError(
            f"layer {name} is a convolution in groups, whose outputs share no inputs: structure {structure} is not "
            "possible there, take unstructured or other layers",
            status=2,
        )


def mask_of(layer: Layer) -> torch.Tensor:
    """Returns the mask of a layer's weights (out, in, *kernel), True where a weight remains; attaches one of all
    weights where there is none."""
    form = compression_of(layer)
    if form is None:
        form = Pruned(torch.ones(latent_of(layer).shape, dtype=torch.bool))
        attach(layer, form)
    assert isinstance(form, Pruned)
    return form.mask


@torch.no_grad()
def prune_layers(
    layers: Mapping[str, Layer],
    scores: Mapping[str, torch.Tensor],
    fraction: float,
    structure: Structure,
    factors: Mapping[str, float] | None = None,
) -> None:
    """Prunes ``layers``, in place and ranked together, until ``fraction`` of their weights is zero.

    The units of ``structure`` with the lowest scores are pruned. ``scores`` are tensors of the weights' shapes, at
    least 0; ``factors`` multiply them by layer. What is pruned already remains so, and counts. Every output keeps an
    input: of each output's last unit, the best one remains. The number of pruned weights is rounded to whole units.

    Raises QuantError (status 2) where that is more than can be pruned, and for scores that are negative or not finite.
    """
    found = _units(layers, scores, structure, factors)
    order, count, possible = _counted(found, fraction)
    if possible is not None:
        raise beyond({_named(layers): (fraction, possible)}, structure)
    gone = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    gone[order[:count]] = True
    for layer, each, pruned in zip(layers.values(), found, gone.split([len(one.scores) for one in found]), strict=True):
        mask, latent = mask_of(layer), latent_of(layer)
        by_outputs = _by_outputs(layer, mask)
        by_outputs.logical_and_(from_matrix(~pruned[each.members], by_outputs.shape))  # a view of the mask
        latent.mul_(mask)  # Brevitas derives the scale from the latent weights


def check_fractions(
    layers: Mapping[str, Layer],
    scores: Mapping[str, torch.Tensor],
    fractions: Mapping[str, float],
    structure: Structure,
    jointly: bool,
) -> None:
    """Raises QuantError where ``prune_layers``, for each layer or for all of them ``jointly``, cannot prune that much;
    names every layer that cannot, with what is possible there. Changes nothing."""
    found = dict(zip(layers, _units(layers, scores, structure, None), strict=True))
    [*every] = dict.fromkeys(fractions.values())
    together = _counted(list(found.values()), every[0])[2] if len(every) == 1 else 0.0
    if jointly:
        if together is not None:
            raise beyond({_named(layers): (every[0], together)}, structure)
        return
    too_much = {}
    for name, each in found.items():
        if (most := _counted([each], fractions[name])[2]) is not None:
            too_much[f"layer {name}"] = fractions[name], most
    if too_much:
        raise beyond(too_much, structure, jointly=together is None)


def beyond(
    layers: Mapping[str, tuple[float, float]], structure: Structure | None = None, jointly: bool = False
) -> QuantError:
    """The error for layers of which more is asked to be pruned than is possible: (asked, possible) by what they are.

    ``jointly``: whether it is possible where all layers are ranked together.
    """
    asked = ", ".join(dict.fromkeys(f"{share:g}" if share < 0.9999995 else repr(share) for share, _ in layers.values()))
    kind = "" if structure is None else f" with structure {structure}"
    # Rounded down, so that it is possible.
    possible = {name: math.floor(1e4 * share) / 1e4 for name, (_, share) in layers.items()}
    most = ", ".join(f"{share:g} of {name}" for name, share in possible.items())
    whole = structure is not None and structure.kind != "unstructured" and not all(possible.values())
    smaller = ", take a structure of smaller parts" if whole else ""
    other = ", choose other layers, or rank all together (jointly)" if jointly else ", or choose other layers"
    other = smaller + other
    return QuantError(
        f"fraction={asked}{kind} leaves an output without an input: prune at most {most}{other}", status=2
    )


def _named(layers: Mapping[str, Layer]) -> str:
    return f"layer {next(iter(layers))}" if len(layers) == 1 else f"the {len(layers)} layers together"


def _units(
    layers: Mapping[str, Layer],
    scores: Mapping[str, torch.Tensor],
    structure: Structure,
    factors: Mapping[str, float] | None,
) -> list[Units]:
    """Returns the units of each layer, with their scores times the layer's factor."""
    found: list[Units] = []
    for name, layer in layers.items():
        score, mask = scores[name], mask_of(layer)
        if score.shape != mask.shape or not bool(torch.isfinite(score).all()) or bool((score < 0).any()):
            raise QuantError(
                f"scores of layer {name} must be finite, at least 0 and of shape {tuple(mask.shape)}", status=2
            )
        factor = 1.0 if factors is None else factors[name]
        matrix = to_matrix(_by_outputs(layer, score.detach().to(mask.device))) * factor
        found.append(units(structure, matrix, to_matrix(_by_outputs(layer, mask))))
    return found


def _by_outputs(layer: Layer, weights: torch.Tensor) -> torch.Tensor:
    """Views weights as (out, in, *kernel): transposed convolutions, but those in groups, have the inputs first."""
    return weights.transpose(0, 1) if is_transposed(layer) and layer.groups == 1 else weights


def _counted(found: Sequence[Units], fraction: float) -> tuple[torch.Tensor, int, float | None]:
    """The order in which units are pruned (U,), how many of them ``fraction`` is, and, where that is more than can be
    pruned, the share of the weights that can."""
    scores = torch.cat([each.scores.masked_fill(each.needed, torch.inf) for each in found])
    sizes = torch.cat([each.sizes for each in found])
    total = int(sizes.sum())
    target = round(fraction * total)
    # A stable sort: of equal scores the first ones are pruned, and their number is exact.
    order = scores.sort(stable=True).indices
    ends = sizes[order].cumsum(0)
    count = int((ends - sizes[order] / 2 <= target).sum())
    most = int((scores < torch.inf).sum())
    if count <= most:
        return order, count, None
    return order, most, int(ends[most - 1]) / total if most else 0.0


def densities(layers: Mapping[str, Any]) -> dict[str, float]:
    """Returns the share of the weights that pruning left, by layer; 1 for a layer that is not pruned."""
    forms = {name: compression_of(layer) for name, layer in layers.items()}
    return {name: float(form.mask.float().mean()) if isinstance(form, Pruned) else 1.0 for name, form in forms.items()}
