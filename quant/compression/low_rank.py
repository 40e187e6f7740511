"""Low rank: layers become sequences of smaller ones, with a quantizer between the factors.

Without that quantizer the second factor would read the wide sums of the first: at w4a4 it would cost more logic than
the quantizer and both factors together.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch

from quant import layers as layer_factory
from quant.compression import factors
from quant.compression.channels import channels_of, network_frame
from quant.compression.clusters import subspace_clusters
from quant.compression.factored import mask, replace
from quant.compression.slimming import reorder
from quant.compression.structures import to_matrix
from quant.compression.weights import (
    Layer,
    Layers,
    Model,
    bit_width_of,
    check_form,
    find_layers,
    for_layer,
    is_transposed,
    latent_of,
)
from quant.errors import QuantError
from quant.models.network import Network

CONVOLUTIONS = ("separable", "svd", "grouped", "cp")
"""Forms of convolutions over images; linear layers and other convolutions have "svd", or "grouped"."""
BANKS = 8
"""Inputs of one cluster lie alike in so many banks, where their number permits: the most inputs that hardware reads at
once."""


def low_rank(
    model: Model,
    *,
    rank: int | Mapping[str, int] | None = None,
    energy: float | None = None,
    budget: float | None = None,
    form: str = "separable",
    norm: bool = False,
    granularity: int = 0,
    groups: int = 2,
    layers: Layers = None,
    x: torch.Tensor | None = None,
) -> Model:
    """Returns a copy of ``model`` whose layers are products of smaller ones, as near to the trained weights as can be.

    - Linear layers W (out, in): V (rank, in) and U (out, rank), by the singular value decomposition.
    - Convolutions along one axis, and those of 1 x 1: as "svd" below, whatever the ``form``.
    - Other convolutions, by ``form``: "separable", d x 1 and 1 x e with ``rank`` channels between; "svd", the layer
      with ``rank`` filters and a 1 x 1 convolution; "cp", 1 x 1, d x 1 depthwise, 1 x e depthwise, 1 x 1.
    - All, with form "grouped": "svd" for each block of ``groups`` clusters of inputs by as many of outputs, which are
      found in the weights; ``rank`` is that of a block. All other weights are 0 and stay so. The layer's outputs are
      brought into the order of their clusters where no residual sum or end of the network has another, so that
      neighbours have their zeros in the same places.

    Between two factors is the scheme's signed quantizer (``Scheme.signed_quant``), after a BatchNorm with ``norm``,
    which makes factors trainable from new weights (Tai et al., ICLR 2016). The number of ranks is given for all
    layers or by layer (``rank``), as the share of the squared singular values that remains (``energy``), or as the
    share of the layer's weights that the factors have (``budget``, at most); give one of them. It is a multiple of
    ``granularity`` (0: of 8 above 32, of 4 up to 32), rounded up for ``energy`` and down for ``budget``.

    ``layers``: names or patterns; None: all but the last one, those in groups, transposed ones, and experts, for which
    the factors have fewer weights.
    ``x`` (N, ...) are training inputs, from which BatchNorm and quantizers between the factors take their ranges;
    without them, a training must follow (``fit``).

    Raises QuantError (status 2) for values out of range, for a layer that cannot be factored in that form, where no
    layer gets smaller, and for 1-bit weights, which are no sums.
    """
    _check(rank, energy, budget, form, granularity, groups)
    chosen, last = find_layers(model, layers), None
    if layers is None:
        last, _ = chosen.popitem()
    experts = {f"{name}.linear" for name, module in model.named_modules() if isinstance(module, layer_factory.Experts)}
    plan: dict[str, dict[str, Any]] = {}
    possible = False
    for name, layer in chosen.items():
        if name in experts:
            if layers is not None:
                raise QuantError(
                    f"layer {name} holds the weights of all experts, one of which a frame takes: choose other layers",
                    status=2,
                )
            continue
        plane = len([side for side in layer.weight.shape[2:] if side > 1]) == 2
        kind = form if plane or form == "grouped" else "svd"
        fits = layer.weight.dim() in factors.FORMS[kind].axes and getattr(layer, "groups", 1) == 1
        fits = fits and not is_transposed(layer)
        if fits and kind == "grouped":
            fits = min(layer.weight.shape[:2]) >= groups
        if not fits:
            if layers is not None:
                raise QuantError(
                    f"layer {name} cannot be factored as {kind}: choose other layers or form=svd", status=2
                )
            continue
        if bit_width_of(layer) == 1:
            raise QuantError(f"layer {name} has 1-bit weights, which are no sums of products: choose others", status=2)
        check_form(name, layer, "factoring")
        possible = True
        clusters = groups if kind == "grouped" else 1
        count = _rank(name, layer, kind, rank, energy, budget, granularity, clusters)
        if rank is None and factors.parameters(kind, layer.weight.shape, count, clusters) >= layer.weight.numel():
            continue
        plan[name] = {"form": kind, "rank": count, "norm": norm}
    if last is not None and not possible:
        raise QuantError(
            f"no layer but the last one, {last}, can be factored, and that one stays unless it is chosen: choose it "
            "(--layers), or take another method (slim)",
            status=2,
        )
    if not plan:
        raise QuantError(
            "no layer gets smaller by that rank: give a smaller density (budget), energy or rank", status=2
        )
    small = copy.deepcopy(model)
    if form == "grouped":
        small = _clustered(small, plan, groups, x)
    chosen = find_layers(small)
    weights = {name: latent_of(chosen[name]).detach() for name in plan}
    biases = {name: chosen[name].bias for name in plan}
    replace(small, plan)
    for name, each in plan.items():
        made = find_layers(small, f"{name}.*")
        sides = {side: torch.tensor(each[side]) for side in ("inputs", "outputs") if side in each}
        values = factors.FORMS[each["form"]].factor(weights[name], each["rank"], **sides)
        with torch.no_grad():
            for layer, value in zip(made.values(), values, strict=True):
                layer.weight.copy_(value)
                if layer.bias is not None:
                    layer.bias.copy_(biases[name])
                layer.weight_quant.init_tensor_quant()  # some take their first scales from the weights
    mask(small, plan)
    if isinstance(small, Network):
        small.changes = (*small.changes, {"kind": "low_rank", "layers": plan})
    if x is not None:
        _calibrate(small, plan, x)
    return small.train(model.training)


def _clustered(model: Model, plan: Mapping[str, dict[str, Any]], groups: int, x: torch.Tensor | None) -> Model:
    """Adds the clusters of inputs and outputs to ``plan``; returns the network in the order of the clusters."""
    frame = network_frame(model, None if x is None else x[:1].float(), "low_rank")
    found = channels_of(model, frame).of
    ordered = set()
    for name, each in plan.items():
        weight = latent_of(find_layers(model)[name]).detach()
        clusters = subspace_clusters(to_matrix(weight), groups, each["rank"])
        group = found.get(name)
        if group is not None and group.fixed is None and group.name not in ordered:
            ordered.add(group.name)
            order = clusters.argsort(stable=True)
            model, clusters = reorder(model, {name: order}, frame), clusters[order]
        each["outputs"] = clusters.tolist()
    for name, each in plan.items():
        weight = latent_of(find_layers(model)[name]).detach().transpose(0, 1)
        banks = next(b for b in (BANKS, 4, 2, 1) if b == 1 or len(weight) % (b * groups) == 0)
        each["inputs"] = subspace_clusters(weight.flatten(1), groups, each["rank"], banks).tolist()
    return model


@torch.no_grad()
def _calibrate(model: torch.nn.Module, plan: Mapping[str, Any], x: torch.Tensor) -> None:
    """Gives the BatchNorms between factors the statistics of their inputs, and their inverse as scale and shift; then
    gives the quantizers their ranges."""
    training = {module: module.training for module in model.modules()}
    between = [module for name in plan for module in model.get_submodule(name).children()]
    norms: list[Any] = [module for module in between if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    acts = [module for module in between if isinstance(module, layer_factory.Activation)]
    batches = x.split(max(1, -(-len(x) // 32)))
    model.eval()
    for norm in norms:  # one after the other, each behind what is set already
        norm.reset_running_stats()
        momentum, norm.momentum = norm.momentum, None
        for each in acts:
            _enable(each, False)
        norm.train()
        for batch in batches:
            model(batch.float())
        norm.eval()
        norm.momentum = momentum
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(norm.running_mean)
    for each in acts:
        _enable(each, True)
        each.train()
    for _ in range(-(-32 // len(batches))):
        for batch in batches:
            model(batch.float())
    for module, mode in training.items():
        module.training = mode


def _enable(activation: Any, enabled: bool) -> None:
    activation.act_quant.disable_quant = not enabled


def _rank(
    name: str,
    layer: Layer,
    form: str,
    rank: int | Mapping[str, int] | None,
    energy: float | None,
    budget: float | None,
    granularity: int,
    groups: int,
) -> int:
    shape = layer.weight.shape
    most = min(factors.FORMS[form].matrix(torch.empty(shape, device="meta")).shape)
    if form == "grouped":
        most = min(shape[0] // groups, shape[1] // groups * shape[2:].numel())
    if form == "cp":
        most = shape.numel()
    if rank is not None:
        count = for_layer(rank, "rank", name, layer)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most:
            raise QuantError(f"rank={count!r} of layer {name} is no whole number from 1 to {most}", status=2)
        return count
    weight = latent_of(layer).detach()
    if energy is not None:
        count = factors.rank_for_energy(form, weight, energy)
    else:
        assert budget is not None
        count = min(most, factors.rank_for_budget(form, shape, budget, groups))
    between = count * groups**2
    step = min(most, -(-(granularity or (8 if between > 32 else 4)) // groups**2))
    return (
        min(most, step * -(-count // step)) if energy is not None else max(1, count // step * step or min(count, step))
    )


def _check(rank: Any, energy: float | None, budget: float | None, form: str, granularity: int, groups: int) -> None:
    if sum(each is not None for each in (rank, energy, budget)) != 1:
        raise QuantError("give one of rank, energy and budget", status=2)
    for name, share in (("energy", energy), ("budget", budget)):
        if share is not None and not 0 < share <= 1:
            raise QuantError(f"{name}={share} is not above 0 and at most 1", status=2)
    if form not in CONVOLUTIONS:
        raise QuantError(f"no form {form!r} of convolutions: choose {', '.join(CONVOLUTIONS)}", status=2)
    if granularity < 0:
        raise QuantError(f"granularity={granularity} is below 0", status=2)
    if form == "grouped" and energy is not None:
        raise QuantError("the blocks of form grouped are found for a rank: give rank or budget, not energy", status=2)
    if groups != 2 and form != "grouped":
        raise QuantError(f"groups={groups} is for form grouped, not {form}", status=2)
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 2:
        raise QuantError(f"groups={groups!r} is no whole number of 2 or more", status=2)
