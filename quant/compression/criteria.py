"""Which channels to remove: criteria, what a channel saves in hardware, and the choice by both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from quant.compression.channels import Channels, Group, channels_of, network_frame
from quant.compression.restructure import norms_of
from quant.compression.saving import LEAST, cost_inputs
from quant.compression.weights import Layer, Layers, compression_of, find_layers, latent_of
from quant.cost import CostModel, LayerShape
from quant.errors import QuantError
from quant.models.network import Network


@dataclass(frozen=True)
class Removable:
    """The groups of channels of a network that can lose some, with its layers and BatchNorms."""

    channels: Channels
    groups: dict[str, Group]
    layers: dict[str, Layer]
    norms: dict[str, Any]

    @classmethod
    def of(cls, model: torch.nn.Module, layers: Layers = None, frame: torch.Tensor | None = None) -> "Removable":
        """Finds the groups that contain one of the chosen ``layers`` (names or patterns; None: all groups).

        Raises QuantError (status 2) for patterns that match no layer, and where no group can lose channels.
        """
        found = channels_of(model, network_frame(model, frame, "slim"))
        chosen = find_layers(model, layers)
        groups = {
            g.name: g for g in found.groups() if g.fixed is None and g.channels > 1 and set(g.producers) & {*chosen}
        }
        if not groups:
            reasons = [f"{name} ({found.of[name].fixed or 'it has one only'})" for name in chosen if name in found.of]
            raise QuantError(
                f"no channel can be removed, not of {', '.join(reasons) or 'layers that the network does not use'}; "
                f"{found.instead()}",
                status=2,
            )
        return cls(found, groups, find_layers(model), norms_of(model))

    def rows(self, group: Group) -> list[torch.Tensor]:
        """Returns the latent weights of each producer, (channels, inputs and kernel positions)."""
        return [_latent(self.layers[name]).flatten(1) for name in group.producers]

    def columns(self, group: Group) -> list[torch.Tensor]:
        """Returns the latent weights that read the channels, (channels, all others) for each reader.

        The weights of the positions of a flattened image belong to their channel.
        """
        found = []
        for name in group.readers:
            weight = _latent(self.layers[name])
            for start, part in self.channels.places(name, group):
                own = weight[:, start : start + part.size]
                found.append(own.reshape(len(weight), part.channels, -1).transpose(0, 1).flatten(1))
        return found


@torch.no_grad()
def _latent(layer: Layer) -> torch.Tensor:
    """The weights that the layer trains, with the zeros of a mask."""
    form = compression_of(layer)
    return latent_of(layer).detach() if form is None else form(latent_of(layer)).detach()


def l1_norms(network: Removable, group: Group) -> torch.Tensor:
    """Returns ``sum |W[n]|`` of each filter n (channels,), the mean over the layers that make the group.

    Li, Kadav, Durdanovic, Samet, Graf, "Pruning filters for efficient ConvNets", ICLR 2017.
    """
    return torch.stack([rows.abs().sum(1) for rows in network.rows(group)]).mean(0)


def l2_norms(network: Removable, group: Group) -> torch.Tensor:
    """Returns the Euclidean norm of each neuron's weights (channels,), all layers of the group together.

    What a group lasso leaves at 0 (``quant.training.slimming``) comes first.
    """
    return torch.cat(network.rows(group), 1).norm(dim=1)


def structured_norms(network: Removable, group: Group) -> torch.Tensor:
    """Returns the product of the norms of a channel's filters and of the weights that read it (channels,).

    Either can be 0 after the training of Wen, Wu, Wang, Chen, Li, "Learning structured sparsity in deep neural
    networks", NIPS 2016; the channel is without effect then.
    """
    filters = torch.cat(network.rows(group), 1).norm(dim=1)
    readers = network.columns(group)
    return filters * torch.cat(readers, 1).norm(dim=1) if readers else filters


def gammas(network: Removable, group: Group) -> torch.Tensor:
    """Returns ``|gamma|`` of the BatchNorms behind each channel (channels,), their mean.

    Liu, Li, Shen, Huang, Yan, Zhang, "Learning efficient convolutional networks through network slimming", ICCV 2017.

    Raises QuantError (status 2) for a group without BatchNorm.
    """
    norms = [(network.norms[name].weight, network.channels.places(name, group)) for name in group.norms]
    found = [
        weight.detach()[start : start + part.size].abs()
        for weight, places in norms
        for start, part in places
        if weight is not None and part.positions == 1
    ]
    if not found:
        raise QuantError(
            f"criterion slimming needs a BatchNorm behind {group.name}: train with batch_norm, or take criterion l1",
            status=2,
        )
    return torch.stack(found).mean(0)


def first(network: Removable, group: Group) -> torch.Tensor:
    """Returns scores that keep the first channels: a uniformly narrower network, for comparison."""
    return torch.arange(group.channels, 0, -1.0)


Score = Callable[[Removable, Group], torch.Tensor]

SCORES: dict[str, Score] = {
    "l1": l1_norms,
    "slimming": gammas,
    "structured": structured_norms,
    "less-is-more": l2_norms,
    "neurons": l2_norms,
    "uniform": first,
}
"""The criteria by name. All but l1 and uniform belong to a penalty in the training (``quant.training.slimming``)."""


def choose_channels(
    network: Removable,
    score: Score,
    fraction: float,
    *,
    granularity: int = 0,
    savings: Mapping[str, float] | None = None,
) -> dict[str, torch.Tensor]:
    """Returns the channels that remain, by group, for ``slim``: those of lowest score go.

    Without ``savings``, ``fraction`` of each group goes. With them (``channel_savings``) the groups are ranked
    together by the score, relative to the group's median, over what a channel saves, and of the lowest go as many as
    save at most ``fraction`` of what all channels together do. What remains of a group are multiples of
    ``granularity`` (0: of 8 above 32 channels, of 4 up to 32), at least one of them.

    One threshold for all layers without what they cost cuts where it does not pay: in a LeNet-5 the last linear layers.
    And half of the channels of a ranking by cost is more than half of the cost: most of the widest layer.

    Raises QuantError (status 2) where a fraction above 0 removes no channel.
    """
    scores = {name: score(network, group).double().cpu() for name, group in network.groups.items()}
    if savings is None:
        counts = {name: (1 - fraction) * group.channels for name, group in network.groups.items()}
    else:
        least = max(savings[name] for name in scores) / 1000
        ranked = {name: values / (max(median(values.tolist()), 1e-30) * max(savings[name], least))
                  for name, values in scores.items()}  # fmt: skip
        every, order = torch.cat(list(ranked.values())).sort(stable=True)
        saved = torch.cat([torch.full_like(values, savings[name]) for name, values in ranked.items()])[order].cumsum(0)
        gone = int((saved <= fraction * saved[-1]).sum()) if fraction else 0
        threshold = every[gone] if gone < len(every) else torch.inf
        counts = {name: float((values >= threshold).sum()) for name, values in ranked.items()}
    keep = {name: _best(values, counts[name], granularity) for name, values in scores.items()}
    if fraction and all(len(places) == network.groups[name].channels for name, places in keep.items()):
        raise QuantError(
            f"fraction={fraction:g} removes no channel, as those that remain are multiples of "
            f"{granularity or '8 or 4'}: give a larger fraction, or a smaller granularity (1)",
            status=2,
        )
    return keep


def _best(scores: torch.Tensor, count: float, granularity: int) -> torch.Tensor:
    channels = len(scores)
    step = min(channels, granularity or (8 if channels > 32 else 4))
    kept = min(channels, step * max(1, int(count / step + 0.5)))
    return torch.argsort(scores, descending=True, stable=True)[:kept].sort().values


def channel_savings(
    model: Network, cost: CostModel, by: str = "lut", *, fraction: float = 0.5, layers: Layers = None
) -> dict[str, float]:
    """Returns for each group of channels what one channel less saves in all layers that make, pass or read it.

    ``by`` is a part of the cost, "lut", "ff", "bram", "dsp", "cycles" or "rom_bits". It is the difference between the
    network's layers and those with ``fraction`` of the group's channels less, over the number of these; below 2 % of a
    layer's cost, which no estimate tells from nothing, it counts as 0.

    Raises QuantError (status 2) for layers of floating-point numbers, and where no channel saves anything.
    """
    network = Removable.of(model, layers)
    involved = {
        name: list(dict.fromkeys((*group.producers, *group.depthwise, *group.readers)))
        for name, group in network.groups.items()
    }
    sizes = cost_inputs(model, sorted({layer for every in involved.values() for layer in every}))
    found = {}
    for name, group in network.groups.items():
        less = min(group.channels - 1, max(1, round(fraction * group.channels)))
        saved = 0.0
        for layer in involved[name]:
            shape, bits = sizes[layer]
            dense, narrow = (
                getattr(cost(each, bits), by) for each in (shape, _narrower(network, group, layer, shape, less))
            )
            saved += dense - narrow if dense - narrow >= LEAST * dense else 0
        found[name] = saved / less
    if not any(found.values()):
        raise QuantError(f"fewer channels save no {by} there: take another rate, or slim by size", status=2)
    return found


def _narrower(network: Removable, group: Group, layer: str, shape: LayerShape, less: int) -> LayerShape:
    if layer in group.depthwise:
        left = shape.groups - less
        return replace(shape, inputs=left, outputs=left, groups=left if left > 1 else 1)
    outputs = shape.outputs - (less if layer in group.producers else 0)
    parts = network.channels.places(layer, group)
    inputs = shape.inputs - sum(part.positions for _, part in parts) * less
    return replace(shape, inputs=inputs, outputs=outputs)
