"""Measures of a model: accuracy, and what it costs layer by layer."""

from dataclasses import dataclass

import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer

from quant.models.network import Network


@torch.no_grad()
def accuracy(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, batch_size: int = 4096) -> float:
    """Fraction of inputs x (N, ...) whose largest logit is at the label y (N,); in eval mode, which is undone after."""
    training = model.training
    model.eval()
    hits = sum(
        int((model(part).argmax(1) == label).sum())
        for part, label in zip(x.split(batch_size), y.split(batch_size), strict=True)
    )
    model.train(training)
    return hits / len(y)


@dataclass(frozen=True)
class LayerSummary:
    """One layer: its module's name, bits of a weight, number of weights, their memory in bits, and MACs a frame."""

    name: str
    weight_bits: int
    weights: int
    memory_bits: int
    macs: int


@torch.no_grad()
def summary(model: Network) -> list[LayerSummary]:
    """A row for each quantized linear or convolution layer, in the order in which the network runs them."""
    rows: list[LayerSummary] = []
    names = {module: name for name, module in model.named_modules()}

    def measure(layer, _inputs, output) -> None:  # type: ignore[no-untyped-def]
        bits = int(layer.quant_weight().bit_width)
        weights = layer.weight.numel()
        # each output element takes one row of the weight matrix
        macs = output[0].numel() * weights // layer.weight.shape[0]
        rows.append(LayerSummary(names[layer], bits, weights, bits * weights, macs))

    training = model.training
    hooks = [m.register_forward_hook(measure) for m in names if isinstance(m, QuantWeightBiasInputOutputLayer)]
    try:
        parameter = next(model.parameters())
        model.eval()(torch.zeros(1, *model.input_shape, device=parameter.device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return rows
