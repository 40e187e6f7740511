"""Activations: the quantizers of a scheme, and functions that make several channels of one sum, or one of several.

Except during export, they call their quantizers directly, as the layers with weights do.
"""

from typing import Any

import torch
from brevitas.nn import QuantIdentity, QuantReLU

from quant.errors import QuantError
from quant.schemes.scheme import Scheme

__all__ = [
    "Activation",
    "ByChannel",
    "CReLU",
    "Maxout",
    "MultiBias",
    "ReluActivation",
    "activation",
    "signed_activation",
]


class _Activation:
    act_quant: Any

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.act_quant.export_mode or not self.act_quant.is_quant_enabled:
            return super().forward(x)  # type: ignore[misc]
        # The ReLU is omitted: the quantizer after it is unsigned, so its clip has the same effect.
        return self.act_quant.fused_activation_quant_proxy.tensor_quant(x)[0]


class Activation(_Activation, QuantIdentity):
    """A quantizer."""


class ReluActivation(_Activation, QuantReLU):
    """A ReLU followed by an unsigned quantizer."""


def activation(scheme: Scheme) -> Activation | ReluActivation:
    """Returns a hidden activation for any shape: the scheme's quantizer, after a ReLU if the scheme has one."""
    kind = ReluActivation if scheme.relu else Activation
    return kind(act_quant=scheme.act_quant())


def signed_activation(scheme: Scheme) -> Activation:
    """Returns the scheme's quantizer of values that no ReLU follows (``Scheme.signed_quant``), for any shape."""
    return Activation(act_quant=scheme.signed_quant())


class CReLU(torch.nn.Module):
    """``concat(act(z), act(-z))`` along the channels: (N, C, ...) -> (N, 2C, ...), with one quantizer for both.

    A layer then needs half of the filters for as many channels. In hardware, that is half of the products, and two
    thresholds on each sum. Shang, Sohn, Almeida, Lee, "Understanding and improving convolutional neural networks via
    concatenated rectified linear units", ICML 2016.

    Raises QuantError (status 2) for activations of one bit, where ``act(-z)`` is ``-act(z)`` and adds nothing.
    """

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        if not scheme.relu:
            raise QuantError(
                f"scheme {scheme.name} has activations without ReLU, of which CReLU's second half is only the negative "
                "of the first: take more activation bits, or several biases (MultiBias)",
                status=2,
            )
        self.act = activation(scheme)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.act(z), self.act(-z)], 1)


class ByChannel(torch.nn.Module):
    """A function with learned numbers for each channel of its input; its output has the channels ``copies`` times, one
    copy after another."""

    copies = 1

    def numbers(self) -> list[torch.nn.Parameter]:
        """The learned numbers, each of the shape (channels, ...)."""
        raise NotImplementedError


class MultiBias(ByChannel):
    """``concat(act(z + d_1), ..., act(z + d_K))`` along the channels, with a learned d_k for each channel.

    (N, C, *spatial) -> (N, K C, *spatial), K = ``count``, with ``dimensions`` spatial axes. d starts evenly spread from
    -0.5 to 0.5, half of the deviation of BatchNorm's outputs. In hardware, K thresholds on each sum. Li, Ouyang, Wang,
    "Multi-bias non-linear activation in deep neural networks", ICML 2016.
    """

    def __init__(self, scheme: Scheme, channels: int, count: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.act = activation(scheme)
        spread = torch.linspace(-0.5, 0.5, count) if count > 1 else torch.zeros(1)
        self.biases = torch.nn.ParameterList(start.repeat(channels, *[1] * dimensions) for start in spread)
        self.copies = count

    def numbers(self) -> list[torch.nn.Parameter]:
        return list(self.biases)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.act(z + bias) for bias in self.biases], 1)


class Maxout(torch.nn.Module):
    """The maximum of each ``count`` consecutive channels, and the scheme's activation: (N, C K, ...) -> (N, C, ...).

    Quantizers never decrease, so the maximum of the codes is the code of the maximum. In training the maximum comes
    first, whose gradient has one place; afterwards the codes are compared, which are narrower. In hardware that is a
    ``max_pool`` over K neighbours of the stream, without a memory of its own; the layer before has K times the filters
    of a plain one. Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout networks", ICML 2013.

    With filters tied as "translated:Z" (``quant.ties``) it pools over the translates of one filter (Zhai, Cheng, Lu,
    Zhang, "Doubly convolutional neural networks", NIPS 2016).

    Raises QuantError (status 2) for a ``count`` below 2.
    """

    def __init__(self, scheme: Scheme, count: int) -> None:
        super().__init__()
        if isinstance(count, bool) or not isinstance(count, int) or count < 2:
            raise QuantError(f"maxout over {count!r} channels: give a whole number of 2 or more", status=2)
        self.count = count
        self.act = activation(scheme)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.act(self._maximum(z)) if self.training else self._maximum(self.act(z))

    def _maximum(self, z: torch.Tensor) -> torch.Tensor:
        frames, channels, *sides = z.shape
        rows = z.permute(0, *range(2, z.dim()), 1).reshape(frames, 1, -1, self.count)  # in the order of the stream
        pooled = torch.nn.functional.max_pool2d(rows, (1, self.count))
        return pooled.reshape(frames, *sides, channels // self.count).permute(0, z.dim() - 1, *range(1, z.dim() - 1))
