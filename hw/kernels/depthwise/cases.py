"""Cases of ``depthwise``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.shared.random_parameters import generator, weights

SMALL = (
    # name, weights, inputs, channels, positions of a window, PE, prefix, pixels
    ("signs", "BIPOLAR", "UINT3", 4, 6, 2, (2,), 1),
    ("padded signs", "BIPOLAR", "TERNARY", 4, 9, 2, (), 1),
    ("ternary", "TERNARY", "INT5", 4, 6, 1, (2,), 1),
    ("few bits", "INT3", "INT5", 4, 4, 4, (), 1),
    ("few bits of the input", "INT6", "TERNARY", 3, 4, 3, (2,), 1),
    ("multiplier", "INT8", "UINT8", 3, 4, 1, (2,), 1),
    ("part of a window", "INT3", "INT5", 4, 6, 4, (2,), 3),
    ("several windows", "INT8", "UINT8", 4, 6, 4, (4,), 12),
)
DEPTHWISE = (
    # weights, inputs, channels, (PE) ...
    ("INT8", "UINT8", 32, 1, 4),
    ("INT4", "UINT4", 64, 2, 8),
    ("BIPOLAR", "UINT4", 32, 4),
    ("BIPOLAR", "BIPOLAR", 64, 16),
    ("BIPOLAR", "TERNARY", 64, 8),
    ("INT8", "UINT4", 32, 4),
)


def cases() -> Iterator[tuple[str, Depthwise]]:
    """Small kernels of every kind of product, parts of windows, several windows, and parity bits in block RAM."""
    rng = np.random.default_rng(4)
    for name, weight, data, channels, k, pe, prefix, pixels in SMALL:
        matrix = weights(rng, weight, (channels, k))
        yield name, Depthwise(matrix, DataType[weight], DataType[data], prefix, pe, pixels=pixels)
    stored = weights(rng, "INT4", (140, 9))
    yield "parity", Depthwise(stored, DataType["INT4"], DataType["UINT8"], (), 1, parity=True)


def definition(kernel: Depthwise, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The sum of products of each channel, computed with Python's integers."""
    windows = x.astype(object).reshape(*x.shape[:-1], kernel.k, kernel.channels)
    return ((windows * kernel.weights.T.astype(object)).sum(axis=-2),)


def grid() -> Iterator[tuple[str, Depthwise]]:
    """The kernels that the resource model is fitted to."""
    rng = generator(drawn=73_488)
    for weight, data, channels, *lanes in DEPTHWISE:
        matrix = weights(rng, weight, (channels, 9))
        for pe in lanes:
            kernel = Depthwise(matrix, DataType[weight], DataType[data], (4, 4), pe)
            yield f"depthwise {weight}x{data} C={channels} K=9 PE={pe}", kernel
