"""Hidden neurons of a network: which layer makes them, what folds into its rows, and which layer reads them."""

import copy
from dataclasses import dataclass
from typing import Any

import torch

from quant.compression.channels import channels_of
from quant.compression.weights import Layer, find_layers, weight_of


@dataclass(frozen=True)
class Hidden:
    """The neurons (channels) between two layers, with one activation function and quantizer for all of them.

    ``positions`` inputs of ``consumer`` belong to each neuron: more than 1 where an image is flattened. ``norm`` is the
    BatchNorm in between, or None.
    """

    name: str
    producer: Layer
    consumer: Layer
    norm: Any
    positions: int

    @property
    def neurons(self) -> int:
        """The number of neurons."""
        return len(self.producer.weight)

    def rows(self) -> torch.Tensor:
        """Returns the producer's rows (neurons, inputs + 1) with BatchNorm folded in; the last column is the shift."""
        weight = weight_of(self.producer).flatten(1).double()
        bias = self.producer.bias
        shift = weight.new_zeros(len(weight)) if bias is None else bias.detach().double()
        if self.norm is not None:  # an affine function of each channel
            norm = copy.deepcopy(self.norm).double().eval()
            ends = torch.stack([torch.zeros_like(shift), torch.ones_like(shift)])
            with torch.no_grad():
                zero, one = norm(ends[:, :, None, None] if isinstance(norm, torch.nn.BatchNorm2d) else ends).flatten(1)
            weight, shift = weight * (one - zero)[:, None], shift * (one - zero) + zero
        return torch.cat([weight, shift[:, None]], 1)

    def columns(self, weight: torch.Tensor) -> torch.Tensor:
        """Views the consumer's weight as (outputs, neurons, positions and kernel positions)."""
        return weight.reshape(weight.shape[0], len(self.producer.weight), -1)


def hidden_neurons(model: torch.nn.Module, frame: torch.Tensor) -> list[Hidden]:
    """Returns the groups of neurons that only one further layer reads; it runs ``frame`` (1, *input_shape).

    Between the two layers are at most a BatchNorm, an activation, pools and a flatten. What a sum, a concatenation or
    two layers read is left out, as are layers in groups and those that run more than once.
    """
    layers, found = find_layers(model), channels_of(model, frame)
    hidden = []
    for group in found.groups():
        if group.fixed or group.joined or group.uneven or group.depthwise:
            continue
        if len(group.readers) == 1 and len(group.norms) <= 1:
            [reader] = group.readers
            [part] = found.inputs[reader]
            norm = dict(model.named_modules())[group.norms[0]] if group.norms else None
            hidden.append(Hidden(group.name, layers[group.name], layers[reader], norm, part.positions))
    return hidden
