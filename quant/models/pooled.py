"""Convolutional networks whose last convolution gives the classes: Network in Network, All-CNN and SqueezeNet.

The logits are the means of its outputs over all positions (global average pooling; Lin, Chen, Yan, "Network in
network", ICLR 2014). In hardware they are sums of integers.
"""

from typing import Any

import torch

from quant import layers
from quant.models.network import Network, image_shape, is_small, scaled
from quant.schemes.scheme import Scheme

# Output channels, kernel and stride of each convolution; "pool" is a 2 x 2 max pool.
_NIN: tuple[Any, ...] = (
    (192, 5, 1), (160, 1, 1), (96, 1, 1), "pool", (192, 5, 1), (192, 1, 1), (192, 1, 1), "pool",
    (192, 3, 1), (192, 1, 1),
)  # fmt: skip
_ALL_CNN_C: tuple[Any, ...] = (
    (96, 3, 1), (96, 3, 1), (96, 3, 2), (192, 3, 1), (192, 3, 1), (192, 3, 2), (192, 3, 1), (192, 1, 1),
)  # fmt: skip
# Squeeze channels and channels of each expansion; "pool" is a 2 x 2 max pool.
_FIRES: tuple[Any, ...] = (
    "pool", (16, 64), (16, 64), "pool", (32, 128), (32, 128), "pool", (48, 192), (48, 192), (64, 256), (64, 256),
)  # fmt: skip


class PooledNet(Network):
    """Input quantizer; ``features``; a 1 x 1 convolution to the classes; the mean over all positions."""

    features: torch.nn.Sequential

    def add_classes(self, channels: int, sides: tuple[int, ...], bias: bool) -> None:
        """Adds the last convolution, ``output``, for features of height and width ``sides``, and the mean."""
        edge = self.scheme.edge
        self.output = layers.conv(edge, channels, self.classes, 1, bias=bias)
        self.pool = layers.average_pool(self.scheme, sides, quantize=False)
        self.scale = layers.LogitScale(channels) if edge.unit_weights else torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale(self.pool(self.output(self.features(self.input(x)))).flatten(1))


