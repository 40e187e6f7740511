"""Cases of ``exit``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.exit.kernel import Exit


def cases() -> Iterator[tuple[str, Exit]]:
    """Beats with part of the channels, one beat a frame, several pixels per beat."""
    yield "vector", Exit((6,), DataType["UINT2"], 2)
    yield "whole", Exit((3,), DataType["BIPOLAR"], 3)
    yield "pixels", Exit((2, 4, 3), DataType["INT3"], 3, 2)


def definition(kernel: Exit, verdict: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The stream, of every frame."""
    return (x,)


def grid() -> Iterator[tuple[str, Exit]]:
    """The kernels that the resource model is fitted to."""
    for data, shape, pe in (("UINT2", (256,), 8), ("BIPOLAR", (8, 8, 16), 16), ("INT8", (64,), 1)):
        yield f"exit {data} {shape} PE={pe}", Exit(shape, DataType[data], pe)
