"""Cases of ``merge``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.merge.kernel import Merge


def cases() -> Iterator[tuple[str, Merge]]:
    """Equal and different types, one beat and several a result, several pixels per beat."""
    int4, uint2, bipolar = DataType["INT4"], DataType["UINT2"], DataType["BIPOLAR"]
    yield "one type", Merge((6,), (int4, int4), 2)
    yield "types", Merge((3,), (uint2, int4), 3)
    yield "signs", Merge((4,), (bipolar, bipolar))
    yield "pixels", Merge((2, 4, 2), (int4, uint2), 2, 2)


def definition(kernel: Merge, verdict: np.ndarray, early: np.ndarray, late: np.ndarray) -> tuple[np.ndarray, ...]:
    """The result of each frame, one after the other."""
    return (np.array([one if left[0] else other for left, one, other in zip(verdict, early, late, strict=True)]),)


def grid() -> Iterator[tuple[str, Merge]]:
    """The kernels that the resource model is fitted to."""
    for data, classes, pe in (("INT8", 10, 1), ("INT8", 10, 10), ("INT16", 64, 4)):
        yield f"merge {data} {classes} PE={pe}", Merge((classes,), (DataType[data],) * 2, pe)
