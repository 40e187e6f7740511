"""Linear layers and convolutions with the weight quantizers of a scheme.

Except during export, they call their quantizers directly, because Brevitas's bookkeeping of quantized tensors takes
more time than the arithmetic of a small network.
"""

from collections.abc import Callable
from typing import Any

import torch
from brevitas.nn import QuantConv1d, QuantConv2d, QuantConvTranspose1d, QuantConvTranspose2d, QuantLinear
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from torch.nn.utils.parametrize import is_parametrized

from quant.quantizers.formed import Formed
from quant.schemes.scheme import Scheme

__all__ = [
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Linear",
    "conv",
    "depthwise",
    "linear",
]


class _Weights(QuantWeightBiasInputOutputLayer):
    scheme: Scheme

    @property
    def trained_weight(self) -> torch.nn.Parameter:
        """The parameter that a training changes: the latent weight, or the values (K,) of tied weights."""
        form = self._form
        trained = None if form is None else form.trained
        if trained is not None:
            return trained
        return self.parametrizations.weight.original if is_parametrized(self, "weight") else self.weight

    @torch.no_grad()
    def change_weight(self, change: Callable[[torch.Tensor], None]) -> None:
        """Calls ``change`` with the latent weight (out, in, *kernel), which it changes in place.

        Tied weights become the nearest ones to the changed weight.
        """
        form = self._form
        if form is None or form.trained is None:
            change(self.trained_weight)
            return
        weight = form(self.weight)
        change(weight)
        form.project(weight)

    @property
    def weight_quantizer(self) -> torch.nn.Module:
        """The tensor quantizer of the weights."""
        quantizer = self.weight_quant.tensor_quant
        return quantizer.quantizer if isinstance(quantizer, Formed) else quantizer

    @property
    def _form(self) -> Any:
        quantizer = getattr(self.weight_quant, "tensor_quant", None)
        return quantizer.form if isinstance(quantizer, Formed) else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.weight_quant.export_mode or not self.weight_quant.is_quant_enabled:
            return super().forward(x)
        bias = self.bias
        if bias is not None and self.bias_quant.is_quant_enabled:
            bias = self.bias_quant.tensor_quant(bias)[0]
        return self.scheme.product(self, x, self.weight_quant.tensor_quant(self.weight)[0], bias)


class Linear(_Weights, QuantLinear):
    """Fully connected layer; created by ``linear``."""


class Conv1d(_Weights, QuantConv1d):
    """Convolution over (N, C, L); created by ``conv``."""


class Conv2d(_Weights, QuantConv2d):
    """Convolution over (N, C, H, W); created by ``conv``."""


class ConvTranspose1d(_Weights, QuantConvTranspose1d):
    """Transposed convolution over (N, C, L), with weights (C, M / groups, L); created by ``quant.quantize``."""


class ConvTranspose2d(_Weights, QuantConvTranspose2d):
    """Transposed convolution over (N, C, H, W), with weights (C, M / groups, H, W); created by ``quant.quantize``."""


def linear(scheme: Scheme, in_features: int, out_features: int, bias: bool = False) -> Linear:
    """Returns a fully connected layer (N, in_features) -> (N, out_features) with the scheme's initial weights."""
    return _scheme_layer(Linear, scheme, bias, in_features, out_features)


def conv(
    scheme: Scheme,
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, ...],
    *,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    dimensions: int = 2,
    bias: bool = False,
) -> Conv1d | Conv2d:
    """Returns a convolution (N, in_channels, *spatial) -> (N, out_channels, *spatial') with the scheme's weights.

    ``dimensions`` is 1 or 2. The border is padded with zeros.
    """
    kind = {1: Conv1d, 2: Conv2d}[dimensions]
    return _scheme_layer(
        kind, scheme, bias, in_channels, out_channels, kernel,
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip


def depthwise(
    scheme: Scheme, channels: int, kernel: int, *, stride: int = 1, padding: int | None = None, dimensions: int = 2
) -> Conv1d | Conv2d:
    """Returns a depthwise convolution with one filter per channel.

    ``padding`` defaults to half the kernel, which preserves the spatial size for odd kernels at stride 1.
    """
    padding = kernel // 2 if padding is None else padding
    return conv(
        scheme, channels, channels, kernel, stride=stride, padding=padding, groups=channels, dimensions=dimensions
    )


def _scheme_layer(kind: Any, scheme: Scheme, bias: bool, *sizes: Any, **settings: Any) -> Any:
    layer = kind(
        *sizes,
        bias=bias,
        weight_quant=scheme.weight_quant(),
        bias_quant=scheme.bias_quant() if bias else None,
        **settings,
    )
    layer.scheme = scheme
    scheme.initialize(layer.weight.data)
    return layer
