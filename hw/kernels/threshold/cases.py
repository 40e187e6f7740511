"""Cases of ``threshold``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.shared.random_parameters import generator
from hw.kernels.threshold.kernel import Threshold

SMALL = (
    # name, input, output, steps, share of decreasing channels, PE
    ("two bits", "INT7", "UINT2", 3, 0.4, 2),
    ("sign", "INT5", "BIPOLAR", 1, 0.4, 3),
    ("of signs", "BIPOLAR", "UINT1", 1, 0.5, 1),
    ("unsigned", "UINT4", "INT2", 3, 0.0, 6),
    ("three levels", "INT6", "TERNARY", 2, 0.4, 2),
    ("decreasing", "UINT6", "UINT2", 3, 1.0, 2),
    ("many steps", "INT9", "UINT5", 31, 0.3, 2),
)
STEPS = (
    # input, output, channels, (PE) ...
    ("INT10", "BIPOLAR", 64, 1, 8, 64),
    ("INT12", "BIPOLAR", 512, 2, 16),
    ("INT8", "UINT2", 64, 2, 8),
    ("INT14", "UINT4", 32, 1, 4, 16),
    ("INT18", "UINT8", 32, 1, 4),
    ("INT12", "INT4", 256, 1, 8),
)


def cases() -> Iterator[tuple[str, Threshold]]:
    """Every output type, thresholds shared by all channels, several pixels per beat, and parity bits in block RAM."""
    rng = np.random.default_rng(2)

    def rows(channels: int, steps: int, data: str) -> np.ndarray:
        dtype = DataType[data]
        return np.sort(rng.integers(int(dtype.min()), int(dtype.max()) + 1, (channels, steps), endpoint=True), axis=1)

    for name, data, out, steps, falling, pe in SMALL:
        turned, least = rng.random(6) < falling, int(DataType[out].min())
        types = DataType[data], DataType[out]
        yield name, Threshold(rows(6, steps, data), turned, *types, (2,), pe, least)
    shared = np.repeat(rows(1, 3, "INT6"), 6, 0)
    yield "shared", Threshold(shared, np.zeros(6, bool), DataType["INT6"], DataType["UINT2"], (2,), 2)
    turned = rng.random(3) < 0.5
    yield "pixels", Threshold(rows(3, 3, "INT5"), turned, DataType["INT5"], DataType["UINT2"], (4,), 3, pixels=2)
    types = DataType["INT16"], DataType["UINT3"]
    yield "parity", Threshold(rows(256, 7, "INT16"), np.zeros(256, bool), *types, (), 2, parity=True)


def definition(kernel: Threshold, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The count of thresholds that an element has reached, complemented in decreasing channels."""
    count = (x[..., None].astype(np.int64) >= kernel.thresholds).sum(axis=-1)
    count = np.where(kernel.decreasing, kernel.steps - count, count)
    least = int(kernel.output_dtype.min()) if kernel.output_min is None else kernel.output_min
    return (least + (2 if kernel.output_dtype.name == "BIPOLAR" else 1) * count,)


def grid() -> Iterator[tuple[str, Threshold]]:
    """The kernels that the resource model is fitted to."""
    rng = generator(drawn=66_144)
    for taken, given, channels, *lanes in STEPS:
        have, to = DataType[taken], DataType[given]
        steps = 1 if given == "BIPOLAR" else int(to.max() - to.min())
        spread = 1 << (have.bitwidth() - 2)
        rows = np.sort(rng.integers(-spread, spread, (channels, steps)), axis=1)
        for pe in lanes:
            kernel = Threshold(rows, np.zeros(channels, bool), have, to, pe=pe)
            yield f"threshold {taken}->{given} C={channels} PE={pe}", kernel
