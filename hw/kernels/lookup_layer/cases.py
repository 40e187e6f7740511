"""Cases of ``lookup_layer``: small kernels for every check, the definition, and the measured grid."""

from collections.abc import Iterator

import numpy as np

from hw.kernels.lookup_layer.kernel import LookupLayer

SMALL = (
    # name, channels, outputs, inputs of a table, prefix
    ("one input", 3, 5, 1, ()), ("two inputs", 5, 4, 2, (2,)), ("four inputs", 12, 9, 4, ()),
    ("six inputs", 9, 7, 6, (2, 2)), ("eight inputs", 10, 3, 8, ()),
)  # fmt: skip
GRID = (
    # channels, outputs, inputs of a table
    (128, 100, 4), (64, 40, 5), (64, 40, 6), (64, 12, 8),
)  # fmt: skip


def random_layer(rng: np.random.Generator, channels: int, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Random wires and tables."""
    return rng.integers(0, channels, (outputs, inputs)), rng.integers(0, 2, (outputs, 1 << inputs))


def cases() -> Iterator[tuple[str, LookupLayer]]:
    """Every size of a table; equal tables, constant ones, and some that depend on fewer inputs than they have."""
    rng = np.random.default_rng(1)
    for name, channels, outputs, inputs, prefix in SMALL:
        wires, tables = random_layer(rng, channels, outputs, inputs)
        wires[-1], tables[-1] = wires[0], tables[0]
        tables[1], tables[2, 1:] = 1, tables[2, :1]
        if inputs > 1:
            wires[0, 1] = wires[0, 0]
            tables[-2] = np.repeat(tables[-2, ::2], 2)
        yield name, LookupLayer(wires, tables, channels, prefix)


def definition(kernel: LookupLayer, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The table of each output, read at its address."""
    rows = x.reshape(-1, kernel.channels).tolist()
    layer = list(zip(kernel.wires.tolist(), kernel.tables.tolist(), strict=True))
    read = [[table[sum(row[wire] << j for j, wire in enumerate(wires))] for wires, table in layer] for row in rows]
    return (np.array(read).reshape(*x.shape[:-1], len(layer)),)


def grid() -> Iterator[tuple[str, LookupLayer]]:
    """The kernels that the resource model is fitted to."""
    rng = np.random.default_rng(0)
    for channels, outputs, inputs in GRID:
        layer = random_layer(rng, channels, outputs, inputs)
        yield f"lookup_layer {outputs}x{inputs} C={channels}", LookupLayer(*layer, channels)
