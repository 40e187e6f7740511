"""Cases of ``thermometer``: small kernels for every check, the definition, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.thermometer.kernel import Thermometer

SMALL = (
    # name, input, channels, bits, prefix
    ("unsigned", "UINT5", 4, 9, ()),
    ("signed", "INT6", 3, 7, (2,)),
    ("signs", "BIPOLAR", 5, 6, ()),
    ("one bit", "UINT1", 4, 5, (3, 2)),
    ("ternary", "TERNARY", 3, 5, ()),
)
GRID = (
    # input, channels, levels of each
    ("UINT5", 32, 3), ("UINT8", 64, 1), ("INT10", 12, 5),
)  # fmt: skip


def cases() -> Iterator[tuple[str, Thermometer]]:
    """Every kind of input; equal bits, and levels that are always or never reached."""
    rng = np.random.default_rng(1)
    for name, data, channels, count, prefix in SMALL:
        dtype = DataType[data]
        features, levels = rng.integers(0, channels, count), rng.integers(dtype.min(), dtype.max() + 1, count)
        features[-1], levels[-1] = features[0], levels[0]
        levels[1], levels[2] = dtype.min() - 3, dtype.max() + 2
        yield name, Thermometer(features, levels, channels, dtype, prefix)


def definition(kernel: Thermometer, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The comparisons, one by one."""
    rows = x.reshape(-1, kernel.channels).tolist()
    pairs = list(zip(kernel.features.tolist(), kernel.levels.tolist(), strict=True))
    bits = [[int(row[feature] >= level) for feature, level in pairs] for row in rows]
    return (np.array(bits).reshape(*x.shape[:-1], len(pairs)),)


def grid() -> Iterator[tuple[str, Thermometer]]:
    """The kernels that the resource model is fitted to."""
    rng = np.random.default_rng(0)
    for data, channels, each in GRID:
        dtype = DataType[data]
        levels = rng.integers(dtype.min() + 1, dtype.max(), channels * each, endpoint=True)
        yield (
            f"thermometer {data} C={channels} levels={each}",
            Thermometer(np.repeat(np.arange(channels), each), levels, channels, dtype),
        )
