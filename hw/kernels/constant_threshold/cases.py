"""Cases of ``constant_threshold``: small kernels for every check, the definition, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.constant_threshold.kernel import ConstantThreshold
from hw.kernels.shared.random_parameters import generator
from hw.kernels.threshold.cases import definition

__all__ = ["cases", "definition", "grid"]

SMALL = (
    # name, input, output, thresholds, share of decreasing channels, pixels
    ("two bits", "INT7", "UINT2", 3, 0.4, 1),
    ("sign", "INT5", "BIPOLAR", 1, 0.4, 1),
    ("of signs", "BIPOLAR", "UINT1", 1, 0.5, 2),
    ("three levels", "TERNARY", "TERNARY", 2, 0.4, 1),
    ("decreasing", "UINT6", "INT3", 7, 1.0, 2),
    ("four bits", "INT14", "UINT4", 15, 0.3, 1),
    ("one step of three bits", "INT5", "INT3", 1, 0.5, 1),
)
STEPS = (
    # input, output, channels
    ("INT8", "BIPOLAR", 64),
    ("INT10", "INT2", 32),
    ("INT9", "UINT3", 32),
    ("INT11", "UINT3", 16),
    ("INT14", "UINT4", 8),
)


def cases() -> Iterator[tuple[str, ConstantThreshold]]:
    """Every output type, one cycle and two, thresholds shared by all channels, and never or always reached."""
    rng = np.random.default_rng(2)
    for name, data, out, steps, falling, pixels in SMALL:
        dtype, channels = DataType[data], 5
        rows = np.sort(rng.integers(int(dtype.min()), int(dtype.max()) + 1, (channels, steps), endpoint=True), axis=1)
        rows[0], least = (int(dtype.max()) + 1, int(dtype.min()))[name == "sign"], int(DataType[out].min())
        types = dtype, DataType[out]
        yield name, ConstantThreshold(rows, rng.random(channels) < falling, *types, (2,), channels, least, pixels)
    shared = np.repeat([[-9, 2, 2, 2, 11, 40, 62]], 33, 0)
    yield "shared", ConstantThreshold(shared, np.arange(33) % 2 == 1, DataType["INT7"], DataType["UINT4"], (), 33, 4)


def grid() -> Iterator[tuple[str, ConstantThreshold]]:
    """The kernels that the resource model is fitted to: thresholds at equal distances, as a quantizer has them."""
    rng = generator(drawn=0)
    for taken, given, channels in STEPS:
        have, to = DataType[taken], DataType[given]
        steps = 1 if given == "BIPOLAR" else int(to.max() - to.min())
        size = 1 << have.bitwidth()
        first, step = (
            rng.uniform(-0.2, 0.1, (channels, 1)) * size,
            rng.uniform(0.1, 0.5, (channels, 1)) * size / (steps + 1),
        )
        rows = np.round(first + step * np.arange(steps)).astype(np.int64)
        kernel = ConstantThreshold(rows, np.zeros(channels, bool), have, to, pe=channels)
        yield f"constant_threshold {taken}->{given} C={channels}", kernel
