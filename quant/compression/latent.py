"""Sets a layer's weights to chosen values: the latent weights become such that its quantizer gives these integers."""

import torch

from quant.compression.forms import Grid, Pruned
from quant.compression.weights import Layer, attach, is_quantized, latent_of
from quant.quantizers.tensor_quant import TensorQuant


@torch.no_grad()
def assign(layer: Layer, weight: torch.Tensor, mask: torch.Tensor, grid: Grid | None) -> None:
    """Makes ``weight`` (out, in, *kernel) the layer's weight, and 0 where ``mask`` is not set. Both stay trainable.

    ``grid`` is the grid whose points the values are, or None for a layer of floating-point weights. The layer keeps its
    own quantizer if that gives these values, for the latent weights that it has or for a multiple of the values: the
    scale of most quantizers is proportional to the latent weights. Otherwise ``grid`` takes its place, at a fixed
    scale, as for shared weights.

    Raises QuantError (status 2) if the layer's quantizer forbids these integers (see ``TensorQuant.check_codes``).
    """
    latent = latent_of(layer)
    weight, mask = weight.to(latent), mask.to(latent.device)
    weight = weight * mask
    if grid is None or not is_quantized(layer):
        latent.copy_(weight)
        attach(layer, Pruned(mask), grid)
        return
    attach(layer, Pruned(mask))
    grid.to(latent.device)
    codes = torch.round(weight / grid.scale)
    own = layer.weight_quant.tensor_quant.quantizer
    if isinstance(own, TensorQuant):
        own.check_codes(codes)
    scale = grid.scale
    for trial in range(3):
        latent.copy_(codes * scale if trial else latent * mask)
        found = layer.quant_weight()
        if (
            int(found.bit_width) == grid.width
            and torch.equal(torch.round(found.value / found.scale), codes)
            and torch.allclose(found.scale, grid.scale, rtol=1e-5, atol=0)
        ):
            return
        if trial:
            scale = grid.scale * (grid.scale / found.scale)
    latent.copy_(codes * grid.scale)
    attach(layer, Pruned(mask), grid)
