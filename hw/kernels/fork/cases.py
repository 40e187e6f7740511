"""Cases of ``fork``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.fork.kernel import Fork


def cases() -> Iterator[tuple[str, Fork]]:
    """Two and more copies, beats with part of the channels, several pixels per beat."""
    yield "two", Fork((2, 4), DataType["INT4"], 2, 2)
    yield "three", Fork((3, 4), DataType["BIPOLAR"], 3)
    yield "pixels", Fork((2, 4, 3), DataType["UINT5"], 2, 3, 2)


def definition(kernel: Fork, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The input, once for each output."""
    return tuple(x for _ in range(kernel.copies))


def grid() -> Iterator[tuple[str, Fork]]:
    """The kernels that the resource model is fitted to."""
    for data, copies, pe in (("INT8", 2, 8), ("UINT2", 4, 4), ("UINT4", 2, 16)):
        yield f"fork {data} copies={copies} PE={pe}", Fork((4, 16), DataType[data], copies, pe)
