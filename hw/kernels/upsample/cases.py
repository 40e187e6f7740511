"""Cases of ``upsample``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.upsample.kernel import Upsample


def cases() -> Iterator[tuple[str, Upsample]]:
    """Images and signals, a factor of 1 in either axis, several pixels per beat."""
    yield "image", Upsample((2, 3, 4), (2, 2), DataType["INT4"], 2)
    yield "rows", Upsample((3, 2, 2), (3, 1), DataType["BIPOLAR"])
    yield "columns", Upsample((2, 2, 2), (1, 3), DataType["UINT3"])
    yield "signal", Upsample((5, 3), (2,), DataType["INT7"], 3)
    yield "pixels", Upsample((2, 4, 2), (2, 3), DataType["UINT2"], 2, 2)


def definition(kernel: Upsample, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Each output element is the input element at its position divided by the factors, rounded down."""
    y = np.zeros((len(x), *kernel.outputs()[0].shape), x.dtype)
    for place in np.ndindex(*y.shape[1:-1]):
        source = tuple(at // factor for at, factor in zip(place, kernel.factors, strict=True))
        y[(slice(None), *place)] = x[(slice(None), *source)]
    return (y,)


def grid() -> Iterator[tuple[str, Upsample]]:
    """The kernels that the resource model is fitted to."""
    for shape, data, pe in (((8, 8, 16), "UINT4", 4), ((32, 32, 16), "INT8", 4)):
        yield f"upsample {data} {shape} (2, 2) PE={pe}", Upsample(shape, (2, 2), DataType[data], pe)
