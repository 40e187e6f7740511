"""Convolutional lookup layers: the same tables at every position of an image, each at inputs that move with it.

A model spells them as one table for each position. They are found in what these tables read: the same entries, and
wires whose places in the image differ by a multiple of the stride. Then windows of the image's bits pass one lookup
layer, position by position, as those of a convolution do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from hw.kernels.shared.parameters import divisors

MOST_STRIDE = 4
"""Largest distance of neighbouring windows that is tried."""


@dataclass(frozen=True, eq=False)
class SharedTables:
    """Tables that windows share.

    ``order`` (P, O) are the numbers of the tables by position and output; ``places`` (O, T) are those of the wires
    within a window, in the order (ky, kx, c).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    positions: tuple[int, int]
    order: np.ndarray
    places: np.ndarray


def shared_tables(
    sources: np.ndarray, factors: np.ndarray, constant: np.ndarray, shape: tuple[int, int, int]
) -> SharedTables | None:
    """How tables at addresses of bits of an image (H, W, C) are shared by its windows; None if they are not.

    ``sources`` (n, T) are row-major places of bits in the image, -1 for a padding of 0, ``factors`` (n, T) and
    ``constant`` (n,) what they are multiplied by and what is added.
    """
    order = _by_start(constant)
    if order is None or len(order) < 2 or np.any(factors[order] != factors[order[:1]]):
        return None
    wires = sources[order]  # (P, O, T)
    used = factors[order[0]] != 0
    height, width, channels = shape
    inside = (wires >= 0) & used
    channel = np.where(inside, wires % channels, -1)
    if np.any((channel != channel.max(axis=0)) & inside) or np.any(used & ~inside.any(axis=0)):
        return None
    y, x = wires // channels // width, wires // channels % width
    for columns in divisors(len(order)):
        sizes = len(order) // columns, columns
        at = np.divmod(np.arange(len(order)), columns)
        rows = _offsets(y, at[0], sizes[0], inside, height)
        cells = _offsets(x, at[1], sizes[1], inside, width)
        for (dy, sy), (dx, sx) in product(rows, cells):
            made = _windows((dy, dx), (sy, sx), sizes, (height, width), used)
            if made is None:
                continue
            kernel, pads, first = made
            ends = [np.asarray(each)[:, None, None] * s + d for each, s, d in zip(at, (sy, sx), (dy, dx), strict=True)]
            seen = (ends[0] >= 0) & (ends[0] < height) & (ends[1] >= 0) & (ends[1] < width)
            if np.array_equal(inside, seen & used):
                places = ((dy - first[0]) * kernel[1] + dx - first[1]) * channels + channel.max(axis=0)
                return SharedTables(kernel, (sy, sx), pads, sizes, order, np.where(used, places, 0))
    return None


def _by_start(constant: np.ndarray) -> np.ndarray | None:
    """The numbers of the tables (P, O), by the place where their entries start; None where they are not all shared by
    the same number of positions."""
    starts, number = np.unique(constant, return_inverse=True)
    count, rest = divmod(len(constant), len(starts))
    if rest or np.any(np.bincount(number) != count):
        return None
    return np.argsort(number, kind="stable").reshape(len(starts), count).T


def _offsets(
    place: np.ndarray, position: np.ndarray, positions: int, inside: np.ndarray, size: int
) -> Iterator[tuple[np.ndarray, int]]:
    """For each stride along an axis that explains the places (P, O, T), the offsets (O, T) from a window's start."""
    if positions == 1:
        strides: tuple[int, ...] = (1,)
    else:
        strides = tuple(range(1, min(MOST_STRIDE, size) + 1))
    for stride in strides:
        offset = place - position[:, None, None] * stride
        least = np.where(inside, offset, np.iinfo(np.int64).max).min(axis=0)
        most = np.where(inside, offset, np.iinfo(np.int64).min).max(axis=0)
        if np.all((least == most) | ~inside.any(axis=0)):
            yield np.where(inside.any(axis=0), least, 0), stride


def _windows(
    offsets: tuple[np.ndarray, np.ndarray],
    strides: tuple[int, int],
    sizes: tuple[int, int],
    image: tuple[int, int],
    used: np.ndarray,
) -> tuple[tuple[int, int], tuple[tuple[int, int], tuple[int, int]], tuple[int, int]] | None:
    """The size of the windows, the padding, and the first offset along each axis; None where windows do not end with
    the image."""
    kernel, pads, firsts = [], [], []
    for offset, stride, count, size in zip(offsets, strides, sizes, image, strict=True):
        first, last = min(0, int(offset[used].min())), int(offset[used].max())
        before, after = -first, max(0, (count - 1) * stride + last - size + 1)
        reach = last - first + 1
        if (size + before + after - reach) // stride + 1 != count:
            # Windows that reach further leave out no position at the end.
            reach = size + before + after - (count - 1) * stride
            if reach <= last - first or reach > size + before + after:
                return None
        kernel.append(reach)
        pads.append((before, after))
        firsts.append(first)
    return (kernel[0], kernel[1]), (pads[0], pads[1]), (firsts[0], firsts[1])
