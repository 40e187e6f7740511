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
from quant.compression.weights import Layer, Layers, bit_width_of, compression_of, find_layers, for_layer, latent_of
from quant.errors import QuantError
from quant.models.network import Network

CONVOLUTIONS = ("separable", "svd", "cp")
"""Forms of convolutions; linear layers have "svd"."""


def low_rank(
    model: Network,
    *,
    rank: int | Mapping[str, int] | None = None,
    energy: float | None = None,
    budget: float | None = None,
    form: str = "separable",
    norm: bool = False,
    granularity: int = 0,
    layers: Layers = None,
    x: torch.Tensor | None = None,
) -> Network:
    """Returns a copy of ``model`` whose layers are products of smaller ones, as near to the trained weights as can be.

    - Linear layers W (out, in): V (rank, in) and U (out, rank), by the singular value decomposition.
    - Convolutions, by ``form``: "separable", d x 1 and 1 x e with ``rank`` channels between; "svd", the layer with
      ``rank`` filters and a 1 x 1 convolution; "cp", 1 x 1, d x 1 depthwise, 1 x e depthwise, 1 x 1.

    Between two factors is the scheme's signed quantizer (``Scheme.signed_quant``), after a BatchNorm with ``norm``,
    which makes factors trainable from new weights (Tai et al., ICLR 2016). The number of ranks is given for all
    layers or by layer (``rank``), as the share of the squared singular values that remains (``energy``), or as the
    share of the layer's weights that the factors have (``budget``, at most); give one of them. It is a multiple of
    ``granularity`` (0: of 8 above 32, of 4 up to 32), rounded up for ``energy`` and down for ``budget``.

    ``layers``: names or patterns; None: all but the last one, and those in groups, for which the factors have fewer
    weights.
    ``x`` (N, ...) are training inputs, from which BatchNorm and quantizers between the factors take their ranges;
    without them, a training must follow (``fit``).

    Raises QuantError (status 2) for values out of range, for a layer that cannot be factored in that form, where no
    layer gets smaller, and for 1-bit weights, which are no sums.
    """
    _check(rank, energy, budget, form, granularity)
    chosen = find_layers(model, layers)
    if layers is None:
        chosen.popitem()
    plan: dict[str, dict[str, Any]] = {}
    for name, layer in chosen.items():
        kind = "svd" if isinstance(layer, torch.nn.Linear) else form
        fits = layer.weight.dim() in factors.FORMS[kind].axes and getattr(layer, "groups", 1) == 1
        if kind != "svd" and fits:
            fits = min(layer.weight.shape[2:]) > 1
        if not fits:
            if layers is not None:
                raise QuantError(
                    f"layer {name} cannot be factored as {kind}: choose other layers or form=svd", status=2
                )
            continue
        if bit_width_of(layer) == 1:
            raise QuantError(f"layer {name} has 1-bit weights, which are no sums of products: choose others", status=2)
        if compression_of(layer) is not None:
            raise QuantError(f"layer {name} is compressed: factor it before", status=2)
        count = _rank(name, layer, kind, rank, energy, budget, granularity)
        if rank is None and factors.parameters(kind, layer.weight.shape, count) >= layer.weight.numel():
            continue
        plan[name] = {"form": kind, "rank": count, "norm": norm}
    if not plan:
        raise QuantError("no layer gets smaller by that rank: give a smaller budget, energy or rank", status=2)
    small = copy.deepcopy(model)
    weights = {name: latent_of(chosen[name]).detach() for name in plan}
    biases = {name: chosen[name].bias for name in plan}
    replace_layers(small, plan)
    for name, each in plan.items():
        made = find_layers(small, f"{name}.*")
        values = factors.FORMS[each["form"]].factor(weights[name], each["rank"])
        with torch.no_grad():
            for layer, value in zip(made.values(), values, strict=True):
                layer.weight.copy_(value)
                if layer.bias is not None:
                    layer.bias.copy_(biases[name])
                layer.weight_quant.init_tensor_quant()  # some take their first scales from the weights
    small.changes = (*small.changes, {"kind": "low_rank", "layers": plan})
    if x is not None:
        _calibrate(small, plan, x)
    return small.train(model.training)


