"""Cases of ``arg_max``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.arg_max.kernel import ArgMax


def cases() -> Iterator[tuple[str, ArgMax]]:
    """Types with few values, so that ties are frequent; one and several values per beat."""
    yield "serial", ArgMax(7, DataType["UINT2"], (2,))
    yield "signed", ArgMax(6, DataType["INT4"], (), 2)
    yield "signs", ArgMax(4, DataType["BIPOLAR"], (2,), 4)
    yield "tree", ArgMax(15, DataType["INT9"], (), 5)


def definition(kernel: ArgMax, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The index of the first maximum, by a linear search of each vector."""
    rows = x.reshape(-1, kernel.classes).tolist()
    return (np.array([row.index(max(row)) for row in rows]).reshape(*x.shape[:-1], 1),)


def grid() -> Iterator[tuple[str, ArgMax]]:
    """The kernels that the resource model is fitted to."""
    for classes, data, pe in ((10, "INT12", 1), (10, "INT12", 5), (24, "INT20", 2), (100, "INT16", 1)):
        yield f"arg_max {data} classes={classes} PE={pe}", ArgMax(classes, DataType[data], (), pe)
