"""A tensor quantizer behind a form of the weights: what is in a layer's weight proxy if the layer is compressed."""

from typing import Any

import torch


class Formed(torch.nn.Module):
    """Applies ``form`` (``quant.compression.forms.CompressedWeight``), then the tensor quantizer."""

    def __init__(self, form: Any, quantizer: torch.nn.Module) -> None:
        super().__init__()
        self.form, self.quantizer = form, quantizer

    def forward(self, latent: torch.Tensor) -> Any:
        values, *facts = self.quantizer(self.form.to_quantize(latent))
        return (self.form.quantized(values), *facts)
