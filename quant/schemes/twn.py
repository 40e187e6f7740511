"""Ternary weight networks: {-1, 0, +1} times the mean magnitude of the non-zero weights."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from quant.quantizers.functions import mean_of_nonzero
from quant.quantizers.injector import Injector
from quant.quantizers.tensor_quant import TensorQuant, UniformAct, act_injector, weight_injector
from quant.schemes.parameters import check_bits, check_weight_bits
from quant.schemes.scheme import Scheme


class _Ternary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, per_filter: bool) -> tuple[torch.Tensor, torch.Tensor]:
        sizes = weight.abs()
        over = list(range(int(per_filter), weight.dim()))
        delta = mean_of_nonzero(sizes, over).mul_(0.7)
        kept = torch.gt(sizes, delta, out=torch.empty_like(sizes))
        count = kept.sum(over, keepdim=True).clamp_(min=1)
        alpha = sizes.mul_(kept).sum(over, keepdim=True).div_(count)
        # A filter of zeros would have scale 0, which hardware does not support.
        alpha = alpha.clamp_(min=torch.finfo(weight.dtype).tiny)
        ctx.mark_non_differentiable(alpha)
        return torch.copysign(kept.mul_(alpha), weight), alpha

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
        return gradient, None


def ternary(weight: torch.Tensor, per_filter: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns ``alpha * sign(W)`` where ``|W| > 0.7 * mean|W|`` and 0 elsewhere, and alpha.

    alpha is the mean of ``|W|`` over the non-zero weights. Means are over the whole of W (out, in, *kernel), or over
    each filter; alpha has shape (1 or out, 1, ...). The gradient passes unchanged.
    """
    return _Ternary.apply(weight, per_filter)


class TernaryWeight(TensorQuant):
    """The weight quantizer of TWN (``ternary``)."""

    def __init__(self, per_filter: bool) -> None:
        super().__init__(2)
        self.per_filter = per_filter

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return ternary(x, self.per_filter)


@dataclass(frozen=True)
class TWN(Scheme):
    """Ternary Weight Network: weights {-alpha, 0, alpha}, ``act_bits``-bit activations.

    Forward: ``W~ = alpha * sign(W)`` where ``|W| > Delta``, and 0 elsewhere. ``Delta = 0.7 * mean|W|``, and alpha is
    the mean of ``|W|`` over the weights above Delta. Both are computed over a layer or, with ``per_filter=True``, over
    each filter; pruned weights do not count. For a given Delta this alpha minimizes ``||W - W~||``; the best Delta is
    ``2/3 mean|W|`` for uniform and about ``3/4 mean|W|`` for normal weights. Gradient: ``dC/dW = dC/dW~``, applied to
    the latent weights.
    Activations: ReLU, then ``act_bits`` unsigned bits with a learned scale (real-valued in the paper). Loss: cross
    entropy. Optimizer: Adam (stochastic gradient descent in the paper).

    Li, Zhang, Liu: "Ternary weight networks", 2016. Published: near full precision on MNIST and CIFAR-10, better than
    BWN, at 2 bits per weight.
    """

    name: ClassVar[str] = "twn"
    learning_rate: ClassVar[tuple[float, float]] = (1e-2, 1e-5)

    act_bits: int = 8
    per_filter: bool = False

    def __post_init__(self) -> None:
        check_bits(self.name, "act_bits", self.act_bits, 2)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "TWN":
        check_weight_bits(cls.name, weight_bits, act_bits, ("ternary",))
        return cls(act_bits)

    def weight_quant(self) -> Injector:
        return weight_injector(TernaryWeight, per_filter=self.per_filter)

    def act_quant(self) -> Injector:
        return act_injector(UniformAct, bits=self.act_bits)
