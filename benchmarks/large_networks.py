"""Networks on large images, with random 4-bit weights and 4-bit activations, as QONNX models drawn by hand."""

from itertools import pairwise

import numpy as np
import onnx

from tests.builders.qonnx_builder import Builder


class _Drawing(Builder):
    """A builder with the layers of these networks; ``Conv`` with as much padding as keeps the size."""

    def __init__(self, side: int) -> None:
        super().__init__((1, 3, side, side))
        self.rng = np.random.default_rng(0)
        self.x = self.quant("x", 1 / 16, 4, signed=0)

    def _weights(self, *shape: int) -> str:
        return self.quant(self.rng.integers(-7, 8, shape) / 8, 1 / 8, 4, narrow=1)

    def conv(self, x: str, inputs: int, outputs: int, size: int = 3, stride: int = 1, group: int = 1) -> str:
        """A convolution without an activation."""
        weights, half = self._weights(outputs, inputs // group, size, size), size // 2
        return self.node(
            "Conv", x, weights, kernel_shape=[size] * 2, pads=[half] * 4, strides=[stride] * 2, group=group
        )

    def layer(self, x: str, inputs: int, outputs: int, size: int = 3, stride: int = 1, group: int = 1) -> str:
        """A convolution with its activation, of scale 1/16."""
        made = self.node("Mul", self.conv(x, inputs, outputs, size, stride, group), 1 / (size * size * inputs // group))
        return self.quant(self.node("Relu", made), 1 / 16, 4, signed=0)

    def separable(self, x: str, inputs: int, outputs: int, stride: int) -> str:
        """A depthwise and a pointwise convolution."""
        return self.layer(self.layer(x, inputs, inputs, 3, stride, inputs), inputs, outputs, 1)

    def classes(self, x: str, inputs: int, count: int) -> onnx.ModelProto:
        """The model, with a classifier after a global pool."""
        mean = self.quant(self.node("GlobalAveragePool", x), 1 / 16, 4, signed=0)
        return self.model((self.node("MatMul", self.node("Flatten", mean), self._weights(inputs, count)), (1, count)))


def mobilenet(side: int = 224) -> onnx.ModelProto:
    """MobileNet-v1 of width 1.0 (Howard et al., 2017, table 1)."""
    b = _Drawing(side)
    channels = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    x = b.layer(b.x, 3, channels[0], stride=2)
    for (inputs, outputs), stride in zip(pairwise(channels), strides, strict=True):
        x = b.separable(x, inputs, outputs, stride)
    return b.classes(x, channels[-1], 1000)


def separable(side: int = 512) -> onnx.ModelProto:
    """Depthwise separable convolutions, halved five times."""
    b = _Drawing(side)
    channels = [16, 16, 32, 32, 64, 64, 128]
    x = b.layer(b.x, 3, channels[0], stride=2)
    for i, (inputs, outputs) in enumerate(pairwise(channels)):
        x = b.separable(x, inputs, outputs, 1 + i % 2 if i else 1)
    return b.classes(x, channels[-1], 10)


def unet(side: int = 256, channels: tuple[int, ...] = (8, 16, 32, 64)) -> onnx.ModelProto:
    """A U-Net: two convolutions a level, pools of 2 x 2 down, nearest neighbours up, joined by concatenation."""
    b = _Drawing(side)
    x, before, levels = b.x, 3, []
    for i, width in enumerate(channels):
        if i:
            levels.append((x, before))
            x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x, before = b.layer(b.layer(x, before, width), width, width), width
    for beside, width in reversed(levels):
        large = b.node(
            "Resize", x, "", np.array([1, 1, 2, 2], np.float32), mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )  # fmt: skip
        x = b.node("Concat", large, beside, axis=1)
        x, before = b.layer(b.layer(x, before + width, width), width, width), width
    return b.model((b.conv(x, before, 2, 1), (1, 2, side, side)))


def resnet18(side: int = 224) -> onnx.ModelProto:
    """ResNet-18 (He et al., 2015, table 1)."""
    b = _Drawing(side)
    x = b.node("MaxPool", b.layer(b.x, 3, 64, 7, 2), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    before = 64
    for width, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        short = x if before == width else b.layer(x, before, width, 1, stride)
        x = b.node("Add", b.layer(b.layer(x, before, width, 3, stride), width, width), short)
        x = b.quant(b.node("Relu", x), 1 / 16, 4, signed=0)
        before = width
    return b.classes(x, before, 1000)
