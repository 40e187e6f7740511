"""Cases of ``width_converter``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.ir.stream import Stream
from hw.kernels.width_converter.kernel import WidthConverter

WIDTHS = (("BIPOLAR", 64, 8, 64), ("BIPOLAR", 64, 64, 4), ("UINT4", 32, 1, 8), ("UINT4", 32, 8, 2), ("INT12", 16, 4, 1),
          ("UINT8", 24, 3, 24))  # fmt: skip


def cases() -> Iterator[tuple[str, WidthConverter]]:
    """Conversions that join beats and conversions that split them."""
    yield "join", WidthConverter(Stream((12,), DataType["INT4"], 2), 4)
    yield "split", WidthConverter(Stream((12,), DataType["BIPOLAR"], 12), 3)
    yield "join all", WidthConverter(Stream((2, 5), DataType["UINT3"], 1), 5)


def definition(kernel: WidthConverter, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The input."""
    return (x,)


def grid() -> Iterator[tuple[str, WidthConverter]]:
    """The kernels that the resource model is fitted to."""
    for data, elements, have, want in WIDTHS:
        yield f"width_converter {data} {have}->{want}", WidthConverter(Stream((elements,), DataType[data], have), want)
