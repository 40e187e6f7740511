"""What a sliding window sees of an image, as bytes: the copies that ``sliding_window`` makes."""

import numba
import numpy as np

Pair = tuple[int, int]


def unfold(x: np.ndarray, kernel: Pair, stride: Pair, dilation: Pair, before: Pair, windows: Pair) -> np.ndarray:
    """Images ``(N, H, W, C)`` to windows ``(N, OH, OW, KH, KW, C)``, 0 outside the image; (y, x) in every pair.

    ``before`` is the padding before each axis, ``windows`` (OH, OW).
    """
    x = np.ascontiguousarray(x)
    size = x.itemsize * x.shape[3]
    # Columns side by side are copied in one go.
    runs, columns = (1, kernel[1]) if dilation[1] == 1 else (kernel[1], 1)
    y = np.zeros((len(x), *windows, kernel[0], runs, columns * size), np.uint8)
    lines = x.view(np.uint8).reshape(*x.shape[:2], x.shape[2] * size)
    # Along the columns in bytes.
    _copy(lines, y, stride[0], dilation[0], before[0], stride[1] * size, dilation[1] * size, before[1] * size)
    return y.view(x.dtype).reshape(len(x), *windows, *kernel, x.shape[3])


@numba.njit(cache=True, nogil=True)
def _copy(x, y, down, spread_y, top, right, spread_x, left):  # pragma: no cover - compiled
    frames, height, width = x.shape
    _, rows, columns, lines, runs, size = y.shape
    for frame in range(frames):
        for row in range(rows):
            for line in range(lines):
                at = row * down - top + line * spread_y
                if at < 0 or at >= height:
                    continue
                for column in range(columns):
                    for run in range(runs):
                        start = column * right - left + run * spread_x
                        low, high = max(start, 0), max(0, min(start + size, width))
                        given, seen = x[frame, at, low:high], y[frame, row, column, line, run, low - start :]
                        for i in range(len(given)):  # assigning slices is many times slower
                            seen[i] = given[i]
