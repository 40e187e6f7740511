"""Fixed point: integers of 2 to 16 bits whose scales are powers of two, so that hardware only shifts."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from brevitas.core.function_wrapper import RoundSte
from brevitas.quant import Int8WeightPerTensorFixedPoint, Uint8ActPerTensorFixedPoint
from brevitas.quant.fixed_point import Int8BiasPerTensorFixedPointInternalScaling

from quant.errors import QuantError
from quant.schemes.scheme import Injector, Scheme, check_bits


class _RoundHalfUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.sign(x) * torch.floor(torch.abs(x) + 0.5)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


class RoundHalfUp(torch.nn.Module):
    """Rounding to the nearest integer, ties away from zero, as QONNX's ``HALF_UP`` does; the gradient passes.

    For unsigned activations that is the add-a-half-and-truncate of hardware.
    """

    qonnx_rounding = "HALF_UP"  # read by the export, as Brevitas can export only its own rounding modes

    def __init__(self) -> None:  # Brevitas's injection needs a signature without variable arguments
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _RoundHalfUp.apply(x)


ROUNDINGS: dict[str, type[torch.nn.Module]] = {"half_up": RoundHalfUp, "half_even": RoundSte}


@dataclass(frozen=True)
class FixedPoint(Scheme):
    """Fixed point with power-of-two scales.

    Forward: ``2**-f * clip(round(x * 2**f), low, high)``: weights signed and symmetric, f from ``max|w|``;
    activations unsigned after a ReLU, f learned from the range of the first batches; bias signed, 16 bits, f from
    ``max|b|``. Rounding: ``rounding="half_up"`` (what hardware does; default) or ``"half_even"`` (ONNX's).
    Gradient: straight through the rounding, zero where the clip saturates. Loss: cross entropy.

    Vanhoucke, Senior, Mao 2011 (8 bits, inference); Gupta et al., "Deep learning with limited numerical precision",
    ICML 2015 (16 bits with stochastic rounding in training, which is not done here).
    """

    name: ClassVar[str] = "fixed_point"
    batch_norm: ClassVar[bool] = False

    weight_bits: int = 8
    act_bits: int = 8
    rounding: str = "half_up"

    def __post_init__(self) -> None:
        check_bits(self.name, "weight_bits", self.weight_bits, 2)
        check_bits(self.name, "act_bits", self.act_bits, 2)
        if self.rounding not in ROUNDINGS:
            raise QuantError(
                f"scheme fixed_point: rounding={self.rounding!r} is none of {', '.join(ROUNDINGS)}", status=2
            )

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "FixedPoint":
        if isinstance(weight_bits, str):
            raise QuantError(f"scheme fixed_point has no {weight_bits} weights: use scheme integer", status=2)
        return cls(weight_bits, act_bits)

    def _rounded(self, quantizer: Injector, bits: int, **settings: Any) -> Injector:
        return quantizer.let(bit_width=bits, float_to_int_impl=ROUNDINGS[self.rounding], **settings)

    def weight_quant(self) -> Injector:
        return self._rounded(Int8WeightPerTensorFixedPoint, self.weight_bits)

    def act_quant(self) -> Injector:
        return self._rounded(Uint8ActPerTensorFixedPoint, self.act_bits, collect_stats_steps=30)

    def bias_quant(self) -> Injector:
        return self._rounded(Int8BiasPerTensorFixedPointInternalScaling, 16)
