"""Samples of a network's posterior by stochastic gradient Langevin dynamics, as a teacher."""

import copy

import torch
from torch.nn import functional

from quant.models.network import Network

__all__ = ["Posterior"]


class Posterior(torch.nn.Module):
    """A float network whose parameters move through their posterior: every step yields another sample.

    A step changes the parameters by ``-e/2 (n/N sum grad loss + precision theta) + sqrt(e) noise``: ``n`` samples in
    the training set, the sum over the N of a batch, a Gaussian prior, and unit noise (Welling, Teh, "Bayesian learning
    via stochastic gradient Langevin dynamics", ICML 2011, equation 4). Statistics of BatchNorm stay as trained.

    A student that learns the soft-max of every sample learns their mean, the predictive distribution (Korattikara,
    Rathod, Murphy, Welling, "Bayesian dark knowledge", NIPS 2015, algorithm 1).
    """

    def __init__(self, network: Network, samples: int, step: float = 1e-6, precision: float = 1.0) -> None:
        """``network`` is the trained teacher, which is copied; ``samples`` is n, ``step`` is e."""
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(True)
        self.samples, self.step_size, self.precision = samples, step, precision

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Moves the parameters by one step, on a batch (N, ...) with labels (N,)."""
        with torch.enable_grad():
            parameters = list(self.network.parameters())
            loss = functional.cross_entropy(self._logits(x), y)  # the mean: n times it is n/N times the sum
            gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                drift = self.samples * gradient + self.precision * parameter
                noise = torch.randn_like(parameter) * self.step_size**0.5
                parameter.add_(noise - self.step_size / 2 * drift)

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.reshape(len(x), *self.network.input_shape))

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the logits (N, classes) of the present sample."""
        return self._logits(x)
