"""Cases of ``expert_matrix_vector``: small kernels for every check, the definition of the result, the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.expert_matrix_vector.kernel import ExpertMatrixVector
from hw.kernels.shared.random_parameters import generator, weights

SMALL = (
    # name, weights, inputs, experts, outputs, inputs, PE, SIMD
    ("xnor", "BIPOLAR", "BIPOLAR", 3, 4, 12, 2, 6),
    ("serial", "INT2", "UINT2", 2, 3, 4, 1, 1),
    ("whole", "INT3", "INT4", 4, 3, 6, 3, 6),
    ("weight planes", "INT3", "INT8", 5, 6, 6, 2, 3),
    ("input planes", "INT8", "UINT2", 2, 4, 6, 2, 3),
    ("multiply", "INT8", "INT8", 2, 4, 6, 2, 3),
)
GRID = (("INT4", "UINT4", 4, 32, 64, 2, 8), ("BIPOLAR", "BIPOLAR", 2, 64, 64, 4, 16))


def cases() -> Iterator[tuple[str, ExpertMatrixVector]]:
    """Every kind of datapath, experts that are no power of two, one beat a frame, and parity bits in block RAM."""
    rng = np.random.default_rng(1)
    for name, weight, data, experts, mh, mw, pe, simd in SMALL:
        yield name, _kernel(rng, weight, data, experts, mh, mw, pe, simd)
    stored = weights(rng, "BIPOLAR", (32, 128)).reshape(4, 8, 128)
    bipolar = DataType["BIPOLAR"]
    yield "parity", ExpertMatrixVector(stored, bipolar, bipolar, 2, 4, parity=True)


def _kernel(
    rng: np.random.Generator, weight: str, data: str, experts: int, mh: int, mw: int, pe: int, simd: int
) -> ExpertMatrixVector:
    made = weights(rng, weight, (experts * mh, mw)).reshape(experts, mh, mw)
    return ExpertMatrixVector(made, DataType[weight], DataType[data], pe, simd)


def definition(kernel: ExpertMatrixVector, choice: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The product of each frame with the matrix that its choice names, computed with Python's integers."""
    chosen = [min(int(each), len(kernel.weights) - 1) for each in choice.ravel()]
    return (
        np.array([kernel.weights[i].astype(object) @ row for i, row in zip(chosen, x.astype(object), strict=True)]),
    )


def grid() -> Iterator[tuple[str, ExpertMatrixVector]]:
    """The kernels that the resource model is compared with."""
    rng = generator()
    for weight, data, experts, mh, mw, pe, simd in GRID:
        name = f"expert_matrix_vector {weight}x{data} {experts}x{mh}x{mw} PE={pe} SIMD={simd}"
        yield name, _kernel(rng, weight, data, experts, mh, mw, pe, simd)
