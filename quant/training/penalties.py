"""Penalties on channels during a training, which make them superfluous (``quant.Slimming``)."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from quant.compression.channels import Group
from quant.compression.criteria import Removable, channel_savings
from quant.compression.weights import bit_width_of, latent_of
from quant.cost import CostModel
from quant.errors import QuantError
from quant.models.network import Network
from quant.training.config import Slimming

STRENGTHS: Mapping[str, float] = {"slimming": 1e-3, "structured": 0.1, "less-is-more": 0.1, "neurons": 0.02}
"""The penalties' strengths where the settings have none."""


class GammaPenalty(Callback):
    """Adds ``strength * sum |gamma|`` of the BatchNorms behind the channels to the loss: its subgradient is added to
    the gradients (Liu et al. 2017, and the authors' code).

    ``strengths`` has one for each group, by name.
    """

    def __init__(self, network: Removable, strengths: Mapping[str, float]) -> None:
        self.norms = [
            (network.norms[name], strengths[group.name])
            for group in network.groups.values()
            for name in group.norms
            if network.norms[name].weight is not None
        ]
        if not self.norms:
            raise QuantError(
                "penalty slimming needs BatchNorm with scales behind the channels: take penalty less-is-more", status=2
            )

    def on_after_backward(self, *_: Any) -> None:
        for norm, strength in self.norms:
            norm.weight.grad.add_(norm.weight.detach().sign(), alpha=strength)


class GroupPenalty(Callback):
    """The proximal step of a group lasso over channels, after each step of the optimizer.

    The amount is the learning rate of the weights times the group's strength (``strengths``, by name).

    - "less-is-more": a channel's group are its filters, the weights of all layers that make it.
    - "structured": these, and then the weights of all layers that read it. (The two overlap, so the second step
      follows the first one.)
    - "neurons": as the first, with the factor ``(1 - mixture) * sqrt(P)`` of P weights, after each weight has shrunk by
      ``mixture`` times the amount (the sparse group lasso).
    """

    def __init__(self, network: Removable, kind: str, strengths: Mapping[str, float], mixture: float) -> None:
        for group in network.groups.values():
            for name in group.producers:
                if bit_width_of(network.layers[name]) == 1:
                    raise QuantError(
                        f"layer {name} has 1-bit weights, which no lasso can make smaller: take penalty slimming",
                        status=2,
                    )
        self.network, self.kind, self.strengths, self.mixture = network, kind, strengths, mixture

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        rates = {id(weight): group["lr"] for group in trainer.optimizers[0].param_groups for weight in group["params"]}
        for name, group in self.network.groups.items():
            self.shrink(group, rates[id(latent_of(self.network.layers[name]))] * self.strengths[name])

    def shrink(self, group: Group, amount: float) -> None:
        """The step for one group of channels, in place."""
        made = [latent_of(self.network.layers[name]).data.flatten(1) for name in group.producers]  # views
        if self.kind == "neurons":
            for rows in made:
                rows.copy_(rows.sign() * (rows.abs() - self.mixture * amount).clamp(min=0))
            amount *= (1 - self.mixture) * sum(rows.shape[1] for rows in made) ** 0.5
        shrink_channels(made, amount)
        if self.kind == "structured":
            shrink_channels(list(self._readers(group)), amount)

    def _readers(self, group: Group) -> Iterator[torch.Tensor]:
        """Views of the weights that read the channels, (channels, outputs, positions)."""
        for name in group.readers:
            weight = latent_of(self.network.layers[name]).data
            for start, part in self.network.channels.places(name, group):
                yield weight[:, start : start + part.size].view(len(weight), part.channels, -1).transpose(0, 1)


def shrink_channels(parts: list[torch.Tensor], amount: float) -> None:
    """For each channel n, ``v <- v * max(0, 1 - amount / ||v||)``, where v are all weights ``part[n]``; in place.

    This is the proximal operator of ``amount * sum_n ||v_n||``. The largest channel is left as it was where all would
    become 0.

    Zhou, Alvarez, Porikli, "Less is more: towards compact CNNs", ECCV 2016; Wen, Wu, Wang, Chen, Li, "Learning
    structured sparsity in deep neural networks", NIPS 2016; Alvarez, Salzmann, "Learning the number of neurons in deep
    networks", NIPS 2016.
    """
    if not parts:
        return
    norms = torch.stack([part.square().flatten(1).sum(1) for part in parts]).sum(0).sqrt()
    factors = (1.0 - amount / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(min=0)
    if not factors.any():
        factors[norms.argmax()] = 1.0
    for part in parts:
        part.mul_(factors.view(-1, *[1] * (part.dim() - 1)))


def penalty_of(model: Network, settings: Slimming, savings: Mapping[str, float] | None) -> Callback:
    """Returns the callback of ``settings``; ``savings`` are those of ``quant.compression.channel_savings``."""
    network = Removable.of(model, settings.layers)
    strength = STRENGTHS[settings.penalty] if settings.strength is None else settings.strength
    mean = 1.0 if savings is None else sum(savings[name] for name in network.groups) / len(network.groups)
    strengths = {name: strength * (1.0 if savings is None else savings[name] / mean) for name in network.groups}
    if settings.penalty == "slimming":
        return GammaPenalty(network, strengths)
    return GroupPenalty(network, settings.penalty, strengths, settings.mixture)


def penalty_savings(model: Network, settings: Slimming, cost: CostModel | None) -> dict[str, float] | None:
    """Returns what a channel of each group saves; None where it does not matter.

    Raises QuantError (status 2) where the settings need a cost model and there is none.
    """
    if settings.by == "size":
        return None
    if cost is None:
        raise QuantError(
            f"a penalty by {settings.by} needs a cost model: cost=flows.cost.HardwareCost(device)", status=2
        )
    return channel_savings(model, cost, settings.by, layers=settings.layers)
