"""Cases of ``plane_depthwise``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.depthwise.cases import definition
from hw.kernels.plane_depthwise.kernel import PlaneDepthwise
from hw.kernels.shared.random_parameters import generator, weights

__all__ = ["cases", "definition", "grid"]

SMALL = (
    # name, weights, inputs, channels, positions of a window, PE, prefix, pixels
    ("weight planes", "INT8", "UINT8", 3, 4, 1, (2,), 1),
    ("weight planes, unsigned", "UINT5", "INT8", 4, 6, 2, (), 1),
    ("part of a window", "INT8", "INT5", 4, 6, 4, (2,), 3),
    ("several windows", "INT8", "UINT8", 4, 6, 4, (4,), 12),
    ("input planes", "INT8", "UINT5", 4, 6, 2, (), 1),
    ("widest", "INT18", "INT18", 2, 3, 1, (), 1),
)
DEPTHWISE = (
    # weights, inputs, channels, (PE) ...
    ("INT8", "UINT8", 32, 1, 4),
    ("INT8", "INT8", 32, 2),
    ("INT6", "UINT8", 32, 4),
    ("INT8", "UINT5", 32, 8),
)


def cases() -> Iterator[tuple[str, PlaneDepthwise]]:
    """Small kernels of both kinds of weights, parts of windows, several windows, and parity bits in block RAM."""
    rng = np.random.default_rng(4)
    for name, weight, data, channels, k, pe, prefix, pixels in SMALL:
        matrix = weights(rng, weight, (channels, k))
        yield name, PlaneDepthwise(matrix, DataType[weight], DataType[data], prefix, pe, pixels=pixels)
    stored = weights(rng, "INT8", (140, 9))
    yield "parity", PlaneDepthwise(stored, DataType["INT8"], DataType["UINT8"], (), 1, parity=True)


def grid() -> Iterator[tuple[str, PlaneDepthwise]]:
    """The kernels that the resource model is fitted to."""
    rng = generator()
    for weight, data, channels, *lanes in DEPTHWISE:
        matrix = weights(rng, weight, (channels, 9))
        for pe in lanes:
            kernel = PlaneDepthwise(matrix, DataType[weight], DataType[data], (4, 4), pe)
            yield f"plane_depthwise {weight}x{data} C={channels} K=9 PE={pe}", kernel
