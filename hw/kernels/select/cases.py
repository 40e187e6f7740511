"""Cases of ``select``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.select.kernel import Select


def cases() -> Iterator[tuple[str, Select]]:
    """Parts of channels by beats and by lanes, crops, every second row, several pixels per beat, a vector."""
    yield "half", Select((2, 3, 8), ((0, 1), (0, 1, 2), (4, 5, 6, 7)), DataType["INT4"], 2)
    yield "lanes", Select((3, 2, 5), ((0, 1, 2), (0, 1), (0, 3, 4)), DataType["BIPOLAR"], 5)
    yield "crop", Select((4, 5, 2), ((1, 2), (0, 1, 2, 3), (0, 1)), DataType["UINT3"])
    yield "rows", Select((5, 3, 2), ((0, 2, 4), (0, 1, 2), (1,)), DataType["INT6"])
    yield "pixels", Select((2, 8, 3), ((0, 1), (2, 3, 6, 7), (0, 2)), DataType["UINT2"], 3, 2)
    yield "vector", Select((9,), ((1, 2, 8),), DataType["INT7"])
    yield "long", Select((70, 1), (tuple(range(3, 68)), (0,)), DataType["INT3"])


def definition(kernel: Select, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The elements at all combinations of kept indices, one by one."""
    shape = tuple(map(len, kernel.kept))
    y = np.zeros((len(x), *shape), x.dtype)
    for place in np.ndindex(*shape):
        source = tuple(kept[at] for kept, at in zip(kernel.kept, place, strict=True))
        y[(slice(None), *place)] = x[(slice(None), *source)]
    return (y,)


def grid() -> Iterator[tuple[str, Select]]:
    """The kernels that the resource model is fitted to."""
    half, even, middle = tuple(range(16)), tuple(range(0, 32, 2)), tuple(range(2, 62))
    made = (
        ("UINT4", "half", (16, 16, 32), (half, half, half), 32),
        ("INT8", "crop", (64, 64, 8), (middle, middle, tuple(range(8))), 2),
        ("INT8", "every second", (32, 32, 8), (even, even, tuple(range(8))), 8),
        ("UINT8", "chomp", (512, 4), (tuple(range(500)), tuple(range(4))), 4),
    )
    for data, what, shape, kept, pe in made:
        yield f"select {data} {what} of {shape} PE={pe}", Select(shape, kept, DataType[data], pe)
