"""Training on Lightning: ``fit`` for a model in memory, ``train_run`` for a run folder."""

import logging
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch.nn import functional

from quant.data import DataSet, stratified
from quant.errors import QuantError
from quant.models.network import Network

LOSSES = ("cross_entropy", "squared_hinge")


def squared_hinge(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean of ``max(0, 1 - t * logit)**2`` over (N, classes), t = +1 for the label's class and -1 for the others."""
    targets = 2.0 * functional.one_hot(labels, logits.shape[1]) - 1.0
    return torch.clamp(1.0 - targets * logits, min=0).square().mean()


def glorot_factor(weight: torch.Tensor) -> float:
    """BinaryConnect's learning-rate factor of a weight (out, in, *kernel): ``1 / sqrt(1.5 / (fan_in + fan_out))``."""
    receptive = math.prod(weight.shape[2:])
    return 1.0 / math.sqrt(1.5 / ((weight.shape[0] + weight.shape[1]) * receptive))


def quantized_weights(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The latent weights of all quantized linear and convolution layers."""
    from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer

    return [m.weight for m in model.modules() if isinstance(m, QuantWeightBiasInputOutputLayer)]


def parameter_groups(model: Network, learning_rate: float) -> list[dict[str, Any]]:
    """Optimizer groups: where the scheme asks for it each quantized weight has its own, Glorot-scaled, rate."""
    scaled = quantized_weights(model) if model.scheme.glorot_lr else []
    groups = [{"params": [w], "lr": learning_rate * glorot_factor(w)} for w in scaled]
    apart = {id(w) for w in scaled}
    groups.append({"params": [p for p in model.parameters() if id(p) not in apart], "lr": learning_rate})
    return groups


@torch.no_grad()
def clip_weights(model: Network) -> None:
    """Clips the latent weights to [-limit, limit] where the scheme has a limit (BinaryConnect, after each update)."""
    limit = model.scheme.weight_limit
    if limit is not None:
        for weight in quantized_weights(model):
            weight.clamp_(-limit, limit)
