"""Soft weight sharing: training with a mixture of Gaussians as the prior of the weights."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from quant.compression.mixture import Mixture, free_weights, joined, share_by_mixture
from quant.compression.weights import Layers, compressing, find_layers
from quant.data import DataSet, load_data
from quant.distillation.teacher import TeacherLike
from quant.errors import QuantError
from quant.models.network import Network
from quant.training.config import TrainConfig
from quant.training.loop import fit

RATES: Mapping[str, float] = {"means": 1e-4, "log_precisions": 3e-3, "log_proportions": 3e-3}
"""Adam's learning rates of the mixture's parameters."""


RATE = 5e-4
"""The learning rate of the weights."""
_STEPS = 7000


def default_epochs(data: DataSet, batch_size: int) -> int:
    """Returns 30, or as many epochs as have 7,000 steps, the number of the authors on MNIST: the mixture needs them."""
    return max(30, math.ceil(_STEPS / max(1, len(data.x_train) // batch_size)))


class MixturePrior(Callback):
    """Adds ``strength * mixture.penalty(weights)`` to the loss, and trains the mixture with its own Adam."""

    def __init__(self, model: torch.nn.Module, mixture: Mixture, strength: float, layers: Layers = None) -> None:
        self.layers, self.mixture, self.strength = find_layers(model, layers), mixture, strength
        free_weights(self.layers)  # refuses layers whose weights are not trained
        groups = [{"params": [getattr(mixture, name)], "lr": rate} for name, rate in RATES.items()]
        self.optimizer = torch.optim.Adam(groups)

    def on_train_start(self, _trainer: Any, module: Any) -> None:
        self.mixture.to(module.device)

    def on_after_backward(self, _trainer: Any, _module: Any) -> None:
        self.optimizer.zero_grad()
        (self.strength * self.mixture.penalty(joined(free_weights(self.layers)))).backward()

    def on_train_batch_end(self, *_: Any) -> None:
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {"mixture": self.mixture.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mixture.load_state_dict(state["mixture"])
        self.optimizer.load_state_dict(state["optimizer"])


def soft_sharing(
    model: Network,
    data: DataSet | str = "digits",
    config: TrainConfig | None = None,
    *,
    layers: Layers = None,
    tau: float = 0.003,
    components: int = 16,
    zero: float = 0.99,
    reach: float = 0.6,
    deviation: float = 0.25,
    teacher: TeacherLike | Sequence[TeacherLike] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> Network:
    """Returns a compressed copy: trains the weights towards a few values, most of them 0, and shares these values.

    The loss is ``CE + (tau / N) * (-sum_w log p(w) - log p(precisions))`` with N training samples, where p is a mixture
    of ``components`` Gaussians, one of them at 0 with the fixed proportion ``zero`` (``quant.compression.Mixture``,
    which explains ``reach`` and ``deviation``). Means, precisions and proportions are trained with Adam at rates of
    their own (``RATES``), together with the weights. Then each weight becomes the mean of its component
    (``share_by_mixture``). A larger ``tau`` or ``zero`` leaves fewer weights; the method has no target of its own.

    ``config``: default ``default_epochs`` at a learning rate of 5e-4 for the weights. ``teacher``, ``checkpoint``
    and ``resume`` are as in ``quant.fit``.

    Nowlan, Hinton, "Simplifying neural networks by soft weight-sharing", Neural Computation 1992. Ullrich, Meeds,
    Welling, "Soft weight-sharing for neural network compression", ICLR 2017, and the authors' code, whose values are
    the defaults here. Published: a LeNet of 99.08 % has 99.02 % with 7.43 % of its weights.

    Raises QuantError (status 2) for values out of range, and as ``fit`` and ``share_by_mixture`` do.
    """
    if not 0 < tau < math.inf:
        raise QuantError(f"tau={tau!r} is no positive number", status=2)
    data = load_data(data, 0 if config is None else config.drawn_by) if isinstance(data, str) else data
    if config is None:
        config = TrainConfig(epochs=default_epochs(data, TrainConfig.batch_size), learning_rate=(RATE, RATE))
    with compressing(model, layers) as (small, _):
        prior = MixturePrior(small, Mixture(components, zero, reach, deviation), tau / len(data.x_train), layers)
    fit(
        small, data, config,
        teacher=teacher, callbacks=[prior], checkpoint=checkpoint, resume=resume, progress=progress,
    )  # fmt: skip
    return share_by_mixture(small, prior.mixture, layers=layers)
