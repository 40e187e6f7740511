"""Convolutional networks without branches: FINN's CNV, LeNet-5 and VGG-Small."""

from typing import Any

import torch

from quant import layers
from quant.models.network import Network, image_shape, scaled
from quant.schemes.scheme import Scheme


class PlainConvNet(Network):
    """Input quantizer; groups of convolutions, each group ending in a 2 x 2 max pool; linear layers.

    Input (N, C, H, W); output (N, classes) logits. ``groups`` contains the output channels of each convolution,
    ``hidden`` the outputs of the linear layers, and ``kernel`` the convolutions' side. With ``padded``, a border of
    zeros preserves height and width; otherwise each convolution reduces them by ``kernel - 1``. The last group is
    pooled if ``pool_last``.

    ``width`` multiplies all channels and hidden outputs. ``in_bits``, ``batch_norm`` and ``bias`` as in
    ``quant.models.mlp.MLP``. Raises QuantError (status 2) for images that are too small.
    """

    def __init__(
        self,
        scheme: Scheme,
        groups: tuple[tuple[int, ...], ...],
        hidden: tuple[int, ...],
        kernel: int,
        padded: bool,
        pool_last: bool = True,
        *,
        input_shape: tuple[int, ...] = (3, 32, 32),
        classes: int = 10,
        in_range: tuple[int, int] = (0, 255),
        in_bits: int | None = None,
        width: float = 1.0,
        batch_norm: bool | None = None,
        bias: bool | None = None,
        name: str = "plain",
    ) -> None:
        super().__init__(name, scheme, input_shape, classes, in_range, in_bits)

        def sides(side: int) -> int:
            for index, group in enumerate(groups):
                side -= 0 if padded else (kernel - 1) * len(group)
                if index < len(groups) - 1 or pool_last:
                    side //= 2
            return side

        features, *left = image_shape(name, input_shape, sides, typical=64)
        batch_norm, bias = self.normalization(batch_norm, bias)
        edge = scheme.edge  # for the first layer; ``add_output`` handles the last one
        self.features = torch.nn.ModuleList()
        for index, group in enumerate(groups):
            for position, channels in enumerate(scaled(c, width) for c in group):
                layer = layers.conv(edge, features, channels, kernel, padding=kernel // 2 if padded else 0, bias=bias)
                last = position == len(group) - 1 and (index < len(groups) - 1 or pool_last)
                pool = torch.nn.MaxPool2d(2) if last else None
                self.features.append(layers.block(scheme, layer, channels, 2, pool=pool, batch_norm=batch_norm))
                features, edge = channels, scheme
        features *= left[0] * left[1]
        self.hidden = torch.nn.ModuleList()
        for outputs in (scaled(h, width) for h in hidden):
            layer = layers.linear(scheme, features, outputs, bias)
            self.hidden.append(layers.block(scheme, layer, outputs, batch_norm=batch_norm))
            features = outputs
        self.add_output(features, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.input(x)
        for block in self.features:
            x = block(x)
        x = x.flatten(1)
        for block in self.hidden:
            x = block(x)
        return self.scale(self.output(x))


def cnv(scheme: Scheme, **options: Any) -> PlainConvNet:
    """CNV: 3 x 3 convolutions without padding, 64-64-pool-128-128-pool-256-256, linear 512-512. Needs 32 x 32 images.

    FINN's network for CIFAR-10 (Umuroglu et al. 2017).
    """
    groups = ((64, 64), (128, 128), (256, 256))
    return PlainConvNet(scheme, groups, (512, 512), kernel=3, padded=False, pool_last=False, **options)


def lenet5(scheme: Scheme, **options: Any) -> PlainConvNet:
    """LeNet-5: 5 x 5 convolutions of 6 and 16 channels with max pools, linear 120-84; by default 28 x 28 images.

    After LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998, with
    max pools, and every channel connected to every other.
    """
    options = {"input_shape": (1, 28, 28), **options}
    return PlainConvNet(scheme, ((6,), (16,)), (120, 84), kernel=5, padded=False, **options)


def vgg_small(scheme: Scheme, **options: Any) -> PlainConvNet:
    """VGG-Small: padded 3 x 3 convolutions, 128-128-pool-256-256-pool-512-512-pool, one linear layer.

    The network of BinaryConnect and BinaryNet for CIFAR-10 without its two hidden linear layers. Images must have sides
    of at least 8, preferably multiples of 8 (pools discard the remainder).
    """
    return PlainConvNet(scheme, ((128, 128), (256, 256), (512, 512)), (), kernel=3, padded=True, **options)
