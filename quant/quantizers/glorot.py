"""Glorot's bound of a layer's weights: several binary schemes use it as a scale, a clip or a learning-rate factor."""

import math
from collections.abc import Iterable
from typing import Any

import torch


def glorot_bound(weight: torch.Tensor) -> float:
    """Returns ``sqrt(1.5 / (fan_in + fan_out))`` of a weight (out, in, *kernel); fans count kernel positions."""
    receptive = math.prod(weight.shape[2:])
    return math.sqrt(1.5 / ((weight.shape[0] + weight.shape[1]) * receptive))


@torch.no_grad()
def clip_to_glorot_bound(layers: Iterable[Any]) -> None:
    """Clips the latent weights of each layer to its own bound, positive and negative; in place."""
    for layer in layers:
        bound = glorot_bound(layer.weight)
        layer.trained_weight.clamp_(-bound, bound)
