"""What other widths of single layers and activations would cost a trained network, without a training."""

import copy
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn import functional

from quant.compression.sensitivity import curvature
from quant.compression.weights import weight_of
from quant.errors import QuantError
from quant.layers.experts import Experts
from quant.models.network import Network
from quant.models.widths import (
    Width,
    activation_with_width,
    hidden_activations,
    present_width,
    weight_scheme,
    weighted_layers,
    with_width,
)

BATCH = 256
"""Frames that pass the network at a time."""


@dataclass(frozen=True)
class WidthEffect:
    """The effect of one layer's weights, or of one activation, at another width; all else as it is.

    ``predicted``: the growth of the mean loss by its curvature, ``1/2 sum_i h_i (w_i - Q(w_i))**2``. ``loss``: the
    measured growth of the mean cross entropy. ``accuracy``: the measured fraction of 1. ``present``: whether it is the
    width that the network has.
    """

    name: str
    kind: Literal["weights", "activation"]
    width: Width
    present: bool
    predicted: float
    loss: float
    accuracy: float


@dataclass(frozen=True)
class WidthSensitivity:
    """The ``effects`` of widths, the network's own ``loss`` and ``accuracy``, and the number of ``frames``."""

    loss: float
    accuracy: float
    frames: int
    effects: tuple[WidthEffect, ...]

    def of(self, name: str) -> dict[Width, WidthEffect]:
        """The effects of a layer or an activation by width."""
        return {each.width: each for each in self.effects if each.name == name}


def width_sensitivity(
    model: Network,
    x: torch.Tensor,
    y: torch.Tensor,
    weight_widths: Sequence[Width] = (1, 2, 3, 4, 6, 8),
    activation_widths: Sequence[int] = (2, 3, 4, 6, 8),
    *,
    curvature_frames: int = 256,
) -> WidthSensitivity:
    """Returns what each width of each layer's weights and of each hidden activation costs on inputs x (N, ...) with
    labels y (N,).

    The present widths are among the results: their effect is zero. h is the mean squared gradient of the loss of one
    frame (``curvature``), with respect to weights or to the values of the activation, over the first
    ``curvature_frames``. Dong, Yao, Gholami, Mahoney, Keutzer, "HAWQ: Hessian aware quantization of neural networks
    with mixed-precision", ICCV 2019, weigh the same error by the largest eigenvalue of each layer instead.

    Raises QuantError (status 2) for networks whose scheme has one width, without layers of a scheme, with experts,
    without frames, and for layers with pruned, shared or tied weights.
    """
    if len(x) == 0 or len(x) != len(y):
        raise QuantError(f"{len(x)} inputs with {len(y)} labels: give at least one of each", status=2)
    work = copy.deepcopy(model).eval()
    scheme = work.scheme
    if not weighted_layers(work):
        raise QuantError(
            f"{work.name} has no layers whose width could be changed: those of quant.layers have a scheme that knows "
            "other widths, tables and layers with quantizers of their own have none",
            status=2,
        )
    weight_scheme(scheme, 2)  # refuses a scheme of one width
    if experts := [name for name, each in work.named_modules() if isinstance(each, Experts)]:
        raise QuantError(
            f"layer {experts[0]} chooses one of its experts, and no gradient passes a choice: take a network without "
            "experts",
            status=2,
        )
    base_loss, base_accuracy = _measured(work, x, y)
    effects: list[WidthEffect] = []

    def add(name: str, kind: Literal["weights", "activation"], width: Width, predicted: float, made: Any) -> None:
        present = made is None
        loss, accuracy = base_loss, base_accuracy
        if not present:
            with _replaced(work, name, made):
                loss, accuracy = _measured(work, x, y)
        effects.append(WidthEffect(name, kind, width, present, predicted, loss - base_loss, accuracy))

    h = curvature(work, x, y, layers=list(weighted_layers(work)), frames=curvature_frames)
    for name, layer in weighted_layers(work).items():
        now, before = present_width(layer), weight_of(layer)
        for width in _with_present(weight_widths, now):
            made = None if width == now else with_width(layer, scheme, width)
            error = 0.0 if made is None else float((h[name] * (before - weight_of(made)).square()).sum()) / 2
            add(name, "weights", width, error, made)
    few = x[:curvature_frames], y[:curvature_frames]
    entering, squares = _at_activations(work, *few)
    for name, act in hidden_activations(work).items():
        bits = int(act.act_quant.bit_width())
        for width in (bits,) if bits == 1 else _with_present(activation_widths, bits):
            made = None if width == bits else activation_with_width(act, scheme, int(width), entering[name])
            error = 0.0
            if made is not None:
                with torch.no_grad():
                    change = (act(entering[name]) - made(entering[name])).square()
                error = float((squares[name] * change).flatten(1).sum(1).mean()) / 2
            add(name, "activation", width, error, made)
    return WidthSensitivity(base_loss, base_accuracy, len(x), tuple(effects))


def _with_present(widths: Sequence[Width], present: Width) -> list[Width]:
    """The widths and the present one, each once, in order."""
    return sorted({*widths, present}, key=lambda width: 1.6 if width == "ternary" else float(width))


@contextmanager
def _replaced(model: torch.nn.Module, name: str, module: torch.nn.Module):  # type: ignore[no-untyped-def]
    """Context in which the network has another module in a place."""
    before = model.get_submodule(name)
    model.set_submodule(name, module)
    try:
        yield
    finally:
        model.set_submodule(name, before)


@torch.no_grad()
def _measured(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    """Mean cross entropy, and the fraction of frames that are right."""
    loss, right = 0.0, 0
    for part, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
        logits = model(part)
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        right += int((logits.argmax(1) == labels).sum())
    return loss / len(x), right / len(x)


def _at_activations(
    model: Network, x: torch.Tensor, y: torch.Tensor
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """By hidden activation: the values that enter it (N, ...), and the squared gradients of each frame's own loss with
    respect to what leaves it."""
    entering: dict[str, torch.Tensor] = {}
    leaving: dict[str, torch.Tensor] = {}
    hooks = []
    for name, act in hidden_activations(model).items():

        def keep(_module: Any, inputs: Any, output: torch.Tensor, name: str = name) -> None:
            entering[name], leaving[name] = inputs[0].detach(), output
            output.retain_grad()

        hooks.append(act.register_forward_hook(keep))
    try:
        with torch.enable_grad():
            functional.cross_entropy(model(x), y, reduction="sum").backward()
    finally:
        for hook in hooks:
            hook.remove()
    return entering, {name: each.grad**2 for name, each in leaving.items() if each.grad is not None}
