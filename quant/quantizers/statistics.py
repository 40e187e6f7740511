"""Re-estimates BatchNorm's statistics for inference, if training used different (random) weights."""

from collections.abc import Iterable

import torch
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def reestimate_batch_norm(model: torch.nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Sets the statistics of every BatchNorm to their averages over ``batches`` of inputs.

    All other modules are in eval mode meanwhile, so that random weights take their deterministic values. Each BatchNorm
    normalizes with the statistics of the current batch, so one pass updates all layers. The means and variances
    (torch's unbiased ones) are averaged with equal weights. Modes and momenta are restored afterwards.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return
    training = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    model.eval()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch then computes the cumulative average
            norm.train()
        for batch in batches:
            model(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in training.items():
            module.training = mode
