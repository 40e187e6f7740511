"""Cases of ``table``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.table.kernel import Table, input_values

SMALL = (
    # name, input, output, PE
    ("by channel", "INT4", "INT3", 2),
    ("of signs", "BIPOLAR", "UINT2", 3),
    ("to signs", "UINT3", "BIPOLAR", 6),
    ("of three", "TERNARY", "INT5", 1),
    ("to three", "INT3", "TERNARY", 2),
    ("many inputs", "UINT7", "INT6", 3),
)
STEPS = (
    # input, output, channels, whether each has a function of its own, PE
    ("INT4", "UINT4", 64, False, 16),
    ("INT8", "UINT4", 64, False, 8),
    ("UINT8", "INT8", 32, False, 4),
    ("UINT10", "INT8", 32, False, 4),
    ("INT4", "INT4", 64, True, 8),
    ("UINT6", "UINT8", 64, True, 2),
    ("INT8", "UINT6", 32, True, 4),
)


def _table(rng: np.random.Generator, rows: int, channels: int, taken: str, given: str, *rest: object) -> Table:
    types = DataType[taken], DataType[given]
    values = rng.choice(input_values(types[1]), (rows, len(input_values(types[0]))))
    return Table(np.broadcast_to(values, (channels, values.shape[1])), *types, *rest)  # type: ignore[arg-type]


def cases() -> Iterator[tuple[str, Table]]:
    """Every type, one function for all channels, several pixels per beat, deep memories, and parity bits."""
    rng = np.random.default_rng(31)
    for name, taken, given, pe in SMALL:
        yield name, _table(rng, 6, 6, taken, given, (2,), pe)
    yield "shared", _table(rng, 1, 6, "INT7", "UINT4", (2,), 2)
    yield "pixels", _table(rng, 3, 3, "INT4", "UINT2", (4,), 3, 2)
    yield "deep", _table(rng, 6, 6, "UINT10", "INT7", (), 1)
    yield "parity", _table(rng, 4, 4, "UINT9", "INT8", (), 2, 1, True)


def definition(kernel: Table, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The value of each element's integer, one at a time."""
    inputs = input_values(kernel.input_dtype).tolist()
    y = np.empty(x.shape, np.int64)
    for index in np.ndindex(x.shape):
        y[index] = kernel.values[index[-1], inputs.index(int(x[index]))]
    return (y,)


def grid() -> Iterator[tuple[str, Table]]:
    """The kernels that the resource model is fitted to."""
    rng = np.random.default_rng(32)
    for taken, given, channels, own, pe in STEPS:
        kernel = _table(rng, channels if own else 1, channels, taken, given, (), pe)
        yield f"table {taken}->{given} C={channels if own else f'{channels} shared'} PE={pe}", kernel
