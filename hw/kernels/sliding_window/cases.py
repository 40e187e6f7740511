"""Cases of ``sliding_window``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.sliding_window.kernel import SlidingWindow

WINDOWS = (
    # image, kernel, type, padding, (SIMD) ...
    ((28, 28, 1), (5, 5), "UINT8", 0, 1, 5, 25),
    ((28, 28, 1), (3, 3), "UINT8", 0, 9),
    ((32, 32, 3), (3, 3), "UINT8", 1, 1, 3, 9),
    ((30, 30, 64), (3, 3), "BIPOLAR", 0, 8, 64),
    ((14, 14, 64), (3, 3), "BIPOLAR", 1, 16, 192),
    ((16, 16, 16), (3, 3), "UINT4", 1, 2, 16, 48),
    ((28, 28, 64), (3, 3), "UINT4", 0, 16),
    ((8, 8, 32), (3, 3), "INT8", 1, 4, 32),
)


def cases() -> Iterator[tuple[str, SlidingWindow]]:
    """Images and signals with stride, dilation and padding; parts of a window, one window and several per beat."""
    uint2, around = DataType["UINT2"], ((1, 1), (1, 1))
    yield "serial", SlidingWindow((5, 5, 2), (3, 3), uint2)
    yield "padded", SlidingWindow((4, 5, 2), (3, 3), uint2, pad=around, simd=2)
    yield "row of a window", SlidingWindow((5, 6, 2), (2, 3), DataType["INT4"], simd=6)
    yield "whole windows", SlidingWindow((6, 6, 2), (3, 3), uint2, pad=around, simd=18)
    yield "stride and dilation", SlidingWindow((7, 8, 1), (2, 3), uint2, (2, 3), (3, 2), ((2, 0), (0, 1)), simd=3)
    yield "signs", SlidingWindow((4, 4, 2), (3, 3), DataType["BIPOLAR"], pad=around, simd=2)
    yield "signal", SlidingWindow((9, 3), (4,), DataType["INT3"], (2,), (2,), ((1, 2),), simd=3)
    yield "pixels", SlidingWindow((4, 6, 2), (3, 3), uint2, pad=around, simd=18, pixels=2)


def definition(kernel: SlidingWindow, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Every window, extracted from the padded input position by position."""
    padded = np.pad(x, ((0, 0), *kernel.pads, (0, 0)))
    y = np.zeros((len(x), *kernel.out_spatial, *kernel.kernel, kernel.channels), x.dtype)
    for window in np.ndindex(*kernel.out_spatial):
        for place in np.ndindex(*kernel.kernel):
            at = (w * s + k * d for w, s, k, d in zip(window, kernel.steps, place, kernel.spread, strict=True))
            y[(slice(None), *window, *place)] = padded[(slice(None), *at)]
    return (y.reshape(len(x), *kernel.out_spatial, -1),)


def grid() -> Iterator[tuple[str, SlidingWindow]]:
    """The kernels that the resource model is fitted to."""
    for shape, size, data, pad, *lanes in WINDOWS:
        for simd in lanes:
            kernel = SlidingWindow(shape, size, DataType[data], pad=((pad, pad),) * 2, simd=simd)
            yield f"sliding_window {data} {shape} {size} pad={pad} SIMD={simd}", kernel
