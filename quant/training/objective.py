"""What a training minimizes and what it measures, by task."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.nn import functional

from quant.data.choices import Task
from quant.metrics import accuracy
from quant.scores import scores

NUMBER_LOSSES: dict[str, Callable[..., torch.Tensor]] = {"mse": functional.mse_loss, "huber": functional.huber_loss}
"""Losses of regression and reconstruction, of errors in parts of ``scale``."""


class Objective:
    """The loss of a task, and how good a network is at it.

    ``loss`` maps outputs (N, K) and targets to a scalar. ``scale`` (K,) is that of the numbers of a regression or
    reconstruction: a loss sees ``outputs / scale`` and ``targets / scale``, so that all numbers count alike.
    """

    def __init__(self, task: Task, loss: Callable[..., torch.Tensor], scale: torch.Tensor | None = None) -> None:
        self.task, self.loss_function, self.scale = task, loss, scale

    def loss(self, outputs: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The loss of a batch; x are the inputs."""
        if self.task == "classification":
            return self.loss_function(outputs, y)
        wanted = x.flatten(1) if self.task == "reconstruction" else y
        assert self.scale is not None
        return self.loss_function(outputs / self.scale, wanted / self.scale)

    def hits(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The number of samples of a batch that get their class; 0 for other tasks."""
        if self.task != "classification":
            return outputs.new_zeros(())
        return (outputs.argmax(1) == y).sum()

    @torch.no_grad()
    def quality(self, model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
        """The accuracy of a network in eval mode, or its loss with the sign changed: the larger, the better."""
        if self.task == "classification":
            return accuracy(model, x, y)
        training = model.training
        model.eval()
        total = 0.0
        for part, target in zip(x.split(4096), y.split(4096), strict=True):
            total += float(self.loss(model(part.float()), part.float(), target)) * len(part)
        model.train(training)
        return -total / len(x)

    def figures(self, model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        """The figures of the task (``quant.scores``)."""
        return figures(model, self.task, x, y, self.scale)


@torch.no_grad()
def figures(
    model: torch.nn.Module, task: Task, x: torch.Tensor, y: torch.Tensor, scale: torch.Tensor | None
) -> dict[str, float]:
    """The figures of a task (``quant.scores``) for a network in eval mode."""
    training = model.training
    model.eval()
    outputs = torch.cat([model(part.float()) for part in x.split(4096)])
    model.train(training)
    frames, wanted = (each.cpu().numpy() for each in (x, y))
    return scores(task, outputs.cpu().numpy(), wanted, frames, 1.0 if scale is None else np.asarray(scale.cpu()))


def make_objective(
    task: Task,
    loss: Callable[..., torch.Tensor],
    weight: torch.Tensor | None,
    smoothing: float,
    scale: torch.Tensor | None,
) -> Objective:
    """Returns the objective of a task: ``weight`` are those of classes, ``smoothing`` that of their labels."""
    if task == "classification":
        loss = partial(loss, weight=weight)
        if smoothing:
            loss = partial(loss, label_smoothing=smoothing)
    return Objective(task, loss, scale)
