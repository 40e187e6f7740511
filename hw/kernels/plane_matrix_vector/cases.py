"""Cases of ``plane_matrix_vector``: small kernels for every check, the definition, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.plane_matrix_vector.kernel import PlaneMatrixVector
from hw.kernels.shared.random_parameters import generator, weights

SMALL = (
    # name, weights, inputs, outputs by inputs, PE, SIMD, prefix
    ("weight planes", "INT8", "INT8", 4, 6, 2, 3, (2,)),
    ("weight planes, unsigned", "UINT8", "UINT8", 3, 4, 1, 1, ()),
    ("weight planes, parallel", "INT6", "UINT8", 3, 5, 3, 5, (2,)),
    ("weight planes, few lanes", "INT8", "UINT5", 4, 8, 2, 4, ()),
    ("input planes", "INT8", "INT5", 4, 16, 2, 8, (2,)),
    ("input planes, unsigned", "UINT9", "UINT5", 4, 18, 1, 9, ()),
    ("widest", "INT18", "INT18", 2, 4, 1, 2, ()),
)
PRODUCTS = (
    # weights, inputs, outputs by inputs, (PE, SIMD) ...
    ("INT8", "INT8", 64, 144, (1, 1), (2, 4), (4, 8)),
    ("INT8", "UINT8", 32, 64, (1, 8), (8, 2)),
    ("INT6", "UINT8", 32, 64, (2, 8)),
    ("INT8", "UINT5", 32, 64, (2, 8), (4, 2)),
    ("INT8", "INT8", 8, 16, (8, 16)),
    ("INT16", "INT16", 16, 120, (1, 2)),
)


def cases() -> Iterator[tuple[str, PlaneMatrixVector]]:
    """Small kernels of both datapaths, several pixels, and parity bits in block RAM."""
    rng = np.random.default_rng(1)
    for name, weight, data, mh, mw, pe, simd, prefix in SMALL:
        matrix = weights(rng, weight, (mh, mw))
        yield name, PlaneMatrixVector(matrix, DataType[weight], DataType[data], prefix, pe, simd)
    int8 = DataType["INT8"]
    yield "pixels", PlaneMatrixVector(weights(rng, "INT8", (3, 4)), int8, int8, (2, 4), 3, 4, pixels=2)
    stored = weights(rng, "INT8", (16, 64))
    yield "parity", PlaneMatrixVector(stored, int8, int8, (2,), 2, 2, (-100, 90), parity=True)


def definition(kernel: PlaneMatrixVector, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The matrix product, computed with Python's integers."""
    return (x.astype(object) @ kernel.weights.T.astype(object),)


def grid() -> Iterator[tuple[str, PlaneMatrixVector]]:
    """The kernels that the resource model is fitted to."""
    rng = generator()
    for weight, data, mh, mw, *foldings in PRODUCTS:
        matrix = weights(rng, weight, (mh, mw))
        for pe, simd in foldings:
            kernel = PlaneMatrixVector(matrix, DataType[weight], DataType[data], pe=pe, simd=simd)
            yield f"plane_matrix_vector {weight}x{data} {mh}x{mw} PE={pe} SIMD={simd}", kernel
