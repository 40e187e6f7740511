"""Cases of ``add``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.add.kernel import Add

SUMS = (
    # types, coefficients, channels, (PE) ...
    (("UINT4", "UINT4"), (1, 1), 16, 1, 8),
    (("INT4", "UINT8"), (3, -7), 16, 4),
    (("INT8", "INT8"), (1, 2), 64, 2, 16),
)


def cases() -> Iterator[tuple[str, Add]]:
    """Types of every kind, coefficients of both signs, several pixels per beat."""
    for name, types, coefficients, pe, pixels in (
        ("unsigned", ("UINT4", "UINT4"), (1, 1), 2, 1),
        ("coefficients", ("INT4", "UINT2"), (3, -1), 4, 1),
        ("signs", ("BIPOLAR", "TERNARY"), (1, -1), 1, 1),
        ("wide", ("INT16", "INT3"), (-5 << 21, 98076875), 2, 1),
        ("pixels", ("INT8", "UINT3"), (1, 2), 4, 3),
    ):
        dtypes = DataType[types[0]], DataType[types[1]]
        yield name, Add((2, 3, 4), dtypes, coefficients, pe, pixels=pixels)


def definition(kernel: Add, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    """The sum, computed with Python's integers."""
    ca, cb = kernel.coefficients
    return (ca * a.astype(object) + cb * b.astype(object),)


def grid() -> Iterator[tuple[str, Add]]:
    """The kernels that the resource model is fitted to."""
    for (a, b), times, channels, *lanes in SUMS:
        for pe in lanes:
            kernel = Add((4, channels), (DataType[a], DataType[b]), times, pe)
            yield f"add {a}+{b} {times} C={channels} PE={pe}", kernel
