"""Cases of ``accumulate_pool``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.accumulate_pool.kernel import AccumulatePool

POOLS = (
    # image, windows, type, (PE) ...
    ((7, 7, 256), (7, 7), "UINT8", 1, 8),
    ((8, 8, 8), (8, 8), "UINT4", 1, 4),
    ((16, 16, 16), (2, 2), "INT8", 4),
)


def cases() -> Iterator[tuple[str, AccumulatePool]]:
    """Images and signals, with and without columns beyond the last window; window streams; several pixels per beat."""
    yield "image", AccumulatePool((4, 6, 4), (2, 2), DataType["UINT2"], 2)
    yield "dropped columns", AccumulatePool((5, 7, 2), (2, 3), DataType["INT4"])
    yield "signs", AccumulatePool((4, 4, 4), (2, 2), DataType["BIPOLAR"], 4)
    yield "whole image", AccumulatePool((3, 3, 4), (3, 3), DataType["INT5"], 2)
    yield "signal", AccumulatePool((8, 3), (4,), DataType["UINT3"], 3)
    yield "window stream", AccumulatePool((2, 2, 4), (3, 3), DataType["INT4"], 2, windows=True)
    yield "part of a window", AccumulatePool((4, 8, 2), (2, 4), DataType["UINT3"], 2, pixels=2)
    yield "several windows", AccumulatePool((4, 8, 2), (2, 2), DataType["UINT3"], 2, pixels=4)


def definition(kernel: AccumulatePool, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The sum of every window, one window at a time."""
    if kernel.windows:
        return (x.reshape(*x.shape[:-1], -1, kernel.channels).sum(axis=-2),)
    axes, y = tuple(range(1, x.ndim - 1)), np.zeros((len(x), *kernel.out_shape), np.int64)
    for window in np.ndindex(*kernel.out_shape[:-1]):
        part = tuple(slice(w * k, (w + 1) * k) for w, k in zip(window, kernel.kernel, strict=True))
        y[(slice(None), *window)] = x[(slice(None), *part)].sum(axis=axes)
    return (y,)


def grid() -> Iterator[tuple[str, AccumulatePool]]:
    """The kernels that the resource model is fitted to."""
    for shape, size, data, *lanes in POOLS:
        for pe in lanes:
            yield f"accumulate_pool {data} {shape} {size} PE={pe}", AccumulatePool(shape, size, DataType[data], pe)
