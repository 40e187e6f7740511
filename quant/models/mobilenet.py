"""MobileNet-V1 and V2: depthwise separable convolutions, and inverted residuals with linear bottlenecks."""

from collections.abc import Iterable
from typing import Any

import torch

from quant import layers
from quant.models.network import halved, image_shape, is_small, scaled
from quant.models.staged import AveragedNetwork
from quant.schemes.scheme import Scheme

# Channels and stride of each depthwise separable convolution.
_STAGES = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
# Expansion, channels, blocks and first stride of each stage of MobileNet-V2.
_BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV1(AveragedNetwork):
    """Input quantizer; a 3 x 3 convolution; 13 depthwise separable convolutions; global average pool; linear.

    The first convolution has 32 channels. A depthwise separable convolution is a 3 x 3 depthwise and a 1 x 1
    convolution.

    Input (N, C, H, W); output (N, classes) logits. The network halves height and width five times. With ``small_input``
    (by default: sides below 64) the first convolution and the first strided pair preserve them, so that 32 x 32 images
    are reduced to 4 x 4.

    ``width`` multiplies all channels. ``in_bits``, ``batch_norm`` and ``bias`` as in ``quant.models.mlp.MLP``.
    """

    def __init__(
        self,
        scheme: Scheme,
        *,
        input_shape: tuple[int, ...] = (3, 32, 32),
        classes: int = 10,
        in_range: tuple[int, int] = (0, 255),
        in_bits: int | None = None,
        width: float = 1.0,
        small_input: bool | None = None,
        batch_norm: bool | None = None,
        bias: bool | None = None,
        name: str = "mobilenet-v1",
    ) -> None:
        super().__init__(name, scheme, input_shape, classes, in_range, in_bits)
        small = is_small(input_shape, small_input)
        halvings = 3 if small else 5
        inputs, *_ = image_shape(name, input_shape, lambda side: side >> halvings, typical=32)
        batch_norm, bias = self.normalization(batch_norm, bias)
        channels = scaled(32, width)
        parts: dict[str, Any] = {"batch_norm": batch_norm, "bias": bias}
        self.stem = layers.conv_block(scheme, inputs, channels, 3, stride=1 if small else 2, edge=True, **parts)
        self.pairs = torch.nn.ModuleList()
        strided = 0
        for wide, stride in _STAGES:
            strided += stride == 2
            stride = 1 if small and strided == 1 else stride
            outputs = scaled(wide, width)
            pair = torch.nn.Sequential()
            depthwise = layers.conv_block(scheme, channels, channels, 3, stride=stride, groups=channels, **parts)
            pair.add_module("depthwise", depthwise)
            pair.add_module("pointwise", layers.conv_block(scheme, channels, outputs, 1, **parts))
            self.pairs.append(pair)
            channels = outputs
        self.add_output_of_means(channels, halved(input_shape, halvings), bias)

    def stages(self) -> Iterable[torch.nn.Module]:
        return (self.stem, *self.pairs)


def mobilenet_v1(scheme: Scheme, **options: Any) -> MobileNetV1:
    """MobileNet-V1: 3 x 3 depthwise and 1 x 1 convolutions in turn, 27 layers in all.

    Howard et al., "MobileNets: Efficient convolutional neural networks for mobile vision applications", 2017. ``width``
    is its multiplier, 0.25 in MLPerf Tiny.
    """
    return MobileNetV1(scheme, **options)


class Bottleneck(torch.nn.Module):
    """An inverted residual: 1 x 1 to ``expansion`` times the channels, 3 x 3 depthwise, 1 x 1 without ReLU.

    (N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded up. The last convolution's sums pass a signed
    quantizer; where the shapes are equal, the input is added before it.
    """

    def __init__(
        self, scheme: Scheme, inputs: int, outputs: int, expansion: int, stride: int, norm: bool | None, bias: bool
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand: torch.nn.Module = torch.nn.Identity()
        if expansion > 1:
            self.expand = layers.conv_block(scheme, inputs, wide, 1, batch_norm=norm, bias=bias)
        self.depthwise = layers.conv_block(
            scheme, wide, wide, 3, stride=stride, groups=wide, batch_norm=norm, bias=bias
        )
        self.project = layers.linear_part(scheme, wide, outputs, 1, norm, bias)
        self.add = layers.Add(scheme) if stride == 1 and inputs == outputs else None
        self.act = layers.signed_activation(scheme)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return self.act(y if self.add is None else self.add(y, x))


class MobileNetV2(AveragedNetwork):
    """Input quantizer; a 3 x 3 convolution; 17 bottlenecks; a 1 x 1 convolution; global average pool; linear.

    Input (N, C, H, W); output (N, classes) logits. The network halves height and width five times. With ``small_input``
    (by default: sides below 64) the first convolution and the first strided bottleneck preserve them, so that 32 x 32
    images are reduced to 4 x 4.

    ``width`` multiplies all channels. ``in_bits``, ``batch_norm`` and ``bias`` as in ``quant.models.mlp.MLP``.
    """

    def __init__(
        self,
        scheme: Scheme,
        *,
        input_shape: tuple[int, ...] = (3, 32, 32),
        classes: int = 10,
        in_range: tuple[int, int] = (0, 255),
        in_bits: int | None = None,
        width: float = 1.0,
        small_input: bool | None = None,
        batch_norm: bool | None = None,
        bias: bool | None = None,
        name: str = "mobilenet-v2",
    ) -> None:
        super().__init__(name, scheme, input_shape, classes, in_range, in_bits)
        small = is_small(input_shape, small_input)
        halvings = 3 if small else 5
        inputs, *_ = image_shape(name, input_shape, lambda side: side >> halvings, typical=32)
        batch_norm, bias = self.normalization(batch_norm, bias)
        channels = scaled(32, width)
        parts: dict[str, Any] = {"batch_norm": batch_norm, "bias": bias}
        self.stem = layers.conv_block(scheme, inputs, channels, 3, stride=1 if small else 2, edge=True, **parts)
        self.bottlenecks = torch.nn.Sequential()
        for stage, (expansion, wide, count, first) in enumerate(_BOTTLENECKS):
            outputs = scaled(wide, width)
            for index in range(count):
                stride = first if index == 0 and not (small and stage == 1) else 1
                self.bottlenecks.append(Bottleneck(scheme, channels, outputs, expansion, stride, batch_norm, bias))
                channels = outputs
        outputs = scaled(1280, width)
        self.last = layers.conv_block(scheme, channels, outputs, 1, **parts)
        self.add_output_of_means(outputs, halved(input_shape, halvings), bias)

    def stages(self) -> Iterable[torch.nn.Module]:
        return (self.stem, *self.bottlenecks, self.last)


def mobilenet_v2(scheme: Scheme, **options: Any) -> MobileNetV2:
    """MobileNet-V2: inverted residuals with linear bottlenecks, 53 layers in all.

    Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted residuals and linear bottlenecks", CVPR 2018.
    """
    return MobileNetV2(scheme, **options)
