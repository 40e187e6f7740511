"""Cases of ``reorder``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator
from itertools import product
from operator import mul

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.reorder.kernel import Reorder


def cases() -> Iterator[tuple[str, Reorder]]:
    """Depth to space, transposed and flipped images, repeated rows, every second column, block RAM."""
    yield "depth to space", Reorder((3, 2, 8), (6, 4, 2), 0, ((3, 16), (2, 4), (2, 8), (4, 1)), DataType["INT4"], 2)
    yield (
        "pixel shuffle",
        Reorder((2, 2, 8), (4, 4, 2), 0, ((2, 16), (2, 2), (2, 8), (2, 1), (2, 4)), DataType["UINT3"]),
    )
    yield "transposed", Reorder((3, 4, 2), (4, 3, 2), 0, ((4, 2), (3, 8), (2, 1)), DataType["BIPOLAR"], 2)
    yield "flipped", Reorder((4, 3, 2), (4, 3, 2), 22, ((4, -6), (3, -2), (2, 1)), DataType["INT7"])
    yield "columns", Reorder((2, 6, 1), (2, 3, 1), 5, ((2, 6), (3, -2)), DataType["UINT2"])
    yield "repeated", Reorder((2, 3, 2), (2, 2, 3, 2), 0, ((2, 6), (2, 0), (6, 1)), DataType["INT3"], 2)
    yield "cut", Reorder((4, 4, 1), (2, 4, 1), 5, ((2, 4), (2, 0), (2, 1)), DataType["INT3"])
    yield "whole", Reorder((5, 2), (5, 2), 0, ((10, 1),), DataType["INT5"], 10)
    yield "block", Reorder((8, 16, 1), (16, 8, 1), 0, ((16, 1), (8, 16)), DataType["INT12"])


def definition(kernel: Reorder, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The elements in the order of the loops, one by one."""
    flat = x.reshape(len(x), -1)
    counts, strides = zip(*kernel.loops, strict=True)
    moves = (sum(map(mul, turns, strides)) for turns in product(*map(range, counts)))
    return (np.stack([flat[:, kernel.start + move] for move in moves], axis=1).reshape(-1, *kernel.out_shape),)


def grid() -> Iterator[tuple[str, Reorder]]:
    """The kernels that the resource model is fitted to."""
    made = (
        ("UINT4", "depth to space", (16, 16, 64), (32, 32, 16), 0, ((16, 1024), (2, 32), (16, 64), (32, 1)), 4),
        ("INT8", "pixel shuffle", (32, 32, 16), (64, 64, 4), 0, ((32, 512), (2, 2), (32, 16), (2, 1), (4, 4)), 1),
        ("UINT4", "transposed", (32, 32, 8), (32, 32, 8), 0, ((32, 8), (32, 256), (8, 1)), 8),
        ("INT6", "flipped", (16, 16, 4), (16, 16, 4), 60, ((16, 64), (16, -4), (4, 1)), 4),
    )
    for data, what, shape, out, start, loops, pe in made:
        yield f"reorder {data} {what} of {shape} PE={pe}", Reorder(shape, out, start, loops, DataType[data], pe)
