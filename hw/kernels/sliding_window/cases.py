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
PADDINGS = (
    # image, type, padding of each channel, (SIMD) ...
    ((32, 32, 3), "UINT8", (117,) * 3, 1),
    ((16, 16, 16), "UINT4", (-3,) * 16, 4, 48),
    ((16, 16, 16), "UINT4", tuple(n * 7 % 16 for n in range(16)), 1, 4),
    ((14, 14, 64), "INT8", tuple(n * 37 % 256 - 128 for n in range(64)), 8),
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
    yield "zero point", SlidingWindow((4, 5, 2), (3, 3), uint2, pad=around, simd=2, pad_value=2)
    yield "padding of minus one", SlidingWindow((3, 4, 2), (3, 3), DataType["BIPOLAR"], pad=around, pad_value=-1)
    yield "wider padding", SlidingWindow((4, 5, 2), (3, 3), uint2, pad=around, simd=6, pad_value=-3)
    yield "signs and wider padding", SlidingWindow((3, 4, 1), (3, 3), DataType["BIPOLAR"], pad=around, pad_value=3)
    yield (
        "padding by channel",
        SlidingWindow((4, 5, 6), (3, 3), DataType["INT3"], pad=around, simd=2, pad_value=(-1, 2, 3, 0, -4, 9)),
    )
    yield (
        "padding by channel, whole windows",
        SlidingWindow((5, 4, 2), (3, 3), uint2, (2, 1), pad=around, simd=18, pixels=2, pad_value=(1, 3)),
    )
    yield "padding by channel of a signal", SlidingWindow((6, 3), (3,), uint2, pad=((2, 1),), pad_value=(3, 0, 1))


def definition(kernel: SlidingWindow, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Every window, extracted from the padded input position by position."""
    size = [n + sum(pads) for n, pads in zip(kernel.shape, kernel.pads, strict=False)]
    padded = np.empty((len(x), *size, kernel.channels), np.int64)
    padded[:] = kernel.pad_value
    image = (slice(low, low + n) for n, (low, _) in zip(kernel.shape, kernel.pads, strict=False))
    padded[(slice(None), *image)] = x
    y = np.zeros((len(x), *kernel.out_spatial, *kernel.kernel, kernel.channels), np.int64)
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
    for shape, data, values, *lanes in PADDINGS:
        for simd in lanes:
            kernel = SlidingWindow(shape, (3, 3), DataType[data], pad=((1, 1),) * 2, simd=simd, pad_value=values)
            name = values[0] if len(set(values)) == 1 else "each"
            yield f"sliding_window {data} {shape} (3, 3) pad=1 SIMD={simd} padding={name}", kernel
