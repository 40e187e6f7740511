"""Convolutional networks without branches: FINN's CNV, LeNet-5, VGG and AlexNet."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from quant import layers
from quant.errors import QuantError
from quant.models.network import image_shape, scaled
from quant.models.staged import StagedNetwork
from quant.schemes.scheme import Scheme

ACTIVATIONS = "crelu, mba or maxout:K"


def _activation(name: str | None, scheme: Scheme, channels: int) -> tuple[int, int, torch.nn.Module | None]:
    """The filters for about ``channels`` channels, the channels that they become, and the activation in between.

    Raises QuantError (status 2) for a name of none.
    """
    half = -(-channels // 2)
    if name is None:
        return channels, channels, None
    if name == "crelu":
        return half, 2 * half, layers.CReLU(scheme)
    if name == "mba":
        return half, 2 * half, layers.MultiBias(scheme, half, 2)
    kind, _, count = str(name).partition(":")
    if kind != "maxout" or not count.isdecimal():
        raise QuantError(f"no activation {name!r} of channels: choose {ACTIVATIONS}", status=2)
    return channels * int(count), channels, layers.Maxout(scheme, int(count))


class _FlattenedNetwork(StagedNetwork):
    """Blocks of convolutions, ``features``; of linear layers, ``hidden``; the last layer."""

    features: torch.nn.ModuleList
    hidden: torch.nn.ModuleList

    def stages(self) -> Iterable[Callable[[torch.Tensor], torch.Tensor]]:
        yield from self.features
        for number, block in enumerate(self.hidden):
            yield block if number else lambda x, block=block: block(x.flatten(1))  # type: ignore[misc]

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.scale(self.output(x if len(self.hidden) else x.flatten(1)))
        return result


class PlainConvNet(_FlattenedNetwork):
    """Input quantizer; groups of convolutions, each group ending in a 2 x 2 max pool; linear layers.

    Input (N, C, H, W); output (N, classes) logits. ``groups`` contains the output channels of each convolution,
    ``hidden`` the outputs of the linear layers, and ``kernel`` the convolutions' side. With ``padded``, a border of
    zeros preserves height and width; otherwise each convolution reduces them by ``kernel - 1``. The last group is
    pooled if ``pool_last``.

    ``width`` multiplies all channels and hidden outputs. ``activation`` makes the channels of each convolution from
    half as many filters, "crelu" (``quant.layers.CReLU``) or "mba" (two biases, ``quant.layers.MultiBias``), or from K
    times as many, "maxout:K" (``quant.layers.Maxout``).
    ``in_bits``, ``batch_norm`` and ``bias`` as in ``quant.models.mlp.MLP``. Raises QuantError (status 2) for images
    that are too small.
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
        activation: str | None = None,
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
        self.features = torch.nn.ModuleList()
        for index, group in enumerate(groups):
            for position, wanted in enumerate(scaled(c, width) for c in group):
                filters, channels, act = _activation(activation, scheme, wanted)
                last = position == len(group) - 1 and (index < len(groups) - 1 or pool_last)
                made = layers.conv_block(
                    scheme, features, filters, kernel, padding=None if padded else 0, edge=not self.features,
                    pool=torch.nn.MaxPool2d(2) if last else None, batch_norm=batch_norm, bias=bias, act=act,
                )  # fmt: skip
                self.features.append(made)
                features = channels
        features *= left[0] * left[1]
        self.hidden = torch.nn.ModuleList()
        for outputs in (scaled(h, width) for h in hidden):
            layer = layers.linear(scheme, features, outputs, bias)
            self.hidden.append(layers.block(scheme, layer, outputs, batch_norm=batch_norm))
            features = outputs
        self.add_output(features, bias)


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


def lenet5_caffe(scheme: Scheme, **options: Any) -> PlainConvNet:
    """LeNet-5 as in Caffe's example: 5 x 5 convolutions of 20 and 50 channels with max pools, linear 500; 28 x 28.

    The LeNet-5 of most papers on compression: 430,500 weights.
    """
    options = {"input_shape": (1, 28, 28), **options}
    return PlainConvNet(scheme, ((20,), (50,)), (500,), kernel=5, padded=False, **options)


