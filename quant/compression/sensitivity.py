"""Sensitivity of the loss to each weight: approximations of the Hessian's diagonal."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from quant.compression.weights import Layers, compressing, find_layers, is_quantized, latent_of, weight_of
from quant.errors import QuantError
from quant.layers.experts import Experts


def curvature(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, *, layers: Layers = None, frames: int = 256
) -> dict[str, torch.Tensor]:
    """Returns the mean squared gradient of each weight, by layer name: ``h = mean_n (d loss_n / d w)**2``.

    The mean is over the first ``frames`` of the inputs x (N, ...) with labels y (N,); the loss is the cross entropy of
    one frame. This is the empirical Fisher information, which approximates the Hessian's diagonal of a trained network.
    The network runs in eval mode. The gradient is with respect to the weights that the layer computes with (for
    quantized weights: the integers times their scale).

    Raises QuantError (status 2) if there are no frames, and for layers that the loss does not depend on, as gates of
    experts, with the layers that it does depend on.
    """
    if len(x) == 0 or len(x) != len(y) or frames < 1:
        raise QuantError(f"{len(x)} inputs with {len(y)} labels, frames={frames}: give at least one of each", status=2)
    used: dict[str, torch.Tensor] = {}

    def keep(name: str):  # type: ignore[no-untyped-def]
        def hook(_quantizer: Any, _inputs: Any, output: Any) -> None:
            used[name] = output[0]

        return hook

    with compressing(model, layers, one_bit=True) as (copy, chosen):
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
    if missing := [name for name in chosen if name not in total]:
        raise _without_gradient(copy, missing, list(total))
    return {name: square / count for name, square in total.items()}


def _without_gradient(model: torch.nn.Module, missing: Sequence[str], others: Sequence[str]) -> QuantError:
    """The error for layers ``missing`` whose weights have no gradient of the loss; ``others`` have one."""
    gates = {f"{name}.gate" for name, module in model.named_modules() if isinstance(module, Experts)}
    why = " (gates choose an expert, and no gradient passes a choice)" if gates & {*missing} else ""
    layers = f"{'layer' if len(missing) == 1 else 'layers'} {', '.join(missing)}"
    remedy = f"choose other layers (--layers), as {' '.join(others)}" if others else "no other layer is chosen"
    return QuantError(f"the loss does not depend on {layers}{why}: {remedy}", status=2)


def saliency(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, *, layers: Layers = None, frames: int = 256
) -> dict[str, torch.Tensor]:
    """Returns Optimal Brain Damage's saliency of each weight, by layer name: ``h_ii * w_i**2 / 2``.

    It estimates how much the loss grows if the weight w, as the layer computes with it, becomes 0. h is ``curvature``
    of the same arguments. It is a score for ``prune``:

        s = compression.saliency(model, x, y)
        small = compression.prune(model, 0.75, score=lambda name, layer: s[name])

    LeCun, Denker, Solla, "Optimal brain damage", NIPS 1989: cut the weights of least saliency, train the rest, repeat.
    (There h is computed by a second back-propagation.)

    Raises QuantError (status 2) as ``curvature`` does.
    """
    chosen = find_layers(model, layers)
    h = curvature(model, x, y, layers=layers, frames=frames)
    return {name: 0.5 * h[name] * weight_of(layer) ** 2 for name, layer in chosen.items()}


def curvature_from_adam(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, layers: Layers = None, power: float = 0.5
) -> dict[str, torch.Tensor]:
    """Returns ``v ** power`` for each layer's latent weight, by name, where v is Adam's second moment.

    It needs no further pass over the data. ``power=0.5`` is the scaling that Adam itself uses; ``power=1`` is the
    squared gradient, as in ``curvature``, but of batches. ``optimizer`` has trained ``model`` and stores
    ``exp_avg_sq``.

    Raises QuantError (status 2) if the optimizer has no second moment for a layer.
    """
    found = {}
    for name, layer in find_layers(model, layers).items():
        state = optimizer.state.get(latent_of(layer), {})
        if "exp_avg_sq" not in state:
            raise QuantError(f"the optimizer has no second moment of layer {name}: train the network with it", status=2)
        found[name] = state["exp_avg_sq"].detach() ** power
    return found
