"""Ternary connect: random ternary (or binary) weights during training, and back-propagation by shifts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from quant.quantizers.glorot import clip_to_glorot_bound, glorot_bound
from quant.quantizers.injector import Injector
from quant.quantizers.shift_product import shift_product
from quant.quantizers.statistics import reestimate_batch_norm
from quant.quantizers.tensor_quant import TensorQuant, UniformAct, act_injector, weight_injector
from quant.schemes.binaryconnect import BinaryWeight
from quant.schemes.parameters import check_bits, check_choice, check_weight_bits
from quant.schemes.scheme import Scheme


class _RandomTernary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, limit: float, stochastic: bool) -> torch.Tensor:
        if stochastic:  # stochastic rounding of x / limit
            return torch.rand_like(x).add_(x, alpha=1 / limit).floor_().clamp_(-1, 1).mul_(limit)
        sizes = x.abs()
        return torch.copysign(torch.gt(sizes, limit / 2, out=sizes).mul_(limit), x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return gradient, None, None


def connect_ternary(x: torch.Tensor, limit: float, stochastic: bool) -> torch.Tensor:
    """Returns ``limit * sign(x)`` or 0, element-wise; the gradient passes unchanged.

    The value is non-zero with probability ``clip(|x| / limit, 0, 1)`` if ``stochastic``, else where
    ``|x| > limit / 2``.
    """
    return _RandomTernary.apply(x, limit, stochastic)


class ConnectTernaryWeight(TensorQuant):
    """``{-W0, 0, W0}``: random in training, thresholded at inference. W0 is the weight's Glorot bound."""

    scale: torch.Tensor

    def __init__(self, tracked_parameter_list: list[torch.Tensor]) -> None:
        super().__init__(2)
        self.limit = glorot_bound(tracked_parameter_list[0])
        self.register_buffer("scale", torch.tensor(self.limit), persistent=False)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return connect_ternary(x, self.limit, stochastic=self.training), self.scale


@dataclass(frozen=True)
class TernaryConnect(Scheme):
    """Ternary connect with quantized back-propagation; ``act_bits``-bit activations.

    Forward, with ``W0 = sqrt(6 / (fan_in + fan_out)) / 2`` for each layer. During training the weight is
    ``w_t = W0 * sign(w)`` with probability ``clip(|w| / W0, 0, 1)``, else 0, drawn for each weight and forward pass. At
    inference it is ``W0 * sign(w)`` where ``|w| > W0 / 2``, else 0. ``weight_bits=1`` is the paper's binary connect:
    during training +W0 with probability ``clip((w / W0 + 1) / 2, 0, 1)``, else -W0; at inference the sign.

    Gradient: ``dC/dw = dC/dw_t``, applied to the latent weight w. w is initialized uniformly in [-2 W0, 2 W0] and
    clipped to [-W0, W0] after each update. With ``quantized_backprop``, dC/dw_t is computed from layer inputs x that
    are rounded at random to powers of two: ``sign(x) * 2**(floor(log2|x|) + b)``, where b = 1 with probability
    ``|x| / 2**floor(log2|x|) - 1``. The mean is x, and multiplications become shifts. The gradients of the activations
    are computed as usual.

    Differences from the paper: it uses the real-valued weights after training by default, and its code compares with
    0.5 where this implementation compares with W0 / 2. Here the ternary weights are used, and ``finish`` re-estimates
    BatchNorm's statistics for them. Activations: ReLU, then ``act_bits`` unsigned bits with a learned scale
    (real-valued in the paper). Loss: cross entropy. Optimizer: Adam (squared hinge and stochastic gradient descent in
    the paper's code).

    Lin, Courbariaux, Memisevic, Bengio: "Neural networks with few multiplications", ICLR 2016. Published (authors'
    code; full, binary, ternary): test errors of 1.33, 1.29, 1.15 % on MNIST, 15.64, 12.08, 12.01 % on CIFAR-10, 2.85,
    2.48, 2.42 % on SVHN.
    """

    name: ClassVar[str] = "ternary_connect"
    learning_rate: ClassVar[tuple[float, float]] = (1e-2, 3e-6)

    weight_bits: int | str = "ternary"
    act_bits: int = 8
    quantized_backprop: bool = True

    def __post_init__(self) -> None:
        check_choice(self.name, "weight_bits", self.weight_bits, ("ternary", 1))
        check_bits(self.name, "act_bits", self.act_bits, 2)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "TernaryConnect":
        check_weight_bits(cls.name, weight_bits, act_bits, ("ternary", 1))
        return cls(weight_bits, act_bits)

    def weight_quant(self) -> Injector:
        if self.weight_bits == 1:
            return weight_injector(BinaryWeight, limit=None, stochastic=True)
        return weight_injector(ConnectTernaryWeight)

    def act_quant(self) -> Injector:
        return act_injector(UniformAct, bits=self.act_bits)

    def initialize(self, weight: torch.Tensor) -> None:
        bound = 2 * glorot_bound(weight)
        torch.nn.init.uniform_(weight, -bound, bound)

    def product(self, layer: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if self.quantized_backprop and torch.is_grad_enabled():
            return shift_product(layer, x, weight, bias)
        return super().product(layer, x, weight, bias)

    def after_step(self, layers: Sequence[Any], optimizer: torch.optim.Optimizer) -> None:
        clip_to_glorot_bound(layers)

    def finish(self, model: torch.nn.Module, batches: Iterable[torch.Tensor]) -> None:
        reestimate_batch_norm(model, batches)
