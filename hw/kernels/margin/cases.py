"""Cases of ``margin``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.margin.kernel import Margin


def cases() -> Iterator[tuple[str, Margin]]:
    """Few and several values, ties, signed and unsigned types, the least and the largest threshold."""
    yield "two", Margin(2, DataType["UINT3"], 2)
    yield "signed", Margin(7, DataType["INT4"], 3)
    yield "ties", Margin(3, DataType["UINT2"], 1)
    yield "most", Margin(6, DataType["INT5"], 31)


def definition(kernel: Margin, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The margin of each vector, by sorting it."""
    margins = [sorted(row)[-1] - sorted(row)[-2] for row in x.astype(int).tolist()]
    return (np.array([[int(margin >= kernel.threshold)] for margin in margins]),)


def grid() -> Iterator[tuple[str, Margin]]:
    """The kernels that the resource model is fitted to."""
    for classes, data, threshold in ((10, "INT8", 13), (10, "INT16", 300), (100, "UINT8", 5)):
        yield f"margin {data} classes={classes}", Margin(classes, DataType[data], threshold)
