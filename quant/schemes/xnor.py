"""XNOR-Net: 1-bit weights with a scale for each filter and 1-bit activations."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.nn import functional

from quant.errors import QuantError
from quant.quantizers.injector import Injector
from quant.quantizers.signs import scaled_sign, sign_inside
from quant.quantizers.tensor_quant import TensorQuant, act_injector
from quant.schemes.bwn import FilterScaled


class InsideSignAct(TensorQuant):
    """``sign(x)``, scale 1; gradient ``1[|x| < 1]``."""

    def __init__(self) -> None:
        super().__init__(1)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return sign_inside(x), self.unit


class _SizedSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return scaled_sign(x, x.abs().mean(1, keepdim=True))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, -1.0, 1.0)


class SizedSignAct(TensorQuant):
    """``A * sign(x)``, where A (N, 1, *spatial) is the mean of ``|x|`` over the channels; gradient ``1[|x| < 1]``.

    The next layer separates the product into A and the signs again (``split_sign``).
    """

    def __init__(self) -> None:
        super().__init__(1)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _SizedSign.apply(x), self.unit


class _SplitSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        size = x.abs().mean(1, keepdim=True)
        ctx.mark_non_differentiable(size)
        return torch.sign(x), size

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor, _: Any) -> torch.Tensor:
        return gradient


def split_sign(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns ``sign(x)``, which is 0 for the zeros of dropout, and the mean of ``|x|`` over axis 1, which is kept.

    The gradient passes from the sign to x unchanged; the mean is a constant.
    """
    return _SplitSign.apply(x)


@dataclass(frozen=True)
class XNOR(FilterScaled):
    """XNOR-Net: 1-bit weights with a scale for each filter, 1-bit activations.

    Weights, the first and last layer, and the order of a block are as in ``bwn``. Activations: ``sign`` with
    ``sign(0) = +1`` after BatchNorm; gradient ``1[|x| < 1]``, as in the authors' code, whose sign is 0 for 0.

    ``input_scale=True`` also multiplies each sum by K: ``I * W ~ (sign(I) * sign(W)) K alpha`` with ``K = A * k``. A is
    the mean of ``|I|`` over the channels, and k averages over a filter's window (for a linear layer: over its whole
    input). K is a constant in the gradient. It depends on the data at every pixel, which our hardware does not support,
    so such a network cannot be exported. The authors' code omits K as well.

    Rastegari, Ordonez, Redmon, Farhadi: "XNOR-Net: ImageNet classification using binary convolutional neural networks",
    ECCV 2016. Published (authors' code): top-1 accuracy of AlexNet on ImageNet 43.3 %.
    """

    name: ClassVar[str] = "xnor"

    input_scale: bool = False

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "XNOR":
        if (weight_bits, act_bits) != (1, 1):
            raise QuantError("scheme xnor has 1-bit weights and activations: name the model -w1a1", status=2)
        return cls()

    @property
    def relu(self) -> bool:
        return False

    def act_quant(self) -> Injector:
        return act_injector(SizedSignAct if self.input_scale else InsideSignAct, signed=True, narrow=True)

    def product(self, layer: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if not self.input_scale:
            return super().product(layer, x, weight, bias)
        signs, size = split_sign(x)
        sums = layer.inner_forward_impl(signs, weight, None) * _window_mean(layer, size)
        return sums if bias is None else sums + bias.view(-1, *[1] * (sums.dim() - 2))

    def check_export(self, model: torch.nn.Module) -> None:
        if self.input_scale:
            raise QuantError(
                "scheme xnor with input_scale multiplies by K, which depends on the data at every pixel, as no "
                "hardware here does: train with input_scale=False (the authors' code leaves K out as well)"
            )


def _window_mean(layer: Any, size: torch.Tensor) -> torch.Tensor:
    """Returns K, the mean of A (N, 1, *spatial) over the window of each output; for a linear layer A itself."""
    kernel = layer.weight.shape[2:]
    if not kernel:
        return size
    convolve = functional.conv1d if len(kernel) == 1 else functional.conv2d
    window = torch.full((1, 1, *kernel), 1 / kernel.numel(), dtype=size.dtype, device=size.device)
    return convolve(size, window, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
