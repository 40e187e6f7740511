"""Binary-Weight-Network: signs times the mean magnitude of each filter."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch

from quant.quantizers.injector import Injector
from quant.quantizers.signs import scaled_sign
from quant.quantizers.tensor_quant import TensorQuant, UniformAct, act_injector, weight_injector
from quant.schemes.integer import Integer
from quant.schemes.parameters import check_bits, check_weight_bits
from quant.schemes.scheme import Scheme


class _FilterSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        alpha = torch.linalg.vector_norm(weight.flatten(1), 1, dim=1).div_(weight[0].numel())
        # A filter of zeros would have scale 0, which hardware does not support.
        alpha = alpha.clamp_(min=torch.finfo(weight.dtype).tiny).view(-1, *[1] * (weight.dim() - 1))
        ctx.save_for_backward(weight, alpha)
        ctx.mark_non_differentiable(alpha)
        return scaled_sign(weight, alpha), alpha

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor, _: Any) -> torch.Tensor:
        weight, alpha = ctx.saved_tensors
        # torch's kernel excludes the bounds
        inside = torch.ops.aten.hardtanh_backward(gradient, weight, -1.0, 1.0)
        return inside.mul_(alpha).add_(gradient, alpha=1 / weight[0].numel())


def filter_sign(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns ``alpha * sign(W)`` and alpha (out, 1, ...), the mean of ``|W|`` per filter of W (out, in, *kernel).

    Gradient, with n weights in a filter: ``dC/dW_i = dC/dW~_i * (1 / n + alpha * 1[|W_i| < 1])``.
    """
    return _FilterSign.apply(weight)


class FilterSignWeight(TensorQuant):
    """``alpha * sign(W)`` with one alpha per filter (``filter_sign``)."""

    def __init__(self) -> None:
        super().__init__(1)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return filter_sign(x)


@torch.no_grad()
def centre_and_clamp(weight: torch.Tensor, centre: bool = True) -> None:
    """Subtracts from W (out, in, *kernel) its mean over the input channels, and clamps W to [-1, 1]; in place.

    Depthwise filters, which have one input channel, are not centred.
    """
    if centre and weight.shape[1] > 1:
        weight.sub_(weight.mean(1, keepdim=True))
    weight.clamp_(-1.0, 1.0)


@dataclass(frozen=True)
class FilterScaled(Scheme):
    """Base class of BWN and XNOR-Net: their weights, and a first and last layer of higher precision."""

    learning_rate: ClassVar[tuple[float, float]] = (1e-2, 1e-5)
    pool_first: ClassVar[bool] = True

    mean_center: bool = True
    edge_bits: int = 8

    def __post_init__(self) -> None:
        check_bits(self.name, "edge_bits", self.edge_bits, 1)

    @property
    def edge(self) -> Scheme:
        return self if self.edge_bits == 1 else Integer(self.edge_bits, max(2, self.edge_bits))

    def weight_quant(self) -> Injector:
        return weight_injector(FilterSignWeight)

    def initialize(self, weight: torch.Tensor) -> None:
        centre_and_clamp(weight, self.mean_center)

    def after_step(self, layers: Sequence[Any], optimizer: torch.optim.Optimizer) -> None:
        for layer in layers:
            layer.change_weight(partial(centre_and_clamp, centre=self.mean_center))


@dataclass(frozen=True)
class BWN(FilterScaled):
    """Binary-Weight-Network: signs with one scale a filter, ``act_bits``-bit activations.

    Forward: ``W~ = alpha * sign(W)`` with ``alpha = mean|W|`` over each filter, which minimizes ``||W - W~||``.
    Gradient, with n weights in a filter: ``dC/dW_i = dC/dW~_i * (1 / n + alpha * 1[|W_i| < 1])``.

    As in the authors' code, the mean over the input channels is subtracted from the latent weights (not with
    ``mean_center=False``), and they are clamped to [-1, 1]. This changes the latent weights themselves, at
    initialization and after each update; the authors do it at the same point, before each forward pass. The authors'
    constant factors of the gradient are omitted, since they do not affect Adam.

    The first and the last layer have ``edge_bits``-bit integer weights (real-valued in the paper); ``edge_bits=1``
    binarizes them as well. The order of a block is convolution, pool, BatchNorm, activation, so that the input of a
    layer is normalized before it is quantized. Activations: ReLU, then ``act_bits`` unsigned bits with a learned scale
    (real-valued in the paper).

    Rastegari, Ordonez, Redmon, Farhadi: "XNOR-Net: ImageNet classification using binary convolutional neural networks",
    ECCV 2016. Published (authors' code): top-1 accuracy of AlexNet on ImageNet 56.8 %.
    """

    name: ClassVar[str] = "bwn"

    act_bits: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bits(self.name, "act_bits", self.act_bits, 2)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "BWN":
        check_weight_bits(cls.name, weight_bits, act_bits)
        return cls(act_bits=act_bits)

    def act_quant(self) -> Injector:
        return act_injector(UniformAct, bits=self.act_bits)
