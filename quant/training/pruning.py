"""Pruning while a network is trained."""

from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from quant.compression.pruning import hardware_factors, magnitude
from quant.compression.regularizers import BIASES, shrink
from quant.compression.saving import savings
from quant.compression.selection import check_fractions, check_prunable, mask_of, prune_layers
from quant.compression.structures import from_matrix, to_matrix
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

    Raises QuantError (status 2) for layers that cannot be pruned, or not that much.
    """

    def __init__(self, model: torch.nn.Module, settings: Pruning, savings: dict[str, float] | None = None) -> None:
        self.settings, self.savings = settings, savings
        self.jointly = settings.jointly or savings is not None
        self.structure = structure(settings.structure)
        self.layers = find_layers(model, settings.layers)
        for name, layer in self.layers.items():
            check_prunable(name, layer, self.structure)
        for layer in self.layers.values():
            mask_of(layer)
        # A fraction that leaves an output without an input is refused now, not in the middle of the training.
        scores = {name: magnitude(name, layer) for name, layer in self.layers.items()}
        shares = dict.fromkeys(self.layers, settings.target)
        check_fractions(self.layers, scores, shares, self.structure, self.jointly)
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
            for name, layer in self.layers.items():
                if not bool(torch.isfinite(latent_of(layer)).all()):
                    rate = trainer.lightning_module.rates[0]
                    raise QuantError(
                        f"the training diverged: layer {name} has weights that are not finite after step "
                        f"{trainer.global_step}; give a smaller learning rate than {rate:g}"
                    )
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
        together = [self.layers] if self.jointly else [{name: layer} for name, layer in self.layers.items()]
        for group in together:
            prune_layers(group, scores, fraction, self.structure, hardware_factors(scores, self.savings))


class GroupLasso(Callback):
    """The proximal step of a group lasso after each step, until the pruning ends (``quant.compression.shrink``).

    ``amount`` is the learning rate of the layer's weights times ``strength``. Groups that become zero stay so, as in
    the other pruning: their mask is cleared.
    """

    def __init__(self, pruning: GradualPruning, strength: float) -> None:
        self.pruning, self.strength = pruning, strength

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step > self.pruning.end:
            return
        rates = {id(weight): group["lr"] for group in trainer.optimizers[0].param_groups for weight in group["params"]}
        for layer in self.pruning.layers.values():
            latent, mask = latent_of(layer), mask_of(layer)
            matrix = to_matrix(latent * mask)
            shrunk, kept = shrink(matrix, self.pruning.structure, rates[id(latent)] * self.strength)
            latent.copy_(from_matrix(shrunk, latent.shape))
            mask.logical_and_(from_matrix(kept, latent.shape))


class BiasedDecay(Callback):
    """Adds ``rate * sum B(w)`` of a biased weight decay (``quant.compression.BIASES``) to the loss, until the pruning
    ends."""

    def __init__(self, pruning: GradualPruning, bias: str, rate: float, curve: float) -> None:
        self.pruning, self.bias, self.rate, self.curve = pruning, BIASES[bias], rate, curve

    def on_after_backward(self, trainer: Any, _module: Any) -> None:
        if trainer.global_step < self.pruning.end:
            for layer in self.pruning.layers.values():
                (self.rate * self.bias(latent_of(layer), self.curve).sum()).backward()


def pruning_callbacks(model: Network, settings: Pruning, savings: dict[str, float] | None) -> list[Any]:
    """Returns the callbacks of ``settings``; the first one is the ``GradualPruning``.

    Raises QuantError (status 2) for layers that cannot be pruned.
    """
    pruning = GradualPruning(model, settings, savings)
    made: list[Any] = [pruning]
    if settings.lasso:
        made.append(GroupLasso(pruning, settings.lasso))
    if settings.decay is not None:
        made.append(BiasedDecay(pruning, settings.decay, settings.decay_rate, settings.decay_curve))
    return made
