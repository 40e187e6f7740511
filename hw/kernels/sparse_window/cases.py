"""Cases of ``sparse_window``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.sparse_window.kernel import SparseWindow

GRID = (
    # image, kernel, type, padding, SIMD, share of the elements
    ((28, 28, 1), (5, 5), "UINT8", 0, 1, 0.5),
    ((16, 16, 16), (3, 3), "UINT4", 1, 4, 0.5),
    ((8, 8, 32), (3, 3), "INT8", 1, 2, 0.5),
)


def picked(
    rng: np.random.Generator, kernel: tuple[int, ...], channels: int, simd: int, share: float, positions: bool
) -> np.ndarray:
    """Random elements of a window, as many of each lane; all channels of random ``positions``, if asked for."""
    size = int(np.prod(kernel))
    if positions:
        kept = np.sort(rng.choice(size, max(1, round(share * size)), replace=False))
        return np.asarray((kept[:, None] * channels + np.arange(channels)).ravel())
    elements = np.arange(size * channels).reshape(-1, simd)
    count = max(1, round(share * len(elements)))
    lanes = [np.sort(rng.choice(elements[:, lane], count, replace=False)) for lane in range(simd)]
    return np.stack(lanes, axis=1).ravel()


def cases() -> Iterator[tuple[str, SparseWindow]]:
    """Images and signals with stride, dilation and padding; lanes with offsets of their own, and with shared ones."""
    rng = np.random.default_rng(1)

    def window(
        shape: tuple[int, ...],
        kernel: tuple[int, ...],
        dtype: str,
        simd: int,
        share: float,
        positions: bool = False,
        **geometry: Any,
    ) -> SparseWindow:
        picks = picked(rng, kernel, shape[-1], simd, share, positions)
        return SparseWindow(shape, kernel, DataType[dtype], simd=simd, picks=picks, **geometry)

    yield "lanes apart", window((6, 5, 4), (3, 3), "UINT4", 2, 0.5)
    yield "one lane", window((5, 6, 3), (2, 3), "INT3", 1, 0.4, stride=(2, 1))
    yield "positions", window((6, 6, 4), (3, 3), "UINT2", 4, 0.4, True, pad=((1, 1), (1, 1)))
    yield "padding", window((5, 4, 4), (3, 3), "INT4", 2, 0.5, pad=((1, 1), (2, 1)), pad_value=3)
    yield "signs and zeros", window((4, 4, 4), (3, 3), "BIPOLAR", 4, 0.4, pad=((1, 1), (1, 1)))
    yield "dilation", window((9, 7, 2), (3, 2), "UINT3", 2, 0.5, dilation=(2, 3), pad=((2, 2), (0, 1)))
    yield "signal", window((12, 4), (5,), "UINT4", 2, 0.5, stride=(2,), pad=((2, 1),))
    yield "wide padding", window((3, 3, 2), (3, 3), "UINT3", 1, 0.3, pad=((2, 2), (2, 2)), stride=(2, 2))
    yield "below and behind", SparseWindow((6, 6, 2), (3, 3), DataType["INT2"], simd=1, picks=np.array([15, 16]))
    yield "one element", SparseWindow((4, 4, 2), (3, 3), DataType["UINT4"], simd=1, picks=np.array([9]))
    yield "repeated", SparseWindow((4, 5, 2), (2, 2), DataType["UINT4"], simd=2, picks=np.array([0, 1, 0, 5]))
    yield "block RAM", window((6, 24, 8), (3, 3), "INT8", 2, 0.5)


def definition(kernel: SparseWindow, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Element by element, with loops."""
    plane = kernel._plane
    image = x.reshape(len(x), *plane.image, kernel.channels)
    y = np.full((len(x), *plane.windows, len(kernel.picks)), kernel.pad_values[0], object)
    for row, column, place in np.ndindex(*plane.windows, len(kernel.picks)):
        position, channel = divmod(int(kernel.picks[place]), kernel.channels)
        down, right = divmod(position, plane.kernel[1])
        at_y = row * plane.stride[0] - plane.before[0] + down * plane.dilation[0]
        at_x = column * plane.stride[1] - plane.before[1] + right * plane.dilation[1]
        if 0 <= at_y < plane.image[0] and 0 <= at_x < plane.image[1]:
            y[:, row, column, place] = image[:, at_y, at_x, channel]
    return (y.reshape(len(x), *kernel.outputs()[0].shape),)


def grid() -> Iterator[tuple[str, SparseWindow]]:
    """The kernels that the resource model is fitted to."""
    for shape, size, dtype, pad, simd, share in GRID:
        rng = np.random.default_rng([*shape, simd])
        picks = picked(rng, size, shape[-1], simd, share, False)
        kernel = SparseWindow(shape, size, DataType[dtype], pad=((pad, pad),) * 2, simd=simd, picks=picks)
        yield f"sparse_window {'x'.join(map(str, shape))} {dtype} {len(picks)} SIMD={simd}", kernel
