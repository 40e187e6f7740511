"""The extraction of windows from images for ``sliding_window``, as copies of bytes."""

import ctypes

import numpy as np

from hw.native.library import Library, array

Pair = tuple[int, int]
_copy = Library("hw.kernels.sliding_window", ("unfold.cpp",), native=True).function(
    "copy_windows", array(np.uint8, 3), array(np.uint8, 6), *[ctypes.c_int64] * 14
)


def unfold(
    x: np.ndarray, kernel: Pair, stride: Pair, dilation: Pair, before: Pair, windows: Pair, padding: np.ndarray
) -> np.ndarray:
    """Images ``(N, H, W, C)`` to windows ``(N, OH, OW, KH, KW, C)``; (y, x) in every pair.

    ``before`` is the padding before each axis, ``windows`` (OH, OW). ``padding`` are the integers outside the image:
    one, or one for each channel.
    """
    x = np.ascontiguousarray(x)
    size = x.itemsize * x.shape[3]
    # Adjacent columns are copied at once.
    runs, columns = (1, kernel[1]) if dilation[1] == 1 else (kernel[1], 1)
    y = np.zeros((len(x), *windows, kernel[0], runs, columns, x.shape[3]), x.dtype)
    if padding.any():
        y[...] = padding
    y = y.view(np.uint8).reshape(*y.shape[:5], columns * size)
    lines = x.view(np.uint8).reshape(*x.shape[:2], x.shape[2] * size)
    rows = (stride[0], dilation[0], before[0])
    bytes_ = (stride[1] * size, dilation[1] * size, before[1] * size)
    _copy(lines, y, *lines.shape, *y.shape[1:], *rows, *bytes_)
    return y.view(x.dtype).reshape(len(x), *windows, *kernel, x.shape[3])
