"""The first and the last operators of a network: what becomes of its inputs, and of its outputs."""

import math

import torch

from quant.errors import QuantError
from quant.layers.activations import Activation
from quant.quantizers.tensor_quant import SignAct, UniformAct, act_injector

__all__ = [
    "Denormalize",
    "InputQuant",
    "LogitScale",
    "Normalize",
]


class InputQuant(torch.nn.Module):
    """Quantizes a network's input, whole numbers ``low..high`` as float32, to ``bits`` bits; any shape.

    1 bit: ``sign(x - (low + high) / 2)``, which is +1 in the upper half of the range and -1 in the lower half. It is
    exported as ``Sub`` and ``BipolarQuant``. More bits: ``s * clip(round(x / s), 0, 2**bits - 1)``, or the signed range
    for a negative ``low``. s >= 1 is the power of two nearest in ratio to ``max(|low|, |high|)`` over the largest code.
    With enough bits the input is unchanged, and arithmetic on it never rounds. (4 bits change the digits' maximum of 16
    to 15.)

    Raises QuantError (status 2) for ``bits`` outside 1 to 16 or an empty range.
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
            self.quant = Activation(act_quant=act_injector(SignAct, signed=True, narrow=True))
        else:
            signed = low < 0
            largest = 2 ** (bits - 1 if signed else bits) - 1
            self.scale = 2.0 ** max(0, round(math.log2(max(-low, high) / largest)))
            self.quant = Activation(
                act_quant=act_injector(UniformAct, signed=signed, bits=bits, scale=self.scale, power_of_two=True)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.quant(x - self.middle if self.middle else x)


class Normalize(torch.nn.Module):
    """``(x - offset) / scale``, from a user's values to those of the network; offset and scale broadcast to x.

    The host computes it, in float32 as here, before it quantizes the network's input. Raises QuantError (status 2)
    for a scale that is not a positive finite number.
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, offset: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        if not bool((scale > 0).all() and scale.isfinite().all() and offset.isfinite().all()):
            raise QuantError("the scale of a normalization must be positive and finite, its offset finite", status=2)
        self.register_buffer("offset", offset)
        self.register_buffer("scale", scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.offset) / self.scale


class Denormalize(torch.nn.Module):
    """``x * scale + offset`` (K,): a network's numbers, of about unit size, in the scale of the data's.

    The host computes it, in float32 as here, behind the network's output.
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, offset: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("offset", offset)
        self.register_buffer("scale", scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.offset


class LogitScale(torch.nn.Module):
    """Multiplies by the power of two nearest to ``1 / sqrt(fan_in)``, so that sums of signs become logits of unit size.

    It replaces the final BatchNorm of the papers' binary networks. One positive power of two for all classes is exact
    and does not change the arg-max of the integer sums, whereas BatchNorm would cost one hardware multiplier per class.
    """

    def __init__(self, fan_in: int) -> None:
        super().__init__()
        self.scale = 2.0 ** -round(math.log2(math.sqrt(fan_in)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale
