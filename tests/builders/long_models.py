"""Models of any number of nodes, for what must take time in proportion to it."""

import numpy as np
import onnx

from tests.builders.qonnx_builder import Builder


def elementwise(count: int) -> onnx.ModelProto:
    """``count`` element-wise nodes between two layers."""
    b = Builder((1, 8))
    x = b.node("MatMul", b.quant("x", 2.0**-4, 8), b.quant(np.eye(8), 1.0, 2))
    for i in range(count):
        x = (
            b.node("Relu", x) if i % 3 == 2 else b.node("Mul", x, 1.0 + i % 5 / 8) if i % 3 else b.node("Add", x, 0.25)
        )  # fmt: skip
    return b.model((b.node("MatMul", b.quant(x, 8.0, 4), b.quant(np.eye(8), 1.0, 2)), (1, 8)))


def layers(count: int) -> onnx.ModelProto:
    """``count`` fully connected layers with a quantizer each."""
    b, rng = Builder((1, 8)), np.random.default_rng(0)
    x = b.quant("x", 2.0**-4, 4)
    for _ in range(count):
        x = b.quant(b.node("MatMul", x, b.quant(rng.integers(-3, 4, (8, 8)), 1.0, 3)), 4.0, 4)
    return b.model((x, (1, 8)))


def branches(count: int) -> onnx.ModelProto:
    """One stream with ``count`` readers, each an output."""
    b = Builder((1, 8))
    x = b.quant("x", 2.0**-4, 4)
    outputs = [b.node("MatMul", x, b.quant(np.eye(8), 1.0, 2)) for _ in range(count)]
    return b.model(*((name, (1, 8)) for name in outputs))


def dead(count: int) -> onnx.ModelProto:
    """One layer, and ``count`` nodes on which no output depends."""
    b = Builder((1, 8))
    x = b.quant("x", 2.0**-4, 4)
    y = b.node("MatMul", x, b.quant(np.eye(8), 1.0, 2))
    for _ in range(count):
        x = b.node("Relu", x)
    return b.model((y, (1, 8)))
