"""A tensor quantizer behind a form of the weights: what is in a layer's weight proxy if the layer is compressed."""

from types import MethodType
from typing import Any

import torch


def keep_quantizer(proxy: Any) -> None:
    """Lets a proxy keep the tensor quantizer that it has, which Brevitas otherwise makes anew on loading a state."""
    # An instance method instead of a subclass: the export selects handlers by exact class. Copies are rebound.
    proxy.init_tensor_quant = MethodType(_keep_tensor_quant, proxy)


def _keep_tensor_quant(proxy: Any, preserve_state_dict: bool = False) -> None:
    """Replaces a proxy's ``init_tensor_quant``; keeps the quantizer."""


class Formed(torch.nn.Module):
    """Applies ``form`` (``quant.compression.forms.CompressedWeight``), then the tensor quantizer."""

    def __init__(self, form: Any, quantizer: torch.nn.Module) -> None:
        super().__init__()
        self.form, self.quantizer = form, quantizer

    def forward(self, latent: torch.Tensor) -> Any:
        values, *facts = self.quantizer(self.form.to_quantize(latent))
        return (self.form.quantized(values), *facts)
