"""MobileNet-V1: depthwise separable convolutions."""

from typing import Any

import torch

from quant import layers
from quant.models.network import Network, image_shape, scaled
from quant.schemes.scheme import Scheme

# Channels and stride of each depthwise separable convolution.
_STAGES = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
_SMALL = 64


class MobileNetV1(Network):
    """Input quantizer; a 3 x 3 convolution; 13 depthwise separable convolutions; global average pool; linear.

    The first convolution has 32 channels. A depthwise separable convolution is a 3 x 3 depthwise and a 1 x 1
    convolution.

    Input (N, C, H, W); output (N, classes) logits. The network halves height and width five times. With ``small_input``
    (by default: sides below 64) the first convolution and the first strided pair preserve them, so that 32 x 32 images
    are reduced to 4 x 4. The average is not quantized: in hardware the last layer reads the sums.

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
        small = min(input_shape[1:], default=0) < _SMALL if small_input is None else small_input
        halvings = 3 if small else 5
        inputs, *_ = image_shape(name, input_shape, lambda side: side >> halvings, typical=32)
        batch_norm, bias = self.normalization(batch_norm, bias)
        channels = scaled(32, width)
        stem = layers.conv(scheme.edge, inputs, channels, 3, stride=1 if small else 2, padding=1, bias=bias)
        self.stem = layers.block(scheme, stem, channels, 2, batch_norm=batch_norm)
        self.pairs = torch.nn.ModuleList()
        strided = 0
        for wide, stride in _STAGES:
            strided += stride == 2
            stride = 1 if small and strided == 1 else stride
            depthwise = layers.conv(scheme, channels, channels, 3, stride=stride, padding=1, groups=channels, bias=bias)
            outputs = scaled(wide, width)
            pointwise = layers.conv(scheme, channels, outputs, 1, bias=bias)
            pair = torch.nn.Sequential()
            pair.add_module("depthwise", layers.block(scheme, depthwise, channels, 2, batch_norm=batch_norm))
            pair.add_module("pointwise", layers.block(scheme, pointwise, outputs, 2, batch_norm=batch_norm))
            self.pairs.append(pair)
            channels = outputs
        window = tuple(-(-side // 2**halvings) for side in input_shape[1:])
        self.pool = layers.average_pool(scheme, window, quantize=False)
        self.add_output(channels, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(self.input(x))
        for pair in self.pairs:
            x = pair(x)
        return self.scale(self.output(self.pool(x).flatten(1)))


def mobilenet_v1(scheme: Scheme, **options: Any) -> MobileNetV1:
    """MobileNet-V1: 3 x 3 depthwise and 1 x 1 convolutions in turn, 27 layers in all.

    Howard et al., "MobileNets: Efficient convolutional neural networks for mobile vision applications", 2017. ``width``
    is its multiplier, 0.25 in MLPerf Tiny.
    """
    return MobileNetV1(scheme, **options)
