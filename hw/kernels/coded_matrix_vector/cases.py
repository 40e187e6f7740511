"""Cases of ``coded_matrix_vector``: small kernels for every check, the definition, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.coded_matrix_vector.kernel import CodedMatrixVector
from hw.kernels.tied_matrix_vector.cases import circulant

SMALL = (
    # name, weights, inputs, outputs by inputs, different weights, prefix, PE, SIMD
    ("weight planes", "INT6", "UINT4", 24, 32, 7, (2,), 2, 4),
    ("multiply", "INT8", "INT8", 16, 24, 16, (), 4, 3),
    ("signs by numbers", "UINT4", "UINT2", 16, 32, 3, (), 4, 4),
)
PRODUCTS = (
    # weights, inputs, outputs by inputs, different weights, PE, SIMD
    ("INT4", "UINT4", 64, 128, 4, 4, 4),
)


def few(rng: np.random.Generator, dtype: str, shape: tuple[int, int], count: int) -> np.ndarray:
    """Weights of ``count`` different values, 0 among them."""
    low, high = int(DataType[dtype].min()), int(DataType[dtype].max())
    others = np.setdiff1d(np.arange(low, high + 1), [0])
    values = np.append(rng.choice(others, count - 1, replace=False), 0)
    return values[rng.integers(count, size=shape)]


def cases() -> Iterator[tuple[str, CodedMatrixVector]]:
    """Small kernels of every datapath that reads weights, with codes of their own and of the weights' bits, with ties,
    and parity bits."""
    rng = np.random.default_rng(1)
    for name, weight, data, mh, mw, count, prefix, pe, simd in SMALL:
        matrix = few(rng, weight, (mh, mw), count)
        yield name, CodedMatrixVector(matrix, DataType[weight], DataType[data], prefix, pe, simd)
    int8 = DataType["INT8"]
    matrix = 8 * few(rng, "INT4", (16, 32), 5)
    yield "bits of the weights", CodedMatrixVector(matrix, int8, DataType["UINT4"], (), 2, 4)
    matrix = few(rng, "INT8", (256, 1), 12)[circulant(rng, "UINT8", (32, 32), 8), 0]
    yield "turned codes", CodedMatrixVector(matrix, int8, int8, (), 2, 8)
    matrix = few(rng, "INT8", (64, 256), 16)
    yield "parity", CodedMatrixVector(matrix, int8, int8, (), 4, 2, parity=True)


def definition(kernel: CodedMatrixVector, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The matrix product, computed with Python's integers."""
    return (x.astype(object) @ kernel.weights.T.astype(object),)


def grid() -> Iterator[tuple[str, CodedMatrixVector]]:
    """The kernels that the resource model is fitted to."""
    for weight, data, mh, mw, count, pe, simd in PRODUCTS:
        matrix = few(np.random.default_rng([mh, mw]), weight, (mh, mw), count)
        kernel = CodedMatrixVector(matrix, DataType[weight], DataType[data], pe=pe, simd=simd)
        yield f"coded_matrix_vector {weight}x{data} {mh}x{mw} of {count} values", kernel
