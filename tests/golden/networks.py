"""Networks of every kind of layer, small and the same on every machine, as ONNX files.

Those drawn by hand take their numbers from NumPy; those of ``quant`` have torch's numbers of one seed, with BatchNorm
parameters on a coarse grid, so that no threshold lies where rounding of floats could move it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.builders.lookup_models import LookupModel
from tests.builders.qonnx_builder import Builder
from tests.builders.random_images import RandomImages
from tests.builders.random_models import RandomModel
from tests.golden import product


@dataclass(frozen=True)
class Network:
    """A network, and what its design is asked for: ``options`` on every target, ``special`` on single ones."""

    make: Callable[[Path], None]
    options: dict[str, Any] = field(default_factory=dict)
    special: dict[str, dict[str, Any]] = field(default_factory=dict)

    def asked(self, target: str) -> dict[str, Any]:
        """The options for a target."""
        return self.special.get(target, self.options)


# --- parts of networks drawn by hand ---


class Drawing(Builder):
    """A builder with the layers that several networks have."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        super().__init__(shape)
        self.rng = np.random.default_rng(seed)

    def ints(self, *shape: int, bits: int = 4, scale: float = 0.25) -> str:
        """Quantized weights."""
        most = 2 ** (bits - 1) - 1
        return self.quant(self.rng.integers(-most, most + 1, shape) * scale, scale, bits, narrow=1)

    def signs(self, *shape: int) -> str:
        """Weights of -1 and 1."""
        return self.node("BipolarQuant", self.rng.choice([-1.0, 1.0], shape), 1.0)

    def conv(self, x: str, weights: str, size: int, pad: int = 0, rank: int = 2, **attributes: Any) -> str:
        return self.node("Conv", x, weights, kernel_shape=[size] * rank, pads=[pad] * 2 * rank, **attributes)

    def norm(self, x: str, channels: int, spread: float) -> str:
        """BatchNorm, every third channel falling."""
        gamma = np.where(np.arange(channels) % 3 == 1, -1.0, 1.0) * self.rng.choice([0.5, 1.0, 2.0], channels)
        mean = self.rng.integers(-8, 9, channels) / 8 * spread
        return self.batch_norm(x, gamma, self.rng.integers(-4, 5, channels) / 8, mean, np.full(channels, spread) ** 2)


def _ternary() -> onnx.ModelProto:
    """Ternary weights, a fully-connected network with a class as its output."""
    b = Drawing((1, 24), 1)
    x = b.quant("x", 1.0, 3, signed=0)
    x = b.quant(b.node("Relu", b.norm(b.node("MatMul", x, b.ints(24, 16, bits=2)), 16, 4.0)), 0.5, 2, signed=0)
    x = b.node("BipolarQuant", b.norm(b.node("MatMul", x, b.ints(16, 12, bits=2)), 12, 2.0), 1.0)
    x = b.node("MatMul", x, b.signs(12, 6))
    return b.model((b.node("ArgMax", x, axis=1, keepdims=0), (1,), onnx.TensorProto.INT64))


def _branches() -> onnx.ModelProto:
    """Forks, a sum, a difference, a concatenation, pools with padding, upsampling and two outputs."""
    b = Drawing((1, 2, 8, 8), 2)
    x = b.quant("x", 0.25, 4)
    one = b.quant(b.conv(x, b.ints(4, 2, 3, 3), 3, 1), 0.5, 4)
    two = b.quant(b.conv(x, b.ints(4, 2, 1, 1), 1), 0.5, 4)
    both = b.quant(b.node("Add", one, two), 1.0, 4)
    half = b.node("MaxPool", both, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    less = b.quant(b.conv(half, b.ints(4, 4, 1, 1), 1), 1.0, 4)
    minus = b.quant(b.node("Sub", half, less), 1.0, 4)
    large = b.node(
        "Resize", minus, "", np.float32([1, 1, 2, 2]), mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip
    beside = b.node("Concat", large, b.quant(both, 1.0, 4), axis=1)
    image = b.conv(beside, b.ints(2, 8, 3, 3), 3, 1)
    mean = b.quant(b.node("GlobalAveragePool", beside), 0.5, 4)
    scores = b.node("MatMul", b.node("Flatten", mean), b.ints(8, 3))
    return b.model((image, (1, 2, 8, 8)), (scores, (1, 3)))


def _depthwise() -> onnx.ModelProto:
    """Depthwise convolutions of several weights, strides, and averages over windows."""
    b = Drawing((1, 4, 8, 8), 3)
    x = b.quant("x", 0.5, 4, signed=0)
    x = b.quant(b.conv(x, b.ints(4, 1, 3, 3), 3, 1, group=4), 1.0, 4, signed=0)
    x = b.node("BipolarQuant", b.norm(b.conv(x, b.ints(8, 4, 1, 1), 1), 8, 4.0), 1.0)
    x = b.quant(b.norm(b.conv(x, b.signs(8, 1, 3, 3), 3, 1, group=8, strides=[2, 2]), 8, 2.0), 0.5, 3)
    x = b.quant(b.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), 0.5, 4)
    return b.model((b.node("MatMul", b.node("Flatten", x), b.ints(32, 4, bits=8, scale=0.125)), (1, 4)))


def _signal() -> onnx.ModelProto:
    """A signal with dilation and wide activations: requants of several rounding modes."""
    b = Drawing((1, 3, 20), 4)
    x = b.quant("x", 2.0**-4, 8)
    x = b.conv(x, b.ints(4, 3, 3, bits=8, scale=2.0**-5), 3, 2, 1, dilations=[2])
    x = b.quant(x, 2.0**-9, 12, rounding_mode="HALF_UP")
    x = b.conv(x, b.ints(4, 4, 3, bits=6, scale=2.0**-3), 3, 0, 1, strides=[2])
    x = b.quant(b.node("Mul", x, np.float32([0.3, 0.7, 1.1, 0.9]).reshape(1, 4, 1)), 2.0**-8, 12, rounding_mode="FLOOR")
    x = b.node("MaxPool", x, kernel_shape=[3], strides=[3])
    return b.model((b.node("MatMul", b.node("Flatten", x), b.ints(12, 5, bits=4)), (1, 5)))


def _pixels() -> onnx.ModelProto:
    """A network for images that takes several pixels a beat when it is asked for enough frames."""
    b = Drawing((1, 1, 12, 12), 5)
    x = b.quant("x", 1.0, 2, signed=0)
    x = b.node("BipolarQuant", b.norm(b.conv(x, b.signs(2, 1, 3, 3), 3, 1), 2, 4.0), 1.0)
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.quant(b.conv(x, b.ints(2, 2, 3, 3, bits=3, scale=1.0), 3, 1), 2.0, 3)
    x = b.quant(b.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), 1.0, 4)
    return b.model((b.node("MatMul", b.node("Flatten", x), b.ints(18, 3)), (1, 3)))


