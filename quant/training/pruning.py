"""Pruning while a network is trained."""

from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from quant.compression.pruning import hardware_factors, magnitude
from quant.compression.saving import savings
from quant.compression.selection import check_prunable, mask_of, prune_layers
from quant.compression.weights import compression_of, find_layers, latent_of
from quant.cost import CostModel
from quant.errors import QuantError
from quant.models.network import Network
from quant.structure import structure
from quant.training.config import Pruning


def cubic(fraction: float, done: float) -> float:
    """Returns Zhu and Gupta's sparsity after the share ``done`` (0 to 1) of the schedule: ``f (1 - (1 - done)^3)``."""
    return fraction * (1.0 - (1.0 - done) ** 3)


def hardware_savings(model: Network, settings: Pruning, cost: CostModel | None) -> dict[str, float] | None:
    """Returns what a weight of each layer saves (``quant.compression.savings``); None where it does not matter.

    Raises QuantError (status 2) where the settings need a cost model and there is none.
    """
    if settings.by == "size":
        return None
    if cost is None:
        raise QuantError(
            f"pruning by {settings.by} needs a cost model: cost=flows.cost.HardwareCost(device), or --target", status=2
        )
    kind = structure(settings.structure)
    for name, layer in find_layers(model, settings.layers).items():
        check_prunable(name, layer, kind)
    return savings(model, cost, settings.by, fraction=settings.target, structure=kind, layers=settings.layers)


class GradualPruning(Callback):
    """Prunes a model's layers on the schedule of ``Pruning``.

    Each chosen layer has a mask from the beginning, in front of its quantizer, so zeros are zeros of every grid and the
    quantizer's gradient passes to the weights that remain. The masks are part of the model's state and of every
    checkpoint, and the schedule follows from the number of the step; so a resumed training equals an uninterrupted one.

    Raises QuantError (status 2) for layers that cannot be pruned.
    """

    def __init__(self, model: torch.nn.Module, settings: Pruning, savings: dict[str, float] | None = None) -> None:
        self.settings, self.savings = settings, savings
        self.structure = structure(settings.structure)
        self.layers = find_layers(model, settings.layers)
        for name, layer in self.layers.items():
            check_prunable(name, layer, self.structure)
        for layer in self.layers.values():
            mask_of(layer)
        self.begin = self.end = 0

    def plan(self, steps: int) -> int:
        """Sets the schedule of a training of ``steps`` steps; returns the step after which all pruning is done."""
        self.begin = int(self.settings.begin * steps)
        self.end = max(self.begin + 1, round(self.settings.end * steps))
        self.every = self.settings.every or max(1, (self.end - self.begin) // 100)
        return self.end

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        step = trainer.global_step - self.begin
        span = self.end - self.begin
        if step == span or (0 < step < span and step % self.every == 0):
            self.prune(cubic(self.settings.target, step / span))

    @torch.no_grad()
    def prune(self, fraction: float) -> None:
        """Prunes the layers until ``fraction`` of the weights is zero."""
        scores = {}
        for name, layer in self.layers.items():
            form, latent = compression_of(layer), latent_of(layer)
            assert form is not None
            latent.copy_(form(latent))  # an optimizer's momentum moves pruned weights
            scores[name] = magnitude(name, layer)
        if self.settings.jointly or self.savings is not None:
            prune_layers(self.layers, scores, fraction, self.structure, hardware_factors(scores, self.savings))
        else:
            for name, layer in self.layers.items():
                prune_layers({name: layer}, scores, fraction, self.structure)
