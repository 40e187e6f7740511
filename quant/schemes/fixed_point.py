"""Fixed point: integers of 2 to 16 bits whose scales are powers of two, so that hardware only shifts."""

from dataclasses import dataclass
from typing import ClassVar

from quant.errors import QuantError
from quant.schemes.functions import check_rounding
from quant.schemes.quantizer import UniformAct, UniformWeight, act_injector, bias_injector, weight_injector
from quant.schemes.scheme import Injector, Scheme, check_bits


@dataclass(frozen=True)
class FixedPoint(Scheme):
    """Fixed point with power-of-two scales.

    Forward: ``2**-f * clip(round(x * 2**f), low, high)``: weights signed and symmetric, f from ``max|w|``;
    activations unsigned after a ReLU, f learned from the range of the first batches; bias signed, 16 bits, f from
    ``max|b|``. ``rounding``: "half_up" (what hardware does; default), "half_even" (ONNX's), "floor", or
    "stochastic" in training and half up in use.
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
        check_rounding(self.name, self.rounding)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "FixedPoint":
        if isinstance(weight_bits, str):
            raise QuantError(f"scheme fixed_point has no {weight_bits} weights: use scheme integer", status=2)
        return cls(weight_bits, act_bits)

    def weight_quant(self) -> Injector:
        return weight_injector(UniformWeight, bits=self.weight_bits, rounding=self.rounding, power_of_two=True)

    def act_quant(self) -> Injector:
        return act_injector(UniformAct, bits=self.act_bits, rounding=self.rounding, power_of_two=True)

    def bias_quant(self) -> Injector:
        return bias_injector(UniformWeight, bits=16, rounding=self.rounding, power_of_two=True)
