"""Data-free pruning of neurons: of two similar ones one is removed, and the other takes over its outgoing weights."""

from collections.abc import Mapping

import torch

from quant.compression.channels import network_frame
from quant.compression.forms import Pruned
from quant.compression.latent import assign
from quant.compression.neurons import Hidden, hidden_neurons
from quant.compression.weights import (
    Layer,
    Layers,
    Model,
    check_form,
    compressing,
    compression_of,
    find_layers,
    for_layer,
    own_grid,
    weight_of,
)
from quant.errors import QuantError


def merge_neurons(
    model: Model,
    fraction: float | Mapping[str, float] = 0.5,
    *,
    layers: Layers = None,
    frame: torch.Tensor | None = None,
) -> Model:
    """Returns a copy of ``model`` in which ``fraction`` of each hidden layer's neurons, or channels, merge into others.

    Neurons i and j of a layer with rows W_i and W_j, and the outgoing weights a_ki and a_kj to the neurons k of the
    next layer: the pair of the least ``s_ij = mean_k(a_kj**2) * ||W_i - W_j||**2`` is merged, ``a_i += a_j``, and j is
    removed; then s is updated, and so on. BatchNorm is folded into the rows, which have the neuron's shift (its
    threshold) as one more element. Neurons with equal rows are merged without any change of the outputs. It needs no
    data.

    The weights of a removed neuron are pruned, incoming and outgoing ones; hardware then leaves the neuron out. In a
    layer with quantized weights the integers of ``a_i + a_j`` are clipped to the layer's range.

    ``layers``: names or patterns of the layers whose neurons are merged; default: all whose outputs one further layer
    reads, with at most BatchNorm, an activation, pools and a flatten in between. ``fraction`` as in ``prune``.
    ``frame`` (1, *input shape) is an input, which finds out about these; networks of this package need none.

    Srinivas, Babu, "Data-free parameter pruning for deep neural networks", BMVC 2015.

    Raises QuantError (status 2) for a fraction outside [0, 1), one that leaves no neuron or is less than one, and where
    nothing can be merged: a chosen layer that is none of these, 1-bit weights, shared or tied weights, codewords.
    """
    frame = network_frame(model, frame, "merge_neurons")
    chosen = find_layers(model, layers)
    groups = {group.name: group for group in hidden_neurons(model, frame)}
    if not groups or (layers is not None and (missing := [name for name in chosen if name not in groups])):
        which = f"layer {missing[0]} cannot" if groups else "no layer can"
        raise QuantError(
            f"{which} merge neurons: its outputs must be read by one further layer, through BatchNorm, activation "
            f"and pools only (as those of {', '.join(groups) or 'a plain network'})",
            status=2,
        )
    names = [name for name in groups if name in chosen]
    of = {layer: name for name, layer in find_layers(model).items()}
    touched = list(dict.fromkeys(each for name in names for each in (name, of[groups[name].consumer])))
    for layer, name in of.items():
        if name in touched:
            check_form(name, layer, "merging neurons", Pruned)
    with compressing(model, touched) as (small, _), torch.no_grad():
        inner = {group.name: group for group in hidden_neurons(small, frame)}
        shares = {}
        for name in names:
            share = for_layer(fraction, "fraction", name, inner[name].producer)
            if not 0 <= share < 1:
                raise QuantError(f"fraction={share!r} of layer {name} is not from 0 to below 1", status=2)
            shares[name] = share
        if any(shares.values()) and not any(round(share * inner[name].neurons) for name, share in shares.items()):
            raise QuantError(
                f"fraction={max(shares.values()):g} is less than one neuron of {', '.join(names)}: give a larger one",
                status=2,
            )
        for name, share in shares.items():
            _merge(inner[name], share)
    return small


def saliencies(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Returns ``s_ij = mean_k(a_kj**2) * ||W_i - W_j||**2``, (neurons, neurons); the diagonal is infinite.

    ``rows`` W (neurons, inputs + 1); ``columns`` a (outputs, neurons, ...), all of whose weights of a neuron count in
    the mean.
    """
    distance = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
    importance = columns.square().transpose(0, 1).flatten(1).mean(1)
    return (distance * importance).fill_diagonal_(torch.inf)


def _merge(group: Hidden, fraction: float) -> None:
    producer, consumer = group.producer, group.consumer
    rows, grid = group.rows(), own_grid(consumer)
    incoming, outgoing = weight_of(producer), weight_of(consumer)
    kept_in, kept_out = _mask(producer), _mask(consumer)
    columns, open_columns = group.columns(outgoing), group.columns(kept_out)
    alive = incoming.flatten(1).any(1) | columns.transpose(0, 1).flatten(1).any(1)  # what is not, is merged already
    count = round(fraction * len(rows)) - int((~alive).sum())
    if round(fraction * len(rows)) >= len(rows):
        raise QuantError(f"fraction={fraction:g} leaves no neuron of layer {group.name}: merge fewer", status=2)
    low, high = _range(consumer)
    low, high = group.columns(low.expand_as(outgoing)), group.columns(high.expand_as(outgoing))
    s = saliencies(rows, columns)
    s[~alive] = s[:, ~alive] = torch.inf
    for _ in range(max(0, count)):
        i, j = divmod(int(s.argmin()), len(rows))
        columns[:, i] = (columns[:, i] + columns[:, j]).clamp(low[:, i], high[:, i])
        open_columns[:, i] |= open_columns[:, j]
        columns[:, j], open_columns[:, j] = 0, False
        kept_in[j] = False
        s[j] = s[:, j] = torch.inf
        s[:, i] = torch.where(
            s[:, i] < torch.inf, (rows - rows[i]).square().sum(1) * columns[:, i].double().square().mean(), torch.inf
        )
    assign(producer, incoming, kept_in, own_grid(producer))
    assign(consumer, columns.reshape(outgoing.shape), open_columns.reshape(outgoing.shape), grid)


def _mask(layer: Layer) -> torch.Tensor:
    form = compression_of(layer)
    assert isinstance(form, Pruned | None)
    return torch.ones_like(layer.weight, dtype=torch.bool) if form is None else form.mask.clone()


def _range(layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the largest weight that the layer's quantizer has."""
    grid = own_grid(layer)
    if grid is None:
        return layer.weight.new_tensor(-torch.inf), layer.weight.new_tensor(torch.inf)
    scale = grid.scale.to(layer.weight.device)
    return scale * grid.low, scale * grid.high
