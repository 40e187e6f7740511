"""Residual networks for small images: ResNet-8 (MLPerf Tiny), ResNet-20, ResNet-56 and ResNet-110."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from quant import layers
from quant.errors import QuantError
from quant.models.network import halved, image_shape, scaled
from quant.models.staged import AveragedNetwork
from quant.schemes.scheme import Scheme


class ResidualBlock(torch.nn.Module):
    """``act(add(norm(conv(block(x))), shortcut(x)))``: two 3 x 3 convolutions in parallel with a shortcut.

    (N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded up. The shortcut is the identity if the shapes
    are equal, else a 1 x 1 convolution with the same stride, followed by BatchNorm. ``survival`` is that of
    ``quant.layers.StochasticDepth`` in the branch with two convolutions.
    """

    def __init__(
        self,
        scheme: Scheme,
        inputs: int,
        outputs: int,
        stride: int,
        batch_norm: bool | None,
        bias: bool,
        survival: float = 1.0,
    ) -> None:
        super().__init__()
        self.first = layers.conv_block(scheme, inputs, outputs, 3, stride=stride, batch_norm=batch_norm, bias=bias)
        self.second = layers.linear_part(scheme, outputs, outputs, 3, batch_norm, bias)
        if survival < 1:
            self.second.add_module("depth", layers.StochasticDepth(survival))
        self.shortcut: torch.nn.Module = torch.nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = layers.linear_part(scheme, inputs, outputs, 1, batch_norm, bias, stride=stride)
        self.add = layers.Add(scheme)
        self.act = layers.activation(scheme)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.add(self.second(self.first(x)), self.shortcut(x)))


class ResNet(AveragedNetwork):
    """Input quantizer; a 3 x 3 convolution of 16 channels; stages of 16, 32, 64 channels; global average pool; linear.

    The second and the third stage halve height and width: 32 x 32 images are reduced to 8 x 8.

    Input (N, C, H, W), at least 4 x 4; output (N, classes) logits. Each stage has ``depth`` blocks.

    ``activation="react"`` gives every convolution of a 1-bit network ReActNet's activations and a shortcut of its own
    (``quant.layers.ReactLayer``), and the mean reads values of ``Scheme.sum_quant``.

    ``width`` multiplies all channels. ``survival`` is the probability with which a training step has the last block's
    branch; it falls linearly to that from 1 in front of the first block (``quant.layers.StochasticDepth``).
    ``in_bits``, ``batch_norm`` and ``bias`` as in ``quant.models.mlp.MLP``.

    Raises QuantError (status 2) for an activation of another name, for a ``survival`` that is not above 0 and at most
    1, and for "react" with ``survival`` below 1, or with activations of more than one bit.
    """

    def __init__(
        self,
        scheme: Scheme,
        depth: int,
        *,
        input_shape: tuple[int, ...] = (3, 32, 32),
        classes: int = 10,
        in_range: tuple[int, int] = (0, 255),
        in_bits: int | None = None,
        width: float = 1.0,
        survival: float = 1.0,
        activation: str | None = None,
        batch_norm: bool | None = None,
        bias: bool | None = None,
        name: str = "resnet",
    ) -> None:
        _check_activation(name, activation, survival)
        super().__init__(name, scheme, input_shape, classes, in_range, in_bits)
        inputs, *_ = image_shape(name, input_shape, lambda side: side // 4, typical=32)
        batch_norm, bias = self.normalization(batch_norm, bias)
        channels = scaled(16, width)
        self.act: torch.nn.Module
        if activation == "react":
            self.stem = layers.linear_part(scheme.edge, inputs, channels, 3, batch_norm, bias)
            self.act = layers.Activation(act_quant=scheme.sum_quant())
        else:
            self.stem = layers.conv_block(scheme, inputs, channels, 3, edge=True, batch_norm=batch_norm, bias=bias)
            self.act = torch.nn.Identity()
        self.blocks = torch.nn.ModuleList()
        for stage, outputs in enumerate(scaled(c, width) for c in (16, 32, 64)):
            for index in range(depth):
                stride = 2 if stage and not index else 1
                if activation == "react":
                    for side, wide in ((stride, channels), (1, outputs)):
                        self.blocks.append(layers.ReactLayer(scheme, wide, outputs, side, batch_norm, bias))
                    channels = outputs
                    continue
                kept = 1 - (len(self.blocks) + 1) / (3 * depth) * (1 - survival)
                self.blocks.append(ResidualBlock(scheme, channels, outputs, stride, batch_norm, bias, kept))
                channels = outputs
        self.add_output_of_means(channels, halved(input_shape, 2), bias)

    def stages(self) -> Iterable[torch.nn.Module]:
        return (self.stem, *self.blocks)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return super().logits(self.act(x))

    def add_exits(self, after: int | Sequence[int]) -> None:
        if not isinstance(self.act, torch.nn.Identity):
            raise QuantError(
                f"early_exit={after!r}: the layers of activation=react end in values that are not quantized, which no "
                "head can read: leave one of them out",
                status=2,
            )
        super().add_exits(after)


def _check_activation(name: str, activation: str | None, survival: float) -> None:
    if activation not in (None, "react"):
        raise QuantError(f"model {name} has no activation {activation!r}: choose react, or leave it out", status=2)
    if not 0 < survival <= 1:
        raise QuantError(
            f"model {name}: survival={survival:g} of the last block is not above 0 and at most 1",
            status=2,
        )
    if activation == "react" and survival < 1:
        raise QuantError(
            f"model {name}: stochastic depth leaves out residual blocks, and the layers of activation=react are none: "
            "leave survival out",
            status=2,
        )


def resnet8(scheme: Scheme, **options: Any) -> ResNet:
    """ResNet-8: three residual blocks of 16, 32 and 64 channels.

    MLPerf Tiny's network for CIFAR-10 (Banbury et al. 2021).
    """
    return ResNet(scheme, depth=1, **options)


def resnet20(scheme: Scheme, **options: Any) -> ResNet:
    """ResNet-20: nine residual blocks, three each of 16, 32 and 64 channels.

    He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, here with 1 x 1 convolutions as
    shortcuts between stages.
    """
    return ResNet(scheme, depth=3, **options)


def resnet56(scheme: Scheme, **options: Any) -> ResNet:
    """ResNet-56: 27 residual blocks, nine each of 16, 32 and 64 channels (He et al., CVPR 2016)."""
    return ResNet(scheme, depth=9, **options)


def resnet110(scheme: Scheme, **options: Any) -> ResNet:
    """ResNet-110: 54 residual blocks, 18 each of 16, 32 and 64 channels (He et al., CVPR 2016)."""
    return ResNet(scheme, depth=18, **options)
