"""Glorot's bound of a layer's weights, which several binary schemes use as a scale, a clip or a learning rate."""

import math
from collections.abc import Iterable
from typing import Any

import torch


def glorot_bound(weight: torch.Tensor) -> float:
    """``sqrt(1.5 / (fan_in + fan_out))`` of a weight (out, in, *kernel); each fan counts the kernel's positions."""
    receptive = math.prod(weight.shape[2:])
    return math.sqrt(1.5 / ((weight.shape[0] + weight.shape[1]) * receptive))


@torch.no_grad()
def clip_to_glorot_bound(layers: Iterable[Any]) -> None:
    """Clips the latent weights of each layer to plus or minus its own bound."""
    for layer in layers:
        bound = glorot_bound(layer.weight)
        layer.weight.clamp_(-bound, bound)