def replace_layers(model: torch.nn.Module, plan: Mapping[str, Mapping[str, Any]]) -> None:
    """Replaces layers, in place, by the factors that ``plan`` states, with new weights."""
    for name, each in plan.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, _factored(find_layers(model)[name], **each))


def _factored(layer: Layer, form: str, rank: int, norm: bool) -> torch.nn.Sequential:
    """Returns the factors of a layer: children ``factor0``, ``norm0``, ``act0``, ``factor1``, ..."""
    scheme, bias = layer.scheme, layer.bias is not None
    if isinstance(layer, torch.nn.Linear):
        made: list[Any] = [
            layer_factory.linear(scheme, layer.in_features, rank),
            layer_factory.linear(scheme, rank, layer.out_features, bias),
        ]
        axes = 0
    else:
        axes = len(layer.kernel_size)
        geometry = {name: getattr(layer, name) for name in ("stride", "padding", "dilation")}
        if layer.padding_mode != "zeros":
            raise QuantError(f"a convolution with padding mode {layer.padding_mode} cannot be factored", status=2)

        def along(*kept: int) -> dict[str, Any]:
            """The kernel and geometry along some axes; 1 along the others."""
            neutral = {"stride": 1, "padding": 0, "dilation": 1}
            sizes = {key: tuple(value[a] if a in kept else neutral[key] for a in range(axes))
                     for key, value in geometry.items()}  # fmt: skip
            return {"kernel": tuple(layer.kernel_size[a] if a in kept else 1 for a in range(axes)), **sizes}

        def conv(inputs: int, outputs: int, *kept: int, groups: int = 1, last: bool = False) -> Any:
            return layer_factory.conv(
                scheme, inputs, outputs, dimensions=axes, groups=groups, bias=bias and last, **along(*kept)
            )

        inputs, outputs = layer.in_channels, layer.out_channels
        if form == "svd":
            made = [conv(inputs, rank, *range(axes)), conv(rank, outputs, last=True)]
        elif form == "separable":
            made = [conv(inputs, rank, 0), conv(rank, outputs, 1, last=True)]
        else:
            made = [
                conv(inputs, rank),
                conv(rank, rank, 0, groups=rank),
                conv(rank, rank, 1, groups=rank),
                conv(rank, outputs, last=True),
            ]
    sequence = torch.nn.Sequential()
    for index, factor in enumerate(made):
        sequence.add_module(f"factor{index}", factor)
        if index < len(made) - 1:
            if norm:
                sequence.add_module(f"norm{index}", scheme.norm(rank, axes))
            sequence.add_module(f"act{index}", layer_factory.signed_activation(scheme))
    return sequence.train(layer.training)


@torch.no_grad()
def _calibrate(model: Network, plan: Mapping[str, Any], x: torch.Tensor) -> None:
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
) -> int:
    shape = layer.weight.shape
    most = min(factors.FORMS[form].matrix(torch.empty(shape, device="meta")).shape)
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
        count = min(most, factors.rank_for_budget(form, shape, budget))
    step = min(most, granularity or (8 if count > 32 else 4))
    return (
        min(most, step * -(-count // step)) if energy is not None else max(1, count // step * step or min(count, step))
    )


def _check(rank: Any, energy: float | None, budget: float | None, form: str, granularity: int) -> None:
    if sum(each is not None for each in (rank, energy, budget)) != 1:
        raise QuantError("give one of rank, energy and budget", status=2)
    for name, share in (("energy", energy), ("budget", budget)):
        if share is not None and not 0 < share <= 1:
            raise QuantError(f"{name}={share} is not above 0 and at most 1", status=2)
    if form not in CONVOLUTIONS:
        raise QuantError(f"no form {form!r} of convolutions: choose {', '.join(CONVOLUTIONS)}", status=2)
    if granularity < 0:
        raise QuantError(f"granularity={granularity} is below 0", status=2)
