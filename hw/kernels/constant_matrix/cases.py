"""Cases of ``constant_matrix``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.random_parameters import weights

SMALL = (
    # name, weights, inputs, outputs by inputs, share of zeros, prefix, adders per stage, inputs of a table
    ("dense", "INT4", "UINT4", 6, 8, 0.0, (2,), 2, 4),
    ("dense, six inputs", "INT4", "UINT4", 6, 8, 0.0, (2,), 2, 6),
    ("three quarters of zeros", "INT8", "INT5", 7, 12, 0.75, (), 1, 4),
    ("signs", "BIPOLAR", "BIPOLAR", 5, 9, 0.0, (), 3, 4),
    ("signs of some", "TERNARY", "BIPOLAR", 5, 9, 0.6, (2,), 2, 6),
    ("ternary inputs", "BIPOLAR", "TERNARY", 4, 7, 0.0, (), 4, 4),
    ("one input", "INT6", "INT3", 5, 1, 0.0, (3,), 2, 4),
    ("one output", "UINT3", "UINT1", 1, 20, 0.3, (), 2, 4),
    ("zero", "INT3", "INT4", 3, 4, 1.0, (), 2, 4),
)
GRID = (
    # weights, inputs, outputs by inputs, share of zeros, adders per stage
    ("INT4", "UINT4", 16, 16, 0.7, 1), ("INT4", "UINT4", 16, 16, 0.7, 2), ("INT4", "UINT4", 16, 16, 0.7, 3),
    ("INT4", "UINT4", 16, 16, 0.7, 4), ("TERNARY", "BIPOLAR", 16, 32, 0.5, 4),
    ("INT3", "UINT3", 16, 32, 0.0, 1),
)  # fmt: skip


def pruned(rng: np.random.Generator, name: str, shape: tuple[int, int], zeros: float) -> np.ndarray:
    """Random weights of a type, of which a share is 0."""
    return np.where(rng.random(shape) < zeros, 0, weights(rng, name, shape))


def cases() -> Iterator[tuple[str, ConstantMatrix]]:
    """Small kernels: types of inputs and weights, both kinds of adders, zeros, equal rows, pixels, depthwise."""
    rng = np.random.default_rng(1)
    for name, weight, data, mh, mw, zeros, prefix, adders, tables in SMALL:
        matrix = pruned(rng, weight, (mh, mw), zeros)
        if 0 < zeros < 1 < mh:
            matrix[1] = 0
            matrix[2] = matrix[0]
        product = MatrixVector(matrix, DataType[weight], DataType[data], prefix)
        yield name, ConstantMatrix(product, 1, adders, tables)
    several = MatrixVector(weights(rng, "INT5", (4, 6)), DataType["INT5"], DataType["INT3"], (2, 4))
    yield "pixels", ConstantMatrix(several, 2, 2)
    channels = Depthwise(pruned(rng, "INT4", (5, 9), 0.4), DataType["INT4"], DataType["UINT4"], (2, 2))
    yield "depthwise", ConstantMatrix(channels, 2, 2)


def definition(kernel: ConstantMatrix, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The matrix product, computed with Python's integers."""
    return (x.astype(object) @ kernel.product.matrix.T.astype(object),)


def grid() -> Iterator[tuple[str, ConstantMatrix]]:
    """The kernels that the resource model is fitted to."""
    rng = np.random.default_rng(0)
    for weight, data, mh, mw, zeros, adders in GRID:
        matrix = pruned(rng, weight, (mh, mw), zeros)
        product = MatrixVector(matrix, DataType[weight], DataType[data])
        name = f"constant_matrix {weight}x{data} {mh}x{mw} zeros={zeros:g} adders={adders}"
        yield name, ConstantMatrix(product, adders_per_stage=adders)