def vgg16(scheme: Scheme, **options: Any) -> PlainConvNet:
    """VGG-16 for 32 x 32 images: thirteen padded 3 x 3 convolutions of 64 to 512 channels, five pools, one linear.

    Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, in the form
    for CIFAR-10 with BatchNorm.
    """
    groups = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
    return PlainConvNet(scheme, groups, (), kernel=3, padded=True, **options)


def vgg19(scheme: Scheme, **options: Any) -> PlainConvNet:
    """VGG-19 for 32 x 32 images: sixteen padded 3 x 3 convolutions, as ``vgg16``; that of network slimming."""
    groups = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
    return PlainConvNet(scheme, groups, (), kernel=3, padded=True, **options)


def vgg_small(scheme: Scheme, **options: Any) -> PlainConvNet:
    """VGG-Small: padded 3 x 3 convolutions, 128-128-pool-256-256-pool-512-512-pool, one linear layer.

    The network of BinaryConnect and BinaryNet for CIFAR-10 without its two hidden linear layers. Images must have sides
    of at least 8, preferably multiples of 8 (pools discard the remainder).
    """
    return PlainConvNet(scheme, ((128, 128), (256, 256), (512, 512)), (), kernel=3, padded=True, **options)


class AlexNet(_FlattenedNetwork):
    """Input quantizer; convolutions of 11 x 11 (stride 4), 5 x 5 and three of 3 x 3; three pools; three linear layers.

    Input (N, C, H, W), at least 45 x 45, meant for 64 x 64 or 96 x 96; output (N, classes) logits. Max pools are 3 x 3
    with stride 2. ``width`` multiplies all channels and hidden outputs. ``in_bits``, ``batch_norm`` and ``bias`` as in
    ``quant.models.mlp.MLP``.
    """

    def __init__(
        self,
        scheme: Scheme,
        *,
        input_shape: tuple[int, ...] = (3, 64, 64),
        classes: int = 10,
        in_range: tuple[int, int] = (0, 255),
        in_bits: int | None = None,
        width: float = 1.0,
        batch_norm: bool | None = None,
        bias: bool | None = None,
        name: str = "alexnet",
    ) -> None:
        super().__init__(name, scheme, input_shape, classes, in_range, in_bits)

        def sides(side: int) -> int:
            side = (side + 4 - 11) // 4 + 1
            for _ in range(3):
                side = (side - 3) // 2 + 1
            return side

        channels, *left = image_shape(name, input_shape, sides, typical=64)
        batch_norm, bias = self.normalization(batch_norm, bias)
        self.features = torch.nn.ModuleList()
        for outputs, kernel, stride, padding, pooled in (
            (96, 11, 4, 2, True), (256, 5, 1, 2, True), (384, 3, 1, 1, False), (384, 3, 1, 1, False),
            (256, 3, 1, 1, True),
        ):  # fmt: skip
            outputs = scaled(outputs, width)
            made = layers.conv_block(
                scheme, channels, outputs, kernel, stride=stride, padding=padding, edge=not self.features,
                pool=torch.nn.MaxPool2d(3, stride=2) if pooled else None, batch_norm=batch_norm, bias=bias,
            )  # fmt: skip
            self.features.append(made)
            channels = outputs
        features = channels * left[0] * left[1]
        self.hidden = torch.nn.ModuleList()
        for outputs in (scaled(4096, width),) * 2:
            layer = layers.linear(scheme, features, outputs, bias)
            self.hidden.append(layers.block(scheme, layer, outputs, batch_norm=batch_norm))
            features = outputs
        self.add_output(features, bias)


def alexnet(scheme: Scheme, **options: Any) -> AlexNet:
    """AlexNet without groups and local normalization, for images of 64 x 64 or 96 x 96.

    Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", NIPS 2012, with
    BatchNorm.
    """
    return AlexNet(scheme, **options)
