"""The layers of ReActNet: a sign with a learned threshold, and a PReLU between two learned shifts.

Liu, Shen, Savvides, Cheng, "ReActNet: towards precise binary neural network with generalized activation functions",
ECCV 2020, equations 3 to 5.
"""

import torch

from quant.errors import QuantError
from quant.layers.activations import Activation, ByChannel
from quant.layers.blocks import Add, linear_part
from quant.schemes.scheme import Scheme

__all__ = [
    "RPReLU",
    "RSign",
    "ReactLayer",
]

SLOPE = 0.25  # of a new PReLU below zero, as in torch


def _shift(channels: int, dimensions: int) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.zeros(channels, *[1] * dimensions))


class RSign(ByChannel):
    """The scheme's sign of ``x - shift``, with a learned shift for each channel: (N, C, *spatial), any shape.

    In hardware the shift is a part of the channel's threshold. A scheme that quantizes nothing has the shift alone: the
    first of two steps of training, in which ``RPReLU`` is what is not linear.

    Raises QuantError (status 2) for a scheme with a ReLU, that is with activations of more than one bit.
    """

    def __init__(self, scheme: Scheme, channels: int, dimensions: int = 2) -> None:
        super().__init__()
        if scheme.quantizes and scheme.relu:
            raise QuantError(
                f"scheme {scheme.name} has activations behind a ReLU, and RSign is a sign: take activations of one "
                "bit, as in -w1a1",
                status=2,
            )
        self.shift = _shift(channels, dimensions)
        self.act = Activation(act_quant=scheme.act_quant())

    def numbers(self) -> list[torch.nn.Parameter]:
        return [self.shift]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(x - self.shift)


class RPReLU(ByChannel):
    """``PReLU(x - before) + after``, with a learned slope and two learned shifts for each channel: (N, C, *spatial).

    In hardware it is no operator of its own: the thresholds of the quantizers behind it contain it, exactly.
    """

    def __init__(self, channels: int, dimensions: int = 2) -> None:
        super().__init__()
        self.before, self.after = _shift(channels, dimensions), _shift(channels, dimensions)
        self.prelu = torch.nn.PReLU(channels, SLOPE)

    def numbers(self) -> list[torch.nn.Parameter]:
        return [self.before, self.after, self.prelu.weight]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.prelu(x - self.before) + self.after


class ReactLayer(torch.nn.Module):
    """``RPReLU(add(norm(conv(RSign(x))), shortcut))``: one convolution of ReActNet, each with its own shortcut.

    (N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded up, values that the next layers quantize. The
    shortcut is x itself if the shapes are equal, else a 1 x 1 convolution of the signs with the same stride, followed
    by BatchNorm. (The paper averages x and copies channels, for factors of two.) The sum is that of
    ``quant.layers.Add``: both operands pass one quantizer of the scheme.
    """

    def __init__(
        self, scheme: Scheme, inputs: int, outputs: int, stride: int, batch_norm: bool | None, bias: bool
    ) -> None:
        super().__init__()
        self.sign = RSign(scheme, inputs)
        self.branch = linear_part(scheme, inputs, outputs, 3, batch_norm, bias, stride=stride)
        self.shortcut: torch.nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = linear_part(scheme, inputs, outputs, 1, batch_norm, bias, stride=stride)
        self.add = Add(scheme)
        self.act = RPReLU(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        signs = self.sign(x)
        return self.act(self.add(self.branch(signs), x if self.shortcut is None else self.shortcut(signs)))
