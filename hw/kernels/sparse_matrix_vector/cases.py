"""Cases of ``sparse_matrix_vector``: small kernels for every check, the definition, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.shared.random_parameters import weights
from hw.kernels.sparse_matrix_vector.kernel import SparseMatrixVector

SMALL = (
    # name, weights, inputs, outputs by inputs, PE, SIMD, prefix, columns that a bank keeps
    ("weight planes", "INT4", "UINT4", 6, 16, 2, 4, (2,), 1),
    ("weight planes, one lane", "TERNARY", "INT3", 3, 6, 1, 1, (), 2),
    ("weight planes, odd", "UINT2", "INT9", 4, 15, 2, 3, (), 2),
    ("numbers by signs", "INT5", "BIPOLAR", 6, 12, 3, 3, (), 2),
    ("input planes", "INT8", "UINT2", 4, 10, 1, 2, (3,), 2),
    ("multiply", "INT8", "INT8", 4, 12, 2, 3, (2,), 2),
    ("input limited", "INT4", "UINT4", 4, 32, 2, 2, (2,), 2),
)
PRODUCTS = (
    # weights, inputs, outputs by inputs, columns of 16 that a bank keeps, (PE, SIMD) ...
    ("INT4", "UINT4", 64, 64, 4, (4, 4), (2, 8)),
    ("INT4", "UINT4", 64, 256, 4, (8, 8)),
    ("TERNARY", "UINT2", 32, 128, 4, (4, 8)),
    ("INT4", "BIPOLAR", 64, 128, 4, (4, 8)),
    ("INT8", "UINT4", 32, 128, 4, (2, 8)),
    ("INT8", "INT8", 32, 128, 4, (2, 8), (1, 4)),
    ("INT4", "UINT4", 32, 1024, 4, (2, 4)),
)


def balanced(rng: np.random.Generator, dtype: str, shape: tuple[int, int], pe: int, simd: int, kept: int) -> np.ndarray:
    """Uniform weights, of which ``kept`` columns in each bank of a group of ``pe`` outputs are not zero."""
    matrix = weights(rng, dtype, shape).reshape(shape[0] // pe, pe, -1, simd)
    keys = rng.random((len(matrix), 1, *matrix.shape[2:]))
    first = matrix[:, 0]
    first[first == 0] = 1  # so all of them are needed
    return np.asarray((matrix * (keys.argsort(axis=2).argsort(axis=2) < kept)).reshape(shape))


def unbalanced(rng: np.random.Generator, dtype: str, shape: tuple[int, int], density: float) -> np.ndarray:
    """Uniform weights, of which each is kept with probability ``density``."""
    return np.asarray(weights(rng, dtype, shape) * (rng.random(shape) < density))


def cases() -> Iterator[tuple[str, SparseMatrixVector]]:
    """Small kernels of every datapath, balanced and not, banks in block RAM, and parity bits."""
    rng = np.random.default_rng(1)
    for name, weight, data, mh, mw, pe, simd, prefix, kept in SMALL:
        matrix = balanced(rng, weight, (mh, mw), pe, simd, kept)
        yield name, SparseMatrixVector(matrix, DataType[weight], DataType[data], prefix, pe, simd)
    matrix = unbalanced(rng, "INT4", (8, 24), 0.2)
    matrix[4:6] = 0
    yield "uneven, a group of zeros", SparseMatrixVector(matrix, DataType["INT4"], DataType["UINT3"], (2,), 2, 4)
    matrix = unbalanced(rng, "INT3", (3, 320), 0.1)
    yield "banks in block RAM", SparseMatrixVector(matrix, DataType["INT3"], DataType["INT4"], (2,), 1, 2)
    matrix = balanced(rng, "INT8", (32, 128), 4, 4, 12)
    yield "parity", SparseMatrixVector(matrix, DataType["INT8"], DataType["UINT2"], (), 4, 4, parity=True)


def definition(kernel: SparseMatrixVector, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The sums of the firings, computed with Python's integers."""
    pattern = kernel.pattern
    banks = x.reshape(*x.shape[:-1], kernel.sf, kernel.simd).astype(object)
    y = np.zeros((*x.shape[:-1], kernel.nf, kernel.pe), object)
    group = np.repeat(np.arange(kernel.nf), pattern.lengths)
    for i, columns in enumerate(pattern.columns):
        y[..., group[i], :] += banks[..., columns, np.arange(kernel.simd)] @ pattern.weights[i].T.astype(object)
    return (y.reshape(*x.shape[:-1], kernel.mh),)


def grid() -> Iterator[tuple[str, SparseMatrixVector]]:
    """The kernels that the resource model is fitted to."""
    for weight, data, mh, mw, kept, *foldings in PRODUCTS:
        for pe, simd in foldings:
            rng = np.random.default_rng([mh, mw, pe, simd])
            matrix = balanced(rng, weight, (mh, mw), pe, simd, kept * mw // simd // 16)
            kernel = SparseMatrixVector(matrix, DataType[weight], DataType[data], pe=pe, simd=simd)
            yield f"sparse_matrix_vector {weight}x{data} {mh}x{mw} PE={pe} SIMD={simd}", kernel
    matrix = unbalanced(np.random.default_rng(0), "INT4", (64, 64), 0.25)
    kernel = SparseMatrixVector(matrix, DataType["INT4"], DataType["UINT4"], pe=1, simd=8)
    yield "sparse_matrix_vector INT4xUINT4 64x64 PE=1 SIMD=8 uneven", kernel
