"""Layers that follow each other without a quantizer between them: wide sums are exact, or refused by name."""

import numpy as np
import pytest

from hw.host.errors import BitfabricError
from hw.host.steps import step
from hw.ir.stream import smallest_dtype
from hw.lowering.integer_tensor import integer_tensor
from hw.lowering.lower import lower
from hw.lowering.quantize import is_redundant
from hw.simulation.emulator import Emulator
from tests.builders.qonnx_builder import Builder

RNG = np.random.default_rng(0)


def chain(b: Builder, bits: list[int], sizes: list[int], x: str) -> tuple[str, list[np.ndarray]]:
    """MatMuls of these weight bits and inputs; the last has 2 outputs. Weights are near the ends of their range."""
    matrices = []
    for width, inputs, outputs in zip(bits, sizes, [*sizes[1:], 2], strict=True):
        top = (1 << width - 1) - 1
        matrices.append(np.where(RNG.random((inputs, outputs)) < 0.5, top, -top))
        x = b.node("MatMul", x, b.quant(matrices[-1].astype(np.float32), 1.0, width))
    return x, matrices


def ends(inputs: int, bits: int) -> np.ndarray:
    """Frames at both ends of the range, in random signs, and in the signs of a column of weights."""
    top = (1 << bits - 1) - 1
    return np.concatenate([np.full((1, inputs), top), np.full((1, inputs), -top - 1),
                           np.where(RNG.random((20, inputs)) < 0.5, top, -top - 1)])  # fmt: skip


def exact(frames: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    values = frames.astype(object)
    for matrix in matrices:
        values = values @ matrix.astype(object)
    return values


@pytest.mark.parametrize("quantized", [False, True])
def test_sums_of_two_layers_are_exact(quantized):
    """52 bits before the quantizer: the codes are those of Python's fractions of integers."""
    b = Builder((1, 64))
    x, matrices = chain(b, [16, 16], [64, 32], b.quant("x", 1.0, 8))
    model = b.model((b.quant(x, 2.0**47, 5) if quantized else x, (1, 2)))
    graph, frames = lower(model), ends(64, 8)
    sums = exact(frames, matrices)
    edges = Emulator(graph).edges(frames.astype(np.float32))
    assert edges["fc1"].tolist() == sums.tolist()
    if quantized:
        codes = np.array([[min(max(round(int(value) / 2**47), -16), 15) for value in row] for row in sums])
        np.testing.assert_array_equal(edges["fc1_threshold" if "fc1_threshold" in edges else "fc1_requant"], codes)


def test_more_than_53_bits_before_a_quantizer_are_refused():
    b = Builder((1, 128))
    x, _ = chain(b, [16, 16], [128, 256], b.quant("x", 1.0, 10))
    x = b.quant(b.node("MatMul", b.quant(x, 2.0**50, 5), b.quant(np.ones((2, 2)), 1.0, 2)), 1.0, 4)
    with pytest.raises(BitfabricError, match=r"Quant_\d+: Quant quantizes sums of 5\d bits; sums of up to 53 bits"):
        lower(b.model((x, (1, 2))))


def test_a_third_layer_is_refused_by_name():
    b = Builder((1, 64))
    x, _ = chain(b, [16, 16, 16], [64, 64, 64], b.quant("x", 1.0, 8))
    with pytest.raises(BitfabricError, match=r"MatMul_\d+: MatMul cannot be lowered: .* it must be .*INT32"):
        lower(b.model((x, (1, 2))))


def test_pools_of_wide_sums_that_fall_are_refused_by_name():
    """A MaxPool whose values fall with its integers would have to negate sums of more bits than a requant gives."""
    b = Builder((1, 8, 2, 2))
    x = b.node("Conv", b.quant("x", 1.0, 16), b.quant(np.full((1, 8, 1, 1), 2.0**15 - 1), 1.0, 16), kernel_shape=[1, 1])
    x = b.node("MaxPool", b.node("Neg", x), kernel_shape=[2, 2], strides=[2, 2])
    with pytest.raises(BitfabricError, match=r"MaxPool_\d+: MaxPool cannot be lowered: its input has sums of 3\d bits"):
        lower(b.model((x, (1, 1, 1, 1))))


def test_a_quantizer_of_64_bit_sums_is_not_redundant():
    """The number of integers in the range has 65 bits: once it wrapped to nothing, and nothing differed."""
    low, high = -(1 << 63), (1 << 63) - 1
    wide = integer_tensor("edge", (3,), smallest_dtype(low, high), low, high)
    assert wide.span == 1 << 64
    one = np.ones(())
    code = step("Quant", one, 0 * one, bits=4, signed=True, narrow=False, rounding_mode="ROUND")
    assert not is_redundant(wide, (code,))
