"""Random small convolutional QONNX networks for the tests of lowering: images and signals, branches, pools."""

import numpy as np
import onnx

from tests.builders.qonnx_builder import Builder
from tests.builders.random_models import ROUNDING


class RandomImages:
    """Draws one network of convolutions. ``dyadic``: every constant lies on a power-of-two grid and pools average a
    power of two of elements, so that float32 is exact and values fall on ties."""

    def __init__(self, rng: np.random.Generator, dyadic: bool) -> None:
        self.rng, self.dyadic = rng, dyadic
        self.channels = int(rng.integers(1, 4))
        self.spatial = tuple(int(size) for size in rng.integers(4, 8, rng.choice([1, 2, 2])))
        self.builder = Builder((1, self.channels, *self.spatial))

    def frames(self, count: int) -> np.ndarray:
        """Inputs: on the grid if dyadic."""
        dims = self.builder.inputs[0].type.tensor_type.shape.dim
        shape = (count, *(dim.dim_value for dim in dims[1:]))
        if not self.dyadic:
            return (self.rng.normal(size=shape) * 2).astype(np.float32)
        return (self.rng.integers(-64, 64, shape) / 16).astype(np.float32)

    def model(self) -> onnx.ModelProto:
        x = self.quantizer("x")
        for _ in range(int(self.rng.integers(1, 4))):
            x = self.block(x)
        if self.rng.random() < 0.4:
            x = self.head(x)
        return self.builder.model((x, self.shape))

    @property
    def shape(self) -> tuple[int, ...]:
        return 1, self.channels, *self.spatial

    def block(self, x: str) -> str:
        match int(self.rng.integers(0, 9)):
            case 0 | 1 | 2:
                x = self.functions(self.conv(x))
                x = self.max_pool(x) if self.rng.random() < 0.3 else x
                return self.quantizer(x)
            case 3:
                return self.max_pool(x)
            case 4:
                return self.quantizer(self.average_pool(x))
            case 5:
                return self.residual(x)
            case 6:
                return self.concat(x)
            case 7:
                return self.upsample(x)
            case _:
                return self.functions(self.conv(x))

    # --- parts ---

    def _scale(self, low: int, high: int, size=()) -> np.ndarray:
        scale = np.exp2(self.rng.integers(low, high, size))
        return np.asarray(scale if self.dyadic else scale * self.rng.uniform(0.6, 1.4, size), np.float32)

    def _by_channel(self, values) -> np.ndarray:
        return np.reshape(values, (1, -1, *(1,) * len(self.spatial)))

    def quantizer(self, x: str, scale: np.ndarray | None = None) -> str:
        b, rng = self.builder, self.rng
        bits = int(rng.choice([1, 2, 3, 4, 8]))
        scale = self._scale(-2, 1) if scale is None else scale
        if bits == 1:
            return b.node("BipolarQuant", x, scale)
        if rng.random() < 0.2:
            rows = np.sort(rng.integers(-20, 20, (rng.choice([1, self.channels]), 3)), axis=1) / 4
            layout = "NCHW" if len(self.spatial) == 2 else "NCW"
            return b.node("MultiThreshold", x, rows, out_dtype="UINT2", out_scale=float(scale), data_layout=layout)
        zero_point = float(rng.integers(-2, 3)) if rng.random() < 0.1 else 0.0
        return b.quant(
            x, scale, bits, zero_point, int(rng.integers(0, 2)), int(rng.integers(0, 2)), str(rng.choice(ROUNDING))
        )

    def functions(self, x: str) -> str:
        b, rng, size = self.builder, self.rng, self.channels
        for _ in range(int(rng.integers(0, 3))):
            values = rng.integers(-40, 40, (3, size)) / 8
            match int(rng.integers(0, 4)):
                case 0:
                    gamma = self._scale(-2, 2, size) * rng.choice([-1, 1], size)
                    x = b.batch_norm(
                        x, gamma, values[0], values[1], 4 * self._scale(0, 1, size) ** 2, 0 if self.dyadic else 1e-5
                    )
                case 1:
                    x = b.node("Relu", x)
                case 2:
                    x = b.node("Add", x, self._by_channel(values[0]))
                case _:
                    x = b.node("Mul", x, self._by_channel(self._scale(-1, 2, size)))
        return x

    def _windows(self, largest: int, stride: int, pad: bool = True) -> dict:
        """Attributes of a convolution or a pool that fit; the new sizes go to ``spatial``."""
        rng, rank = self.rng, len(self.spatial)
        kernel = [int(rng.integers(1, min(largest, size) + 1)) for size in self.spatial]
        strides = [int(rng.integers(1, stride + 1)) for _ in range(rank)]
        attributes: dict = {"kernel_shape": kernel, "strides": strides}
        mode = str(rng.choice(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])) if pad else "NOTSET"
        if mode.startswith("SAME"):
            attributes["auto_pad"] = mode
            attributes["strides"] = strides = [min(pair) for pair in zip(strides, kernel, strict=True)]
            self.spatial = tuple(-(-n // s) for n, s in zip(self.spatial, strides, strict=True))
            return attributes
        if mode == "VALID":
            attributes["auto_pad"] = mode
        pads = rng.integers(0, 2, (2, rank)) if pad and mode == "NOTSET" else np.zeros((2, rank), int)
        pads = np.minimum(pads, np.array(kernel) - 1)
        if mode == "NOTSET":
            attributes["pads"] = [int(p) for p in pads.ravel()]
        sizes = zip(self.spatial, pads.sum(axis=0), kernel, strides, strict=True)
        self.spatial = tuple(int((n + p - k) // s + 1) for n, p, k, s in sizes)
        return attributes

    def conv(self, x: str, outputs: int = 0, pointwise: bool = False) -> str:
        b, rng = self.builder, self.rng
        groups = self.channels if rng.random() < 0.3 and not outputs else 1
        outputs = outputs or groups * int(rng.integers(1, 4 if groups == 1 else 3))
        windows = {"kernel_shape": [1] * len(self.spatial)} if pointwise else self._windows(3, 2)
        shape = (outputs, self.channels // groups, *windows["kernel_shape"])
        values = rng.integers(-30, 30, shape) / 8
        scale = self._scale(-2, 0, (outputs, *(1,) * (len(shape) - 1)) if rng.random() < 0.3 else ())
        if rng.random() < 0.3:
            weights = b.node("BipolarQuant", values, self._scale(-2, 0))
        else:
            weights = b.quant(values, scale, int(rng.choice([2, 4, 8])))
        bias = [rng.integers(-20, 20, outputs) / 8] if rng.random() < 0.3 else []
        self.channels = outputs
        return b.node("Conv", x, weights, *bias, group=groups, **windows)

    def max_pool(self, x: str) -> str:
        return self.builder.node("MaxPool", x, **self._windows(3, 3))

    def average_pool(self, x: str) -> str:
        rng = self.rng
        if rng.random() < 0.3 and not self.dyadic:
            self.spatial = (1,) * len(self.spatial)
            return self.builder.node("GlobalAveragePool", x)
        windows = self._windows(2, 2, pad=bool(rng.random() < 0.3))
        return self.builder.node("AveragePool", x, count_include_pad=1, **windows)

    def residual(self, x: str) -> str:
        """Two paths, each quantized with one scale (or twice of it), added."""
        rng, scale = self.rng, self._scale(-2, 1)
        channels = self.channels
        path = self.functions(self.conv(x, channels, pointwise=True))
        a = self.quantizer(path, scale)
        other = x if rng.random() < 0.5 else self.conv(x, channels, pointwise=True)
        b = self.quantizer(other, scale * int(rng.integers(1, 3)))
        return self.quantizer(self.functions(self.builder.node(str(rng.choice(["Add", "Sub"])), a, b)))

    def concat(self, x: str) -> str:
        scale, channels = self._scale(-2, 1), self.channels
        a = self.quantizer(self.conv(x, pointwise=True, outputs=int(self.rng.integers(1, 3))), scale)
        width, self.channels = self.channels, channels
        b = self.quantizer(x, scale) if self.rng.random() < 0.7 else x
        self.channels += width
        return self.builder.node("Concat", a, b, axis=1)

    def upsample(self, x: str) -> str:
        factors = self.rng.integers(1, 3, len(self.spatial))
        if np.prod(self.spatial) * np.prod(factors) > 100:
            return x
        self.spatial = tuple(int(n * f) for n, f in zip(self.spatial, factors, strict=True))
        scales = np.array([1, 1, *factors], np.float32)
        return self.builder.node(
            "Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )

    def head(self, x: str) -> str:
        b, rng = self.builder, self.rng
        inputs = self.channels * int(np.prod(self.spatial))
        self.channels, self.spatial = int(rng.integers(2, 5)), ()
        weights = b.quant(rng.integers(-30, 30, (inputs, self.channels)) / 8, self._scale(-2, 0), 4)
        return b.node("MatMul", b.node("Flatten", x), weights)
