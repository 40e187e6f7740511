"""The weights of a trained network as the initial ones of a network of the same layers and another scheme."""

import os

import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer

from quant.errors import QuantError
from quant.lookup.tables import TableLayer
from quant.models.network import Network
from quant.training.checkpoint import load_checkpoint, weights_hash

__all__ = ["start_from"]

EXITS = ("heads.", "exits.")
"""Parts of a network with early exits (``quant.models.staged``) that one without has not."""


@torch.no_grad()
def start_from(model: Network, source: Network | str | os.PathLike[str]) -> None:
    """Gives ``model``, in place, the latent weights, biases, BatchNorms and other learned values of ``source``.

    ``source`` is a network, a run folder or a checkpoint. It has the same layers; the scheme may differ. So a 1-bit
    network starts from a trained float network, or from one with real activations or weights (the two steps of Martinez
    et al., "Training binary neural networks with real-to-binary convolutions", ICLR 2020, and Liu et al., "ReActNet",
    ECCV 2020). A network with early exits may start from one without: its heads keep their own weights. Quantizers keep
    their own parameters, and measure the scales that they measure at the start. Tables keep the wires of ``source``,
    and encoders its levels.

    Latent weights beyond the scheme's ``weight_limit`` are divided by one factor for each layer, so that the largest
    is at the limit.

    Raises QuantError (status 2) where layers or their shapes differ, and for a source whose layers are compressed.
    """
    if not isinstance(source, Network):
        source = load_checkpoint(source, "start")
    if source.changes:
        raise QuantError(
            f"start: {source.name} has layers that a compression changed: take the run before it", status=2
        )
    layers = {name: m for name, m in model.named_modules() if isinstance(m, QuantWeightBiasInputOutputLayer)}
    quantizers = tuple(f"{name}.weight_quant." for name in layers)
    here, there = (_learned(network, quantizers) for network in (model, source))
    for name, value in here.items():
        if name.startswith(EXITS) and name not in there:
            continue
        if name not in there or there[name].shape != value.shape:
            found = "none" if name not in there else f"shape {tuple(there[name].shape)}"
            raise QuantError(
                f"start: {model.name} needs {name} of shape {tuple(value.shape)}, {source.name} has {found}: take "
                "a run of the same layers and widths",
                status=2,
            )
        value.copy_(there[name])
    for module in model.modules():
        if isinstance(module, TableLayer):
            module.wired = True
    model.start = weights_hash(source)
    for layer in layers.values():
        if not hasattr(layer, "scheme"):  # layers of Brevitas itself
            continue
        limit, weight = layer.scheme.weight_limit, layer.trained_weight
        if limit is not None and (largest := float(weight.abs().max())) > limit:
            weight.mul_(limit / largest)


def _learned(network: Network, quantizers: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Every parameter and buffer but those of quantizers."""
    state = network.state_dict(keep_vars=True)
    return {
        name: value
        for name, value in state.items()
        if "_quant." not in name and ".tensor_quant." not in name and not name.startswith(quantizers)
    }
