"""Few-bit integers with floating-point scales: w2a2, w4a4, w8a8, ternary weights."""

from dataclasses import dataclass
from typing import ClassVar

from quant.errors import QuantError
from quant.quantizers.injector import Injector
from quant.quantizers.tensor_quant import MeanWeight, UniformAct, UniformWeight, act_injector, weight_injector
from quant.schemes.parameters import check_bits
from quant.schemes.scheme import Scheme


@dataclass(frozen=True)
class Integer(Scheme):
    """Uniform integers with one floating-point scale a tensor.

    Forward: ``s * clip(round(w / s), low, high)`` for weights, ``s * clip(round(relu(x) / s), 0, 2**act_bits - 1)``
    for activations; rounding half to even. From 3 bits on weights are symmetric, ``high = -low = 2**(b-1) - 1``,
    and ``s = max|w| / high``. 2-bit weights are {-2, -1, 0, 1} times ``1.2 mean|w|``, and ``weight_bits="ternary"``
    means {-1, 0, 1} times ``1.4 mean|w|``. The activations' s is learned, and starts from the range of the first
    batches.
    Gradient: straight through the rounding; zero where the clip of an activation saturates. Loss: cross entropy.

    The straight-through estimator is Bengio, Leonard, Courville 2013; the activations' scales follow Esser et al.,
    "Learned step size quantization", ICLR 2020 (without its gradient scaling). Weights have a learned scale, too, in
    scheme ``learned_step``.
    """

    name: ClassVar[str] = "integer"

    weight_bits: int | str = 4
    act_bits: int = 4

    def __post_init__(self) -> None:
        if isinstance(self.weight_bits, str):
            if self.weight_bits != "ternary":
                raise QuantError(
                    f"scheme integer: weight_bits={self.weight_bits!r} is neither 2 to 16 nor 'ternary'",
                    status=2,
                )
        else:
            check_bits(self.name, "weight_bits", self.weight_bits, 2)
        check_bits(self.name, "act_bits", self.act_bits, 2)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "Integer":
        return cls(weight_bits, act_bits)

    def weight_quant(self) -> Injector:
        if self.weight_bits == "ternary":
            return weight_injector(MeanWeight, narrow=True)
        if self.weight_bits == 2:
            return weight_injector(MeanWeight, narrow=False)
        return weight_injector(UniformWeight, bits=self.weight_bits)

    def act_quant(self) -> Injector:
        return act_injector(UniformAct, bits=self.act_bits)
