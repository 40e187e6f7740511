"""How much each weight matters to the loss: approximations of the Hessian's diagonal."""

from typing import Any

import torch
from torch.nn import functional

from quant.compression.weights import Layers, compressing, find_layers, is_quantized, latent_of
from quant.errors import QuantError


def curvature(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, *, layers: Layers = None, frames: int = 256
) -> dict[str, torch.Tensor]:
    """Mean squared gradient of each weight, by layer name, over the first ``frames`` of inputs x (N, ...), labels y
    (N,).

    ``h = mean_n (d loss_n / d w)**2`` with the cross entropy of one frame as loss: the empirical Fisher information,
    which stands for the Hessian's diagonal at a trained network. In eval mode; the gradient is that of the weights
    that the layer computes with (of quantized weights: the integers times their scale).

    Raises QuantError (status 2) for no frames or a layer that the network does not run.
    """
    if len(x) == 0 or len(x) != len(y) or frames < 1:
        raise QuantError(f"{len(x)} inputs with {len(y)} labels, frames={frames}: give at least one of each", status=2)
    used: dict[str, torch.Tensor] = {}

    def keep(name: str):  # type: ignore[no-untyped-def]
        def hook(_quantizer: Any, _inputs: Any, output: Any) -> None:
            used[name] = output[0]

        return hook

    with compressing(model, layers) as (copy, chosen):
        for name, layer in chosen.items():
            latent_of(layer).requires_grad_(True)
            if is_quantized(layer):
                layer.weight_quant.tensor_quant.register_forward_hook(keep(name))
            else:
                used[name] = latent_of(layer)
        total: dict[str, torch.Tensor] = {}
        count = min(frames, len(x))
        for frame, label in zip(x[:count].split(1), y[:count].split(1), strict=True):
            loss = functional.cross_entropy(copy(frame), label)
            gradients = torch.autograd.grad(loss, [used[name] for name in chosen if name in used], allow_unused=True)
            for name, gradient in zip((n for n in chosen if n in used), gradients, strict=True):
                if gradient is not None:
                    total[name] = total.get(name, 0.0) + gradient.detach() ** 2
    for name in chosen:
        if name not in total:
            raise QuantError(f"the loss does not depend on layer {name}: choose other layers", status=2)
    return {name: square / count for name, square in total.items()}


def curvature_from_adam(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, layers: Layers = None, power: float = 0.5
) -> dict[str, torch.Tensor]:
    """``v ** power`` of Adam's second moments v for the latent weight of each layer, by name. It needs no
    further pass over the data.

    Adam itself scales by the square root, ``power=0.5``; ``power=1`` is the squared gradient as in ``curvature``, of
    batches. ``optimizer``: any that keeps ``exp_avg_sq``, after training ``model``.

    Raises QuantError (status 2) if it has none for a layer.
    """
    found = {}
    for name, layer in find_layers(model, layers).items():
        state = optimizer.state.get(latent_of(layer), {})
        if "exp_avg_sq" not in state:
            raise QuantError(f"the optimizer has no second moment of layer {name}: train the network with it", status=2)
        found[name] = state["exp_avg_sq"].detach() ** power
    return found
