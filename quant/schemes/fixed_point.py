"""Fixed point: integers of 2 to 16 bits with power-of-two scales, so that hardware rescales by shifts."""

from dataclasses import dataclass
from typing import ClassVar

from quant.errors import QuantError
from quant.quantizers.functions import ROUNDINGS
from quant.quantizers.injector import Injector
from quant.quantizers.tensor_quant import (
    MeanWeight,
    UniformAct,
    UniformWeight,
    act_injector,
    bias_injector,
    weight_injector,
)
from quant.schemes.parameters import check_bits, check_rounding
from quant.schemes.scheme import Scheme


@dataclass(frozen=True)
class FixedPoint(Scheme):
    """Fixed point with power-of-two scales.

    Forward: ``2**-f * clip(round(x * 2**f), low, high)``.

    - Weights are signed and symmetric; f follows from ``max|w|``. 2-bit weights are {-2, -1, 0, 1}; f follows from
      ``1.2 mean|w|``, and rounding is half to even.
    - Activations are unsigned, after a ReLU; f is learned, starting from the range of the first batches.
    - Biases are signed, 16 bits; f follows from ``max|b|``.
    - Residual sums are signed, with 8 bits or ``act_bits``, whichever is more; f is learned.
    - ``rounding``: "half_up" (add one half, then truncate; default), "half_even" (as in ONNX), "floor", "toward_zero",
      or "stochastic" during training with half up at inference.

    Gradient: straight through the rounding, and zero where a value is clipped. Loss: cross entropy.

    Vanhoucke, Senior, Mao: "Improving the speed of neural networks on CPUs", 2011, is the 8-bit predecessor, for
    inference only. Published: a speech network on a CPU three times as fast as optimized floating point, at no cost in
    accuracy. Scheme ``gupta`` uses fixed point during training as well, including the gradients.
    """

    name: ClassVar[str] = "fixed_point"
    batch_norm: ClassVar[bool] = False
    # The base class's rate is too high without BatchNorm.
    learning_rate: ClassVar[tuple[float, float]] = (3e-3, 3e-5)

    weight_bits: int = 8
    act_bits: int = 8
    rounding: str = "half_up"

    def __post_init__(self) -> None:
        check_bits(self.name, "weight_bits", self.weight_bits, 2)
        check_bits(self.name, "act_bits", self.act_bits, 2)
        check_rounding(self.name, self.rounding, ROUNDINGS)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "FixedPoint":
        if isinstance(weight_bits, str):
            raise QuantError(f"scheme fixed_point has no {weight_bits} weights: use scheme integer", status=2)
        return cls(weight_bits, act_bits)

    def weight_quant(self) -> Injector:
        if self.weight_bits == 2:
            return weight_injector(MeanWeight, narrow=False, power_of_two=True)
        return weight_injector(UniformWeight, bits=self.weight_bits, rounding=self.rounding, power_of_two=True)

    def act_quant(self) -> Injector:
        return act_injector(UniformAct, bits=self.act_bits, rounding=self.rounding, power_of_two=True)

    def signed_quant(self) -> Injector:
        return act_injector(UniformAct, signed=True, bits=self.act_bits, rounding=self.rounding, power_of_two=True)

    def sum_quant(self) -> Injector:
        bits = max(8, self.act_bits)
        return act_injector(UniformAct, signed=True, bits=bits, rounding=self.rounding, power_of_two=True)

    def bias_quant(self) -> Injector:
        return bias_injector(UniformWeight, bits=16, rounding=self.rounding, power_of_two=True)
