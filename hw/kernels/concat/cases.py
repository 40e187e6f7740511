"""Cases of ``concat``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.concat.kernel import Concat


def cases() -> Iterator[tuple[str, Concat]]:
    """Equal and different types, two and more inputs, several pixels per beat."""
    int4, uint2, bipolar = DataType["INT4"], DataType["UINT2"], DataType["BIPOLAR"]
    yield "one type", Concat(((2, 4), (2, 2)), (int4, int4), 2)
    yield "types", Concat(((2, 4), (2, 2)), (int4, uint2))
    yield "three", Concat(((3, 2), (3, 4), (3, 2)), (bipolar, uint2, int4), 2)
    yield "pixels", Concat(((4, 4), (4, 2), (4, 1)), (int4, uint2, uint2), pixels=2)


def definition(kernel: Concat, *x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The inputs, concatenated along the last axis."""
    return (np.concatenate([each.astype(np.int64) for each in x], axis=-1),)


def grid() -> Iterator[tuple[str, Concat]]:
    """The kernels that the resource model is fitted to."""
    for data, sizes, pe in (("UINT4", (8, 16), 4), ("UINT4", (64, 32, 32), 8), ("INT8", (16, 16), 1)):
        kernel = Concat(tuple((4, size) for size in sizes), (DataType[data],) * len(sizes), pe)
        yield f"concat {data} {sizes} PE={pe}", kernel
