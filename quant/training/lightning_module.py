"""The Lightning module: training step, optimizer, the schemes' training rules, and the record of every epoch."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from torch.nn import functional

from quant.distillation.guide import Guide
from quant.errors import QuantError
from quant.lookup.tables import TableLayer
from quant.models.network import Network, load_parameters
from quant.quantizers.glorot import glorot_bound
from quant.schemes.scheme import Scheme
from quant.training.batches import Batches
from quant.training.callbacks import KeepBest
from quant.training.objective import Objective
from quant.training.scale_statistics import restore_statistics, statistics_of


def squared_hinge(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Returns the mean of ``max(0, 1 - t * logit)**2`` over (N, classes); t is +1 for the label's class, else -1.

    ``weight`` (classes,) is that of each sample by its label; the mean is then the weighted one, as of torch's
    cross_entropy.
    """
    targets = 2.0 * functional.one_hot(labels, logits.shape[1]) - 1.0
    terms = torch.clamp(1.0 - targets * logits, min=0).square()
    if weight is None:
        return terms.mean()
    return (terms.mean(1) * weight[labels]).sum() / weight[labels].sum()


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": functional.cross_entropy,
    "squared_hinge": squared_hinge,
}


def glorot_factor(weight: torch.Tensor) -> float:
    """Returns BinaryConnect's learning-rate factor of a weight (out, in, *kernel).

    It is ``1 / sqrt(1.5 / (fan_in + fan_out))``.
    """
    return 1.0 / glorot_bound(weight)


def scheme_layers(model: torch.nn.Module) -> dict[Scheme, list[Any]]:
    """Returns the linear, convolution and table layers of each scheme in the model, in order.

    Layers of Brevitas itself, of a network of a user's own, have no scheme.
    """
    found: dict[Scheme, list[Any]] = {}
    for module in model.modules():
        if isinstance(module, QuantWeightBiasInputOutputLayer | TableLayer) and hasattr(module, "scheme"):
            found.setdefault(module.scheme, []).append(module)
    return found


def parameter_groups(model: torch.nn.Module, learning_rate: float) -> list[dict[str, Any]]:
    """Returns the optimizer's groups: a weight has its own learning rate if its scheme requires one.

    It is Glorot-scaled, or has the factor ``Scheme.rate_factor``, which what the weight's quantizer learns has, too.

    The values of tied weights are a group as well. ``places`` is the mean number of weights that a parameter's gradient
    is the sum over.
    """
    groups = []
    for scheme, layers in scheme_layers(model).items():
        for layer in layers:
            if isinstance(layer, TableLayer):
                continue
            trained, weight = layer.trained_weight, layer.weight
            factor = glorot_factor(weight) if scheme.glorot_lr else scheme.rate_factor(weight)
            if scheme.glorot_lr or factor != 1 or trained.shape != weight.shape:
                places = weight.numel() / trained.numel()
                groups.append({"params": [trained], "lr": learning_rate * factor, "places": places})
            learned = [p for p in layer.weight_quant.parameters() if p is not trained and p is not weight]
            if learned and not scheme.glorot_lr and factor != 1:
                groups.append({"params": learned, "lr": learning_rate * factor, "places": 1.0})
    apart = {id(each) for group in groups for each in group["params"]}
    rest = [p for p in model.parameters() if id(p) not in apart]
    groups.append({"params": rest, "lr": learning_rate, "places": 1.0})
    return groups


@dataclass(frozen=True)
class Epoch:
    """Results of one epoch: means over its batches, in training mode and with augmented images.

    Only ``validation_accuracy`` is measured on the validation part, in eval mode; for numbers (``quant.data.Task``) it
    is ``validation_loss``, and there are no accuracies. ``flip_ratio`` is the fraction of the
    weights' integer codes that the epoch changed (None if no weight is quantized). If it does not fall to about 0 at
    the end, the last learning rate should be lower.
    """

    epoch: int
    loss: float
    train_accuracy: float | None
    validation_accuracy: float | None
    learning_rate: float
    flip_ratio: float | None
    validation_loss: float | None = None