def _memories() -> onnx.ModelProto:
    """Matrices and multipliers that are kept in block RAM when few frames a second are asked for."""
    b = Drawing((1, 96), 6)
    x = b.quant("x", 1.0, 8)
    for _ in range(2):
        x = b.node("MatMul", x, b.ints(96, 96, bits=8, scale=2.0**-4))
        x = b.quant(b.node("Mul", x, b.rng.integers(60, 130, 96) / 100), 8.0, 8)
    return b.model((x, (1, 96)))


def _random(seed: int, images: bool, dyadic: bool, wide: bool = False) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    return RandomImages(rng, dyadic).model() if images else RandomModel(rng, dyadic, wide).model()


LOOKUP = LookupModel(layers=((36, 4), (20, 6)), classes=4, features=8, levels=3, bits=5, seed=7, end="arg max")


def drawn(make: Callable[..., onnx.ModelProto], *arguments: Any) -> Callable[[Path], None]:
    """How a network drawn by hand is written."""
    return lambda path: onnx.save(make(*arguments), path)


# --- networks of quant ---


def reference(name: str, **options: Any) -> Callable[[Path], None]:
    """How a reference network is written."""
    return lambda path: product.export_network(name, path, **options)


def _finn(path: Path) -> None:
    """FINN's dataflow graph of the network of branches, its matrices folded."""
    onnx.save(product.finn_graph(_branches(), 2000), path)


TINY = {"input_shape": (1, 8, 8), "in_range": (0, 16)}
NETWORKS = {
    "tfc-w1a1": Network(
        reference("tfc-w1a1", input_shape=(64,), in_bits=1, in_range=(0, 16)), {"fps": 1e6}, {"xc7z020": {"fill": True}}
    ),
    "tfc-w2a2": Network(reference("tfc-w2a2", input_shape=(64,), in_range=(0, 16)), {"fps": 2e5}),
    "lenet5-w8a8": Network(
        reference("lenet5-w8a8", input_shape=(1, 16, 16), width=1 / 2), {"fps": 2e4}, {"gw1nr-9c": {"fps": 2e3}}
    ),
    "vgg-small-w1a1": Network(reference("vgg-small-w1a1", width=1 / 32, **TINY), {"fps": 2e5}),
    "resnet8-w4a4": Network(reference("resnet8-w4a4", width=1 / 8, **TINY), {"fps": 1e4}),
    "mobilenet-v1-w4a4": Network(reference("mobilenet-v1-w4a4", width=1 / 16, **TINY), {"fps": 2e3}),
    "ternary": Network(drawn(_ternary), {}, {"ulx3s-85f": {"fps": 5e6}}),
    "branches": Network(drawn(_branches), {"fps": 2e5}, {"ice40up5k": {}}),
    "depthwise": Network(drawn(_depthwise), {"fps": 2e5}, {"xc7z020": {}}),
    "signal": Network(drawn(_signal), {"fps": 1e6}, {"ice40up5k": {"fps": 1e4}}),
    "pixels": Network(drawn(_pixels), {"fps": 3e6}, {"ice40up5k": {"fps": 1e5}}),
    "memories": Network(drawn(_memories), {"fps": 5e3, "parity": True}),
    "random-image": Network(drawn(_random, 5, True, True), {"fps": 1e5}),
    "random-wide": Network(drawn(_random, 3, False, True, True), {"fps": 1e6}),
    "finn-dialect": Network(_finn),
    "lookup": Network(drawn(LOOKUP.model)),
}
