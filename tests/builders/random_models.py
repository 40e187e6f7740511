"""Random small QONNX networks for the tests of lowering: every quantizer, rounding mode and affine function."""

import numpy as np
import onnx

from tests.builders.qonnx_builder import Builder

ROUNDING = ("ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN")


class RandomModel:
    """Draws one network. ``dyadic``: every constant lies on a power-of-two grid, so that float32 is exact and
    values fall on ties; else scales are arbitrary and activations may be transcendental. ``wide``: activations
    of 9 to 16 bits and narrow weights."""

    def __init__(self, rng: np.random.Generator, dyadic: bool, wide: bool = False) -> None:
        self.rng, self.dyadic, self.wide = rng, dyadic, wide
        self.features = int(rng.integers(2, 9))
        self.builder = Builder((1, self.features))

    def frames(self, count: int) -> np.ndarray:
        """Inputs: on the grid if dyadic."""
        shape = (count, self.builder.inputs[0].type.tensor_type.shape.dim[1].dim_value)
        if not self.dyadic:
            return (self.rng.normal(size=shape) * 3).astype(np.float32)
        span, step = (2**13, 2.0**-11) if self.wide else (64, 1 / 16)
        return (self.rng.integers(-span, span, shape) * step).astype(np.float32)

    def model(self) -> onnx.ModelProto:
        x = self._quantizer(self._functions("x"))
        for _ in range(int(self.rng.integers(1, 4))):
            x = self._functions(self._layer(x))
            if self.rng.random() < 0.8:
                x = self._quantizer(x)
                if self.rng.random() < 0.3:
                    x = self._quantizer(self.builder.node("Relu", x) if self.rng.random() < 0.5 else x)
        return self.builder.model((x, (1, self.features)))

    def _scale(self, low: int, high: int, size=()) -> np.ndarray:
        scale = np.exp2(self.rng.integers(low, high, size))
        return np.asarray(scale if self.dyadic else scale * self.rng.uniform(0.6, 1.4, size), np.float32)

    def _values(self, size=()) -> np.ndarray:
        values = self.rng.integers(-40, 40, size) / 8 if self.dyadic else self.rng.normal(size=size) * 3
        return np.asarray(values, np.float32)

    def _functions(self, x: str) -> str:
        b, rng, size = self.builder, self.rng, self.features
        for _ in range(int(rng.integers(0, 4))):
            match int(rng.integers(0, 8)):
                case 0:
                    gamma = self._scale(-2, 2, size) * rng.choice([-1, 1], size)
                    variance = 4 * self._scale(0, 1, size) ** 2
                    x = b.batch_norm(
                        x, gamma, self._values(size), self._values(size), variance, 0 if self.dyadic else 1e-5
                    )
                case 1:
                    x = b.node("Relu", x)
                case 2:
                    x = b.node("Add", x, self._values((1, size)))
                case 3:
                    x = b.node("Mul", x, self._scale(-2, 2, rng.choice([1, size])))
                case 4:
                    x = b.node("Sub", self._values(size), x)
                case 5:
                    x = b.node("Clip", x, -4.0, 6.0)
                case 6:
                    x = b.node("LeakyRelu", x, alpha=0.25) if not self.wide else b.node("Div", x, 2.0)
                case 7:
                    x = b.node("Neg", x)
        if not self.dyadic and not self.wide and rng.random() < 0.3:
            x = b.node(str(rng.choice(["Sigmoid", "Tanh", "HardSigmoid", "Elu", "Softsign"])), x)
        return x

    def _quantizer(self, x: str, weights: bool = False) -> str:
        b, rng = self.builder, self.rng
        bits = int(rng.choice([9, 12, 16] if self.wide and not weights else [1, 2, 3, 4, 8][: 3 if self.wide else 5]))
        if bits == 1 or rng.random() < (0.2 if not self.wide else 0):
            return b.node("BipolarQuant", x, self._scale(-3, 1))
        scale = self._scale(-12, -6) if self.wide and not weights else self._scale(-3, 0)
        zero_point = float(rng.integers(-2, 3)) if rng.random() < 0.3 else 0.0
        signed, narrow = int(weights or rng.integers(0, 2)), int(rng.integers(0, 2))
        return b.quant(x, scale, bits, zero_point, signed, narrow, str(rng.choice(ROUNDING)))

    def _layer(self, x: str) -> str:
        b, rng, outputs = self.builder, self.rng, int(self.rng.integers(2, 9))
        values = rng.integers(-30, 30, (self.features, outputs)) / 8
        if rng.random() < 0.5:
            weights = self._quantizer(b.constant(values), weights=True)
        else:
            weights = b.quant(values, self._scale(-3, 0, (1, outputs)), 3 if self.wide else int(rng.choice([2, 4, 8])))
        self.features = outputs
        if rng.random() < 0.3:
            return b.node("Gemm", x, b.node("Transpose", weights, perm=[1, 0]), self._values(outputs), transB=1)
        return b.node("MatMul", x, weights)
