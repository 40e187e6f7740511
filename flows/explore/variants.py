"""The networks of equal layers that differ in the widths and the density of their weights, with one lowering."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.explore.retype import LayerWeights, Retyping
from hw.ir.graph import Graph
from hw.lowering.quantize import SHIFT_LEVELS, THRESHOLD_LEVELS
from hw.model import Model
from quant.errors import QuantError

if TYPE_CHECKING:
    import torch

    from quant.models.network import Network
    from quant.models.widths import Width

WARM_FRAMES, WARM_BATCHES = 32, 2
"""Frames a batch, and batches, that a new network sees for the ranges of its activations."""


@dataclass(frozen=True, eq=False)
class Variants:
    """A network that was lowered once, and its graphs at other widths of weights and activations.

    ``layers`` and ``activations``: the names of what may have other widths, in the network's order, with the widths
    that the network has. ``rounded(name, width)``: the layer with weights of another width.
    """

    layers: Mapping[str, "Width"]
    activations: Mapping[str, int]
    retyping: Retyping
    rounded: Callable[[str, "Width"], Any]
    _weights: dict[tuple[str, "Width", float], LayerWeights] = field(default_factory=dict, init=False)

    def graph(
        self,
        weights: Mapping[str, "Width"] | None = None,
        activations: Mapping[str, int] | None = None,
        pruned: float = 0.0,
    ) -> Graph:
        """The graph with these widths by name; what is left out is as it is.

        Of the weights of each layer of at least 2 bits, the fraction ``pruned`` of least magnitude is zero.
        """
        wanted = {**self.layers, **(weights or {})}
        return self.retyping.retyped(
            {name: self.weights(name, width, pruned) for name, width in wanted.items()},
            {**self.activations, **(activations or {})},
        )

    def weights(self, name: str, width: "Width", pruned: float = 0.0) -> LayerWeights:
        """The integers of a layer at a width."""
        fraction = 0.0 if width == 1 else pruned
        key = name, width, fraction
        if key not in self._weights:
            if width == self.layers[name] and not fraction:
                self._weights[key] = self.retyping.weights[name]
            else:
                self._weights[key] = integers(self.rounded(name, width), fraction)
        return self._weights[key]


def integers(layer: Any, pruned: float = 0.0) -> LayerWeights:
    """The integers of a layer's weights, with the fraction ``pruned`` of least magnitude zero."""
    import torch

    with torch.no_grad():
        quantized = layer.quant_weight()
        scale = quantized.scale.detach()
        found = torch.round(quantized.value / scale).long().cpu().numpy()
        if pruned:
            size = np.abs(layer.weight.detach().cpu().numpy()).ravel()
            found = found.copy()
            found.reshape(-1)[np.argsort(size, kind="stable")[: round(pruned * size.size)]] = 0
    return LayerWeights(found)


def variants_of(model: "Network", graph: Graph | None = None) -> Variants:
    """The variants of a network with the weights that it has, trained or not.

    ``graph``: the network's lowered graph; None: it is exported and lowered for it. Raises QuantError (status 2) for a
    network whose scheme has one width, and RetypingError for one whose kernels are known only from a lowering.
    """
    from quant.models.widths import hidden_activations, present_width, weighted_layers, with_width

    held = weighted_layers(model)
    layers = {name: present_width(layer) for name, layer in held.items()}
    acts = {name: int(act.act_quant.bit_width()) for name, act in hidden_activations(model).items()}
    if graph is None:
        graph = lowered(model)
    weights = {name: integers(layer) for name, layer in held.items()}
    retyping = Retyping(graph, weights, acts, _widest(model))
    return Variants(layers, acts, retyping, lambda name, width: with_width(held[name], model.scheme, width))


def _widest(model: "Network") -> int:
    """The most bits of hidden activations that are thresholds in every lowering. Wider ones have a multiplication in
    their place, or, where scales are powers of two, a shift."""
    from quant.models.widths import hidden_activations

    proxies = [act.act_quant.fused_activation_quant_proxy.tensor_quant for act in hidden_activations(model).values()]
    shifts = any(getattr(each, "power_of_two", False) for each in proxies)
    return (SHIFT_LEVELS - 1 if shifts else THRESHOLD_LEVELS).bit_length() - 1


def lowered(model: "Network") -> Graph:
    """The dataflow graph of a network, through an export."""
    from quant import export

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(model, path)
        return Model.open(path).graph


def new_network(
    name: str, options: Mapping[str, Any], frames: np.ndarray, seed: int = 0, scheme: str | None = None
) -> "Network":
    """A new network, as if it had been trained: the ranges of its activations are those of ``frames`` (N, ...), and the
    numbers of its BatchNorms differ from channel to channel."""
    import torch

    from quant import create_model
    from quant.models.network import model_inputs

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model(name, scheme, **options)
        batch = torch.from_numpy(model_inputs(model, frames[:WARM_FRAMES]))
        _spread(model)
        model.train()
        with torch.no_grad():
            for _ in range(WARM_BATCHES):
                model(batch)
    return model.eval()


def _spread(model: "torch.nn.Module") -> None:
    """Gives the channels of each BatchNorm factors and offsets of their own."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.affine:
            module.momentum = None  # the mean of all batches
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)


def new_variants(
    name: str,
    options: Mapping[str, Any],
    frames: np.ndarray,
    widths: Sequence["Width"],
    seed: int = 0,
    scheme: str | None = None,
) -> Variants:
    """The variants of ``new_network`` whose layers have some of ``widths``, each with the initial weights that
    ``create_model`` gives it at that width.

    Raises QuantError (status 2) and RetypingError as ``variants_of``.
    """
    from quant.models.widths import hidden_activations, weighted_layers

    usual: Width = 4 if 4 in widths else next((width for width in widths if width != 1), 2)

    own = create(name, scheme, options, seed)
    count, widest = len(weighted_layers(own)), _widest(own)
    if not count:
        raise QuantError(f"model {name} has no layers whose width could be chosen", status=2)
    acts = {each: int(act.act_quant.bit_width()) for each, act in hidden_activations(own).items()}
    narrow = (
        {"activation_widths": [min(bits, widest) for bits in acts.values()]}
        if max(acts.values(), default=0) > widest
        else {}
    )

    def at(width: "Width") -> dict[str, Any]:
        return {**options, "weight_widths": [width] * count}

    base = variants_of(new_network(name, at(usual) | narrow, frames, seed, scheme))
    held = {width: weighted_layers(create(name, scheme, at(width), seed).eval()) for width in {usual, *widths}}
    return Variants(base.layers, acts, base.retyping, lambda layer, width: held[width][layer])


def create(name: str, scheme: str | None, options: Mapping[str, Any], seed: int = 0) -> "Network":
    """``create_model`` with a seed, which leaves torch's random numbers as they are."""
    import torch

    from quant import create_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_model(name, scheme, **options)
