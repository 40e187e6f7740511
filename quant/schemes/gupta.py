"""Fixed point during training as well: weights, activations, biases and gradients have constant formats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from quant.errors import QuantError
from quant.quantizers.functions import ROUNDINGS, bounds, uniform
from quant.quantizers.injector import Injector
from quant.quantizers.tensor_quant import TensorQuant, act_injector, bias_injector, weight_injector
from quant.schemes.parameters import check_bits, check_rounding
from quant.schemes.scheme import Scheme


class FormatQuant(TensorQuant):
    """``bits``-bit codes times the constant ``2**-fraction``. In eval mode, rounding is half to even."""

    scale: torch.Tensor
    qonnx_rounding = "ROUND"

    def __init__(self, bits: int, fraction: int, signed: bool, rounding: str) -> None:
        super().__init__(bits)
        self.low, self.high = bounds(bits, signed)
        self.rounding = rounding
        self.register_buffer("scale", torch.tensor(2.0**-fraction), persistent=False)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rounding = self.rounding if self.training else "half_even"
        return uniform(x, self.scale, self.low, self.high, rounding), self.scale


class _RoundedGradient(torch.autograd.Function):
    """The identity; the backward pass rounds the gradient to a format."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scheme: "Gupta") -> torch.Tensor:
        ctx.scheme = scheme
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        scheme = ctx.scheme
        return scheme.in_format(gradient, scheme.gradient_integer, scheme.gradient_fraction), None


@dataclass(frozen=True)
class Gupta(Scheme):
    """16-bit fixed point <IL, FL> with stochastic rounding, in training as in use.

    A format <IL, FL> represents ``x = k * 2**-FL`` from ``-2**(IL-1)`` to ``2**(IL-1) - 2**-FL``; it saturates.
    ``rounding="stochastic"``: ``floor(x / eps) * eps`` with ``eps = 2**-FL``, plus ``eps`` with a probability equal to
    the remaining fraction, so that the mean is x. ``rounding="half_even"``: to the nearest.

    Forward: weights and biases have the format <weight_integer, weight_fraction>, to which every update is rounded. Dot
    products accumulate at full precision and are rounded once, after the ReLU, to <act_integer, act_fraction> (stored
    without the sign bit, which is never set there). Backward: the gradient of every layer's output and of every weight
    and bias is rounded to <gradient_integer, gradient_fraction>. It passes straight through a rounding and is zero
    where activations saturate. At inference activations round half to even. Loss: cross entropy. Optimizer: stochastic
    gradient descent with momentum 0.9. There is no BatchNorm.

    The default formats (<2, 14>, <8, 8> and <2, 14>) are this implementation's choice; the paper varies them. Momentum,
    learning rate and the gradient of the loss itself are computed in floating point.

    Gupta, Agrawal, Gopalakrishnan, Narayanan: "Deep learning with limited numerical precision", ICML 2015. Published:
    with 16 bits and stochastic rounding little to no degradation on MNIST and CIFAR-10.
    """

    name: ClassVar[str] = "gupta"
    batch_norm: ClassVar[bool] = False
    learning_rate: ClassVar[tuple[float, float]] = (3e-2, 1e-3)

    weight_integer: int = 2
    weight_fraction: int = 14
    act_integer: int = 8
    act_fraction: int = 8
    gradient_integer: int = 2
    gradient_fraction: int = 14
    rounding: str = "stochastic"

    def __post_init__(self) -> None:
        for what in ("weight", "act", "gradient"):
            integer, fraction = getattr(self, f"{what}_integer"), getattr(self, f"{what}_fraction")
            check_bits(self.name, f"{what}_integer", integer, 1)
            check_bits(self.name, f"{what}_fraction", fraction, 0, 24)
            check_bits(self.name, f"{what}_integer + {what}_fraction", integer + fraction, 2, 24)
        for what in ("weight", "act"):
            total = getattr(self, f"{what}_integer") + getattr(self, f"{what}_fraction")
            check_bits(self.name, f"{what}_integer + {what}_fraction", total, 3)
        check_rounding(self.name, self.rounding, ("stochastic", "half_even"))

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "Gupta":
        if isinstance(weight_bits, str):
            raise QuantError(f"scheme gupta has no {weight_bits} weights: use scheme integer", status=2)
        return cls(2, weight_bits - 2, (act_bits + 1) // 2, act_bits // 2)

    def weight_quant(self) -> Injector:
        return weight_injector(FormatQuant, narrow=False, **self._weights())

    def bias_quant(self) -> Injector:
        return bias_injector(FormatQuant, narrow_range=False, **self._weights())

    def _weights(self) -> dict[str, Any]:
        # Parameters are stored in the format, so only a bias that is not trained yet is rounded.
        bits = self.weight_integer + self.weight_fraction
        return {"bits": bits, "fraction": self.weight_fraction, "rounding": "half_even"}

    def act_quant(self) -> Injector:
        bits = self.act_integer + self.act_fraction - 1
        return act_injector(FormatQuant, bits=bits, fraction=self.act_fraction, rounding=self.rounding)

    def signed_quant(self) -> Injector:
        return self.sum_quant()

    def sum_quant(self) -> Injector:
        bits = self.act_integer + self.act_fraction
        return act_injector(FormatQuant, signed=True, bits=bits, fraction=self.act_fraction, rounding=self.rounding)

    def initialize(self, weight: torch.Tensor) -> None:
        weight.copy_(self.in_format(weight, self.weight_integer, self.weight_fraction))

    def in_format(self, x: torch.Tensor, integer: int, fraction: int) -> torch.Tensor:
        """Returns ``x``, rounded and saturated to <integer, fraction>, as a new tensor."""
        low, high = bounds(integer + fraction, signed=True)
        return ROUNDINGS[self.rounding](x * 2.0**fraction).clamp_(low, high).mul_(2.0**-fraction)

    def product(self, layer: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return _RoundedGradient.apply(super().product(layer, x, weight, bias), self)

    def optimizer(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, momentum=0.9)

    @torch.no_grad()
    def before_step(self, layers: Sequence[Any], optimizer: torch.optim.Optimizer) -> None:
        for parameter in _parameters(layers):
            if parameter.grad is not None:
                parameter.grad = self.in_format(parameter.grad, self.gradient_integer, self.gradient_fraction)

    @torch.no_grad()
    def after_step(self, layers: Sequence[Any], optimizer: torch.optim.Optimizer) -> None:
        for parameter in _parameters(layers):
            parameter.copy_(self.in_format(parameter, self.weight_integer, self.weight_fraction))


def _parameters(layers: Sequence[Any]) -> list[torch.nn.Parameter]:
    return [each for layer in layers for each in (layer.trained_weight, layer.bias) if each is not None]
