"""Cases of ``fifo``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo

QUEUES = (("BIPOLAR", 64, 32), ("UINT4", 8, 16), ("INT12", 4, 100), ("UINT4", 16, 512), ("INT16", 16, 2048))


def cases() -> Iterator[tuple[str, Fifo]]:
    """FIFOs in registers, in lookup-table RAM and in block RAM."""
    yield "registers", Fifo(Stream((4,), DataType["INT4"], 1), 3)
    yield "lookup tables", Fifo(Stream((12,), DataType["UINT5"], 1), 9)
    yield "block RAM", Fifo(Stream((90, 8), DataType["INT9"], 8), 64)


def definition(kernel: Fifo, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The input."""
    return (x,)


def grid() -> Iterator[tuple[str, Fifo]]:
    """The kernels that the resource model is fitted to."""
    for data, lanes, depth in QUEUES:
        yield f"fifo {data}x{lanes} depth={depth}", Fifo(Stream((lanes,), DataType[data], lanes), depth)
