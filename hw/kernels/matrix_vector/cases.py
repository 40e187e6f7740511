"""Cases of ``matrix_vector``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.random_parameters import generator, weights

SMALL = (
    # name, weights, inputs, outputs by inputs, PE, SIMD, prefix
    ("xnor", "BIPOLAR", "BIPOLAR", 4, 12, 2, 6, (2,)),
    ("xnor, serial", "BIPOLAR", "BIPOLAR", 3, 7, 1, 1, ()),
    ("xnor, parallel", "BIPOLAR", "BIPOLAR", 3, 9, 3, 9, (2,)),
    ("ternary", "BIPOLAR", "TERNARY", 4, 10, 2, 5, ()),
    ("signs by numbers", "BIPOLAR", "UINT4", 6, 8, 2, 4, ()),
    ("weight planes", "INT3", "INT8", 6, 6, 2, 3, (2,)),
    ("weight planes, unsigned", "UINT2", "INT9", 2, 4, 1, 1, ()),
    ("numbers by signs", "INT5", "BIPOLAR", 6, 8, 3, 4, ()),
    ("input planes", "INT8", "UINT2", 4, 6, 2, 3, ()),
    ("multiply", "INT8", "INT8", 4, 6, 2, 3, (2,)),
    ("multiply, wide", "INT16", "UINT16", 2, 4, 1, 2, ()),
)
PRODUCTS = (
    # weights, inputs, outputs by inputs, (PE, SIMD) ...
    ("BIPOLAR", "BIPOLAR", 64, 784, (1, 16), (4, 49), (16, 16)),
    ("BIPOLAR", "BIPOLAR", 64, 64, (2, 32), (8, 64), (64, 8), (16, 4)),
    ("BIPOLAR", "BIPOLAR", 64, 576, (4, 32), (16, 64)),
    ("BIPOLAR", "TERNARY", 32, 288, (4, 32), (8, 8)),
    ("BIPOLAR", "UINT8", 64, 27, (8, 3), (4, 27)),
    ("BIPOLAR", "UINT2", 64, 64, (4, 16), (16, 8)),
    ("TERNARY", "UINT2", 32, 96, (4, 8), (8, 24)),
    ("INT2", "UINT2", 64, 64, (2, 16), (8, 8)),
    ("INT4", "UINT4", 32, 144, (1, 4), (4, 8)),
    ("INT4", "BIPOLAR", 32, 64, (4, 8), (8, 32)),
    ("INT8", "UINT4", 16, 72, (2, 8), (4, 4)),
    ("INT8", "INT8", 64, 144, (1, 1), (2, 4), (4, 8)),
    ("INT16", "INT16", 16, 120, (1, 2), (2, 8)),
)


def cases() -> Iterator[tuple[str, MatrixVector]]:
    """Small kernels of every datapath, several pixels, and parity bits in block RAM."""
    rng = np.random.default_rng(1)
    for name, weight, data, mh, mw, pe, simd, prefix in SMALL:
        yield name, MatrixVector(weights(rng, weight, (mh, mw)), DataType[weight], DataType[data], prefix, pe, simd)
    several = weights(rng, "INT7", (3, 4))
    yield "pixels", MatrixVector(several, DataType["INT7"], DataType["INT3"], (2, 4), 3, 4, pixels=2)
    stored = weights(rng, "BIPOLAR", (16, 128))
    bipolar = DataType["BIPOLAR"]
    yield "parity", MatrixVector(stored, bipolar, bipolar, (2,), 2, 4, parity=True)


def definition(kernel: MatrixVector, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The matrix product, computed with Python's integers."""
    return (x.astype(object) @ kernel.weights.T.astype(object),)


def grid() -> Iterator[tuple[str, MatrixVector]]:
    """The kernels that the resource model is fitted to."""
    rng = generator()
    for weight, data, mh, mw, *foldings in PRODUCTS:
        matrix = weights(rng, weight, (mh, mw))
        for pe, simd in foldings:
            kernel = MatrixVector(matrix, DataType[weight], DataType[data], pe=pe, simd=simd)
            yield f"matrix_vector {weight}x{data} {mh}x{mw} PE={pe} SIMD={simd}", kernel