class Training(lightning.LightningModule):
    """The training step, optimizer and schedule of one model, the schemes' rules, and the record of the epochs."""

    def __init__(
        self,
        model: Network,
        objective: Objective,
        rates: tuple[float, float],
        epochs: int,
        batches: Batches,
        request: Mapping[str, Any],
        guide: Guide | None = None,
        best: KeepBest | None = None,
    ) -> None:
        super().__init__()
        self.model, self.rates, self.epochs, self.batches = model, rates, epochs, batches
        self.objective, self.guide, self.best = objective, guide, best
        self.request = json.dumps(request)
        self.schemes = scheme_layers(model)
        self.auxiliaries: list[Any] = [m for m in model.modules() if hasattr(m, "auxiliary_loss")]
        self.history: list[Epoch] = []
        self.random_state: dict[str, Any] | None = None
        self.statistics: dict[str, dict[str, Any]] = {}

    def on_train_start(self) -> None:
        self.model.train()  # one that was loaded is in eval mode, and Lightning leaves modes as they are
        self.codes = weight_codes(self.schemes)
        self.sums = torch.zeros(2, device=self.device)  # of the batches' losses and of hits
        if self.random_state is not None:
            set_random_state(self.random_state, self.trainer.global_rank)

    def on_train_batch_start(self, _batch: Any, index: int) -> None:
        if index == 0:
            self.sums.zero_()
            factor = self.rate(self.current_epoch) / self.rates[0]
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = group["first_lr"] * factor

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x, y = batch
        logits = self.model(x)
        loss = self.objective.loss(logits, x, y)
        if self.guide is not None:
            loss = self.guide(logits, x, y, loss, self.current_epoch)
        for layer in self.auxiliaries:
            loss = loss + layer.auxiliary_loss(self.objective.loss_function, y)
        self.sums += torch.stack((loss.detach(), self.objective.hits(logits, y)))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        for scheme, layers in self.schemes.items():
            scheme.before_step(layers, optimizer)

    def on_train_batch_end(self, *_: Any) -> None:
        for scheme, layers in self.schemes.items():
            scheme.after_step(layers, self.trainer.optimizers[0])
        if self.trainer.world_size > 1:
            # Values that quantizers measure (an initial scale) must be equal in all processes. They are small.
            hand_out([p.data for p in self.model.parameters() if p.dim() <= 1])

    def on_train_epoch_end(self) -> None:
        codes = weight_codes(self.schemes)
        flips = sum(int((a != b).sum()) for a, b in zip(codes, self.codes, strict=True))
        count = sum(code.numel() for code in codes)
        self.codes = codes
        loss, hits = (self.trainer.strategy.reduce(self.sums, reduce_op="sum") / len(self.batches)).tolist()
        epoch, classes = self.current_epoch, self.objective.task == "classification"
        if not math.isfinite(loss):
            raise QuantError(
                f"the training diverged: the loss of epoch {epoch + 1} is {loss}; give a smaller learning rate than "
                f"{self.rates[0]:g}"
            )
        if (bad := self._not_finite()) is not None:  # from the last step, which no loss has shown
            raise QuantError(
                f"the training diverged: {bad} has numbers that are not finite after epoch {epoch + 1}; give a smaller "
                f"learning rate than {self.rates[0]:g}, or a network of fewer or wider layers, whose gradients do not "
                "overflow"
            )
        self.history.append(
            Epoch(
                epoch=epoch + 1,
                loss=loss / self.trainer.world_size,
                train_accuracy=hits / self.batches.size if classes else None,
                validation_accuracy=self.best.latest if self.best is not None and classes else None,
                validation_loss=None if self.best is None or classes else -self.best.latest,
                learning_rate=self.rate(epoch),
                flip_ratio=flips / count if count else None,
            )
        )
        if self.logger is not None:
            figures = {name: value for name, value in vars(self.history[-1]).items() if value is not None}
            self.logger.log_metrics(figures, step=epoch)

    def _not_finite(self) -> str | None:
        """The name of a parameter with numbers that are not finite."""
        return next((name for name, each in self.model.named_parameters() if not bool(each.isfinite().all())), None)

    def rate(self, epoch: int) -> float:
        """Returns the learning rate of an epoch, counted from 0: a half cosine from the first to the last rate."""
        first, last = self.rates
        done = min(1.0, epoch / max(1, self.epochs - 1))
        return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * done))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = parameter_groups(self.model, self.rates[0])
        if self.guide is not None and (apart := list(self.guide.comparisons.parameters())):
            groups.append({"params": apart, "lr": self.rates[0], "places": 1.0})
        optimizer = self.model.scheme.optimizer(groups)
        for group in optimizer.param_groups:
            if isinstance(optimizer, torch.optim.SGD):  # Adam's steps do not depend on the size of the gradients
                group["lr"] /= group["places"]
            group["first_lr"] = group["lr"]
        return optimizer

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        load_parameters(self, state_dict)
        restore_statistics(self, self.statistics)  # those of the loaded checkpoint

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["bitfabric"] = {
            "request": self.request,
            "history": [vars(epoch) for epoch in self.history],
            "order": self.batches.order.get_state(),
            "random": random_states(),
            "statistics": statistics_of(self),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint["bitfabric"]
        self.history = [Epoch(**epoch) for epoch in saved["history"]]
        self.batches.order.set_state(saved["order"])
        self.random_state = saved["random"]
        self.statistics = saved["statistics"]


@torch.no_grad()
def weight_codes(schemes: Mapping[Scheme, list[Any]]) -> list[torch.Tensor]:
    """Returns the integers of every quantized weight and table, as at inference, without the randomness of training."""
    found = []
    for layer in (layer for layers in schemes.values() for layer in layers):
        if isinstance(layer, TableLayer):
            found.append(layer.codes())
            continue
        proxy = layer.weight_quant
        if proxy.is_quant_enabled:
            training = proxy.training
            proxy.eval()
            values, scale = proxy.tensor_quant(layer.weight)[:2]
            proxy.train(training)
            found.append((values / scale).round_().to(torch.int16))
    return found


def random_states() -> list[dict[str, Any]]:
    """Returns torch's random state in every process of this training."""
    own = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}
    if not torch.distributed.is_initialized():
        return [own]
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, own)
    return states


def set_random_state(states: Any, rank: int) -> None:
    state = states[rank % len(states)]
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@torch.no_grad()
def hand_out(tensors: list[torch.Tensor]) -> None:
    """Broadcasts the first process's values to all others, in place, with one transfer per data type."""
    for kind in dict.fromkeys(tensor.dtype for tensor in tensors):  # in the same order in all processes
        same = [tensor for tensor in tensors if tensor.dtype == kind]
        joined = torch.cat([tensor.flatten() for tensor in same])
        torch.distributed.broadcast(joined, 0)
        for tensor, values in zip(same, joined.split([tensor.numel() for tensor in same]), strict=True):
            tensor.copy_(values.view_as(tensor))