class ConvolutionsOnly(PooledNet):
    """Input quantizer; padded convolutions and max pools as in ``plan``; a 1 x 1 convolution; the mean.

    Input (N, C, H, W) with sides of at least 4, preferably multiples of 4; output (N, classes) logits. ``width``
    multiplies all channels. ``in_bits``, ``batch_norm`` and ``bias`` as in ``quant.models.mlp.MLP``.
    """

    def __init__(
        self,
        scheme: Scheme,
        plan: tuple[Any, ...],
        *,
        input_shape: tuple[int, ...] = (3, 32, 32),
        classes: int = 10,
        in_range: tuple[int, int] = (0, 255),
        in_bits: int | None = None,
        width: float = 1.0,
        batch_norm: bool | None = None,
        bias: bool | None = None,
        name: str = "nin",
    ) -> None:
        super().__init__(name, scheme, input_shape, classes, in_range, in_bits)
        channels, *_ = image_shape(name, input_shape, lambda side: side // 4, typical=32)
        batch_norm, bias = self.normalization(batch_norm, bias)
        sides = list(input_shape[1:])
        self.features = torch.nn.Sequential()
        for place, each in enumerate(plan):
            if each == "pool":
                continue
            outputs, kernel, stride = each
            outputs = scaled(outputs, width)
            pool = torch.nn.MaxPool2d(2) if plan[place + 1 : place + 2] == ("pool",) else None
            made = layers.conv_block(
                scheme, channels, outputs, kernel,
                stride=stride, edge=place == 0, pool=pool, batch_norm=batch_norm, bias=bias,
            )  # fmt: skip
            self.features.append(made)
            sides = [(-(-side // stride)) // (1 if pool is None else 2) for side in sides]
            channels = outputs
        self.add_classes(channels, tuple(sides), bias)


def nin(scheme: Scheme, **options: Any) -> ConvolutionsOnly:
    """NIN: 5 x 5 and 3 x 3 convolutions, each followed by two of 1 x 1, and global average pooling.

    Lin, Chen, Yan, "Network in network", ICLR 2014, their network for CIFAR-10 with pools of 2 x 2 and BatchNorm.
    """
    return ConvolutionsOnly(scheme, _NIN, **options)


def all_cnn_c(scheme: Scheme, **options: Any) -> ConvolutionsOnly:
    """All-CNN-C: seven 3 x 3 convolutions, two of them with stride 2 instead of a pool, and global average pooling.

    Springenberg, Dosovitskiy, Brox, Riedmiller, "Striving for simplicity: the all convolutional net", ICLR 2015
    (workshop), with BatchNorm.
    """
    return ConvolutionsOnly(scheme, _ALL_CNN_C, **options)


class Fire(torch.nn.Module):
    """``concat(act(norm(conv1(s))), act(norm(conv3(s))))`` of ``s = block(x)``, a 1 x 1 convolution to few channels.

    (N, inputs, H, W) -> (N, 2 * expand, H, W). Both expansions pass the same quantizer, so that hardware can
    concatenate their integers.
    """

    def __init__(
        self, scheme: Scheme, inputs: int, squeeze: int, expand: int, batch_norm: bool | None, bias: bool
    ) -> None:
        super().__init__()
        self.squeeze = layers.conv_block(scheme, inputs, squeeze, 1, batch_norm=batch_norm, bias=bias)
        self.expand1 = layers.linear_part(scheme, squeeze, expand, 1, batch_norm, bias)
        self.expand3 = layers.linear_part(scheme, squeeze, expand, 3, batch_norm, bias)
        self.act = layers.activation(scheme)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.squeeze(x)
        return torch.cat([self.act(self.expand1(x)), self.act(self.expand3(x))], 1)


class SqueezeNet(PooledNet):
    """Input quantizer; a 3 x 3 convolution of 64 channels; eight fire modules; a 1 x 1 convolution; the mean.

    Input (N, C, H, W); output (N, classes) logits. The first convolution and three max pools halve height and width;
    with ``small_input`` (by default: sides below 64) the first two of these do not, so that 32 x 32 images are reduced
    to 8 x 8. ``width`` multiplies all channels. ``in_bits``, ``batch_norm`` and ``bias`` as in
    ``quant.models.mlp.MLP``.
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
        name: str = "squeezenet",
    ) -> None:
        super().__init__(name, scheme, input_shape, classes, in_range, in_bits)
        small = is_small(input_shape, small_input)
        halvings = 2 if small else 4
        channels, *_ = image_shape(name, input_shape, lambda side: side >> halvings, typical=32)
        batch_norm, bias = self.normalization(batch_norm, bias)
        outputs, stride = scaled(64, width), 1 if small else 2
        stem = layers.conv_block(
            scheme, channels, outputs, 3, stride=stride, edge=True, batch_norm=batch_norm, bias=bias
        )
        self.features = torch.nn.Sequential(stem)
        sides = [-(-side // stride) for side in input_shape[1:]]
        for place, each in enumerate(_FIRES):
            if each == "pool":
                if place or not small:
                    self.features.append(torch.nn.MaxPool2d(2))
                    sides = [side // 2 for side in sides]
                continue
            squeeze, expand = (scaled(c, width) for c in each)
            self.features.append(Fire(scheme, outputs, squeeze, expand, batch_norm, bias))
            outputs = 2 * expand
        self.add_classes(outputs, tuple(sides), bias)


def squeezenet(scheme: Scheme, **options: Any) -> SqueezeNet:
    """SqueezeNet 1.1: fire modules, which squeeze to few channels by 1 x 1 and expand by 1 x 1 and 3 x 3.

    Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and < 0.5 MB model size", 2016, with
    pools of 2 x 2 and BatchNorm.
    """
    return SqueezeNet(scheme, **options)
