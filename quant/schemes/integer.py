"""Integers of few bits with floating-point scales: w2a2, w4a4, w8a8, ternary weights."""

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

    Forward: weights are ``s * clip(round(w / s), low, high)`` and activations are
    ``s * clip(round(relu(x) / s), 0, 2**act_bits - 1)``; rounding is half to even. Weights of 3 bits or more are
    symmetric, ``high = -low = 2**(b-1) - 1``, with ``s = max|w| / high``. 2-bit weights are {-2, -1, 0, 1} times
    ``1.2 mean|w|``; ``weight_bits="ternary"`` means {-1, 0, 1} times ``1.4 mean|w|``. The activations' s is learned;
    its initial value follows from the range of the first batches. Gradient: straight through the rounding, and zero
    where an activation is clipped. Loss: cross entropy.

    The straight-through estimator is from Bengio, Leonard, Courville 2013. The activation scales follow Esser et al.,
    "Learned step size quantization", ICLR 2020, without its gradient scaling. Scheme ``learned_step`` also learns the
    scale of the weights.
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
