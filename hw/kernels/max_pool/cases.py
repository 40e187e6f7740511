"""Cases of ``max_pool``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.max_pool.kernel import MaxPool

POOLS = (
    # image, windows, type, (PE) ...
    ((24, 24, 6), (2, 2), "UINT8", 1, 6),
    ((28, 28, 64), (2, 2), "BIPOLAR", 4, 32),
    ((16, 16, 16), (2, 2), "UINT4", 4),
    ((32, 32, 64), (2, 2), "INT8", 1),
)


def cases() -> Iterator[tuple[str, MaxPool]]:
    """Images and signals, with and without columns beyond the last window; window streams; several pixels per beat."""
    yield "image", MaxPool((4, 6, 4), (2, 2), DataType["UINT2"], 2)
    yield "dropped columns", MaxPool((5, 7, 2), (2, 3), DataType["INT4"])
    yield "signs", MaxPool((4, 4, 4), (2, 2), DataType["BIPOLAR"], 4)
    yield "whole image", MaxPool((3, 3, 4), (3, 3), DataType["INT5"], 2)
    yield "signal", MaxPool((8, 3), (4,), DataType["UINT3"], 3)
    yield "window stream", MaxPool((2, 2, 4), (3, 3), DataType["INT4"], 2, windows=True)
    yield "part of a window", MaxPool((4, 8, 2), (2, 4), DataType["UINT3"], 2, pixels=2)
    yield "several windows", MaxPool((4, 8, 2), (2, 2), DataType["UINT3"], 2, pixels=4)


def definition(kernel: MaxPool, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The maximum of every window, one window at a time."""
    if kernel.windows:
        return (x.reshape(*x.shape[:-1], -1, kernel.channels).max(axis=-2),)
    axes, y = tuple(range(1, x.ndim - 1)), np.zeros((len(x), *kernel.out_shape), np.int64)
    for window in np.ndindex(*kernel.out_shape[:-1]):
        part = tuple(slice(w * k, (w + 1) * k) for w, k in zip(window, kernel.kernel, strict=True))
        y[(slice(None), *window)] = x[(slice(None), *part)].max(axis=axes)
    return (y,)


def grid() -> Iterator[tuple[str, MaxPool]]:
    """The kernels that the resource model is fitted to."""
    for shape, size, data, *lanes in POOLS:
        for pe in lanes:
            yield f"max_pool {data} {shape} {size} PE={pe}", MaxPool(shape, size, DataType[data], pe)
