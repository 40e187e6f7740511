"""Layers that take a scheme: Brevitas layers with the scheme's quantizers in place."""

import math

import torch
from brevitas.inject.enum import RestrictValueType, ScalingImplType
from brevitas.nn import QuantIdentity, QuantLinear, QuantReLU
from brevitas.quant import Int8ActPerTensorFixedPoint, Uint8ActPerTensorFixedPoint

from quant.errors import QuantError
from quant.schemes.binary import BinaryAct
from quant.schemes.scheme import Scheme


def linear(scheme: Scheme, in_features: int, out_features: int, bias: bool = False) -> QuantLinear:
    """Fully connected layer (N, in_features) -> (N, out_features) with the scheme's weights, freshly drawn."""
    layer = QuantLinear(
        in_features,
        out_features,
        bias=bias,
        weight_quant=scheme.weight_quant(),
        bias_quant=scheme.bias_quant() if bias else None,
    )
    scheme.initialize(layer.weight.data)
    return layer


def activation(scheme: Scheme) -> torch.nn.Module:
    """Hidden activation, element-wise, any shape: the scheme's quantizer, after a ReLU where the scheme has one."""
    layer = QuantReLU if scheme.relu else QuantIdentity
    return layer(act_quant=scheme.act_quant())


class InputQuant(torch.nn.Module):
    """Quantizes a network's input, whole numbers ``low..high`` as float32, to ``bits`` bits; any shape.

    1 bit: ``sign(x - (low + high) / 2)``, +1 in the upper half of the range and -1 in the lower; exported as ``Sub``
    and ``BipolarQuant``. More bits: ``s * clip(round(x / s), 0, 2**bits - 1)``, or the signed range for a negative
    ``low``, where s >= 1 is the power of two nearest in ratio to ``max(|low|, |high|)`` over the largest code. Enough
    bits leave the input unchanged, and arithmetic on it never rounds. (4 bits turn the digits' brightest 16 to 15.)
    """

    def __init__(self, bits: int, low: int = 0, high: int = 255) -> None:
        super().__init__()
        if not 1 <= bits <= 16 or not low < high:
            raise QuantError(
                f"an input of {bits} bits for values {low}..{high} is not possible: 1 to 16 bits", status=2
            )
        self.bits = bits
        self.middle = (low + high) / 2 if bits == 1 else 0.0
        if bits == 1:
            self.scale = 1.0
            self.quant = QuantIdentity(act_quant=BinaryAct)
        else:
            base = Int8ActPerTensorFixedPoint if low < 0 else Uint8ActPerTensorFixedPoint
            codes = 2 ** (bits - 1 if low < 0 else bits)
            self.scale = 2.0 ** max(0, round(math.log2(max(-low, high) / (codes - 1))))
            # Brevitas divides max_val by the number of codes to get the scale.
            self.quant = QuantIdentity(
                act_quant=base.let(
                    bit_width=bits,
                    scaling_impl_type=ScalingImplType.CONST,
                    restrict_scaling_type=RestrictValueType.POWER_OF_TWO,
                    min_val=0.0,
                    max_val=self.scale * codes,
                )
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.quant(x - self.middle if self.middle else x)


class LogitScale(torch.nn.Module):
    """Multiplies by the power of two nearest to ``1 / sqrt(fan_in)``: sums of signs become unit-sized logits.

    It stands where the papers' binary networks end in BatchNorm. One positive power of two for all classes is exact
    and leaves the arg-max to the integer sums, whereas BatchNorm would cost hardware a multiplier a class.
    """

    def __init__(self, fan_in: int) -> None:
        super().__init__()
        self.scale = 2.0 ** -round(math.log2(math.sqrt(fan_in)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale
