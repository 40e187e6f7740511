"""Cases of ``requant``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.requant.kernel import ROUNDING, Requant
from hw.kernels.shared.random_parameters import generator

SCALES = (
    # input, output, bits of the multiplier, channels, (PE) ...
    ("INT16", "INT8", 0, 16, 1, 4),
    ("INT20", "UINT8", 12, 32, 1, 4),
    ("INT24", "INT12", 16, 64, 2),
    ("INT30", "INT16", 24, 16, 1),
    ("INT20", "INT8", 14, 600, 2),
)
POWERS = (
    # input, output, exponents of the multipliers, their signs, channels, (PE) ...
    ("INT16", "INT8", (3,), (1,), 16, 1, 4),
    ("INT20", "UINT8", (2, 3, 4, 5), (-1, 1), 32, 1, 4),
)


def cases() -> Iterator[tuple[str, Requant]]:
    """Small kernels of every rounding mode and kind of product, several pixels, and parity bits in block RAM."""
    rng = np.random.default_rng(3)
    int8 = DataType["INT8"]

    def parameters(channels: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(-most, most, channels, endpoint=True), rng.integers(-99, 99, channels, endpoint=True)

    for rounding in ROUNDING:
        yield rounding, Requant(*parameters(4, 30), 4, rounding, DataType["INT7"], int8, -100, 127, (2,), 2)
    yield "of signs", Requant(*parameters(4, 99), 5, "HALF_UP", DataType["BIPOLAR"], int8, -100, 127, (), 1)
    yield (
        "constants",
        Requant(np.full(4, 5), np.full(4, -7), 3, "ROUND", DataType["UINT8"], DataType["UINT6"], 0, 63, (), 2),
    )
    powers = rng.choice([-1, 1], 6) << rng.integers(1, 3, 6, endpoint=True)
    yield "powers of two", Requant(powers, rng.integers(-50, 50, 6), 4, "ROUND", DataType["INT10"], int8, -128, 127)
    yield "several multipliers", Requant(*parameters(4, 1 << 29), 36, "ROUND", DataType["INT32"], int8, -128, 127)
    yield "pixels", Requant(*parameters(3, 30), 5, "DOWN", DataType["UINT9"], int8, -100, 127, (4,), 3, 2)
    multiplier, addend = rng.integers(-(2**12), 2**12, (2, 512))
    yield "parity", Requant(multiplier, addend, 16, "ROUND", DataType["INT16"], int8, -128, 127, (), 2, parity=True)


def _rounded(value: Fraction, mode: str) -> int:
    """QONNX's rounding modes."""
    size, sign = abs(value), -1 if value < 0 else 1
    return {
        "ROUND": lambda: round(value),  # to even
        "HALF_UP": lambda: sign * floor(size + Fraction(1, 2)),
        "HALF_DOWN": lambda: sign * ceil(size - Fraction(1, 2)),
        "CEIL": lambda: ceil(value),
        "FLOOR": lambda: floor(value),
        "UP": lambda: sign * ceil(size),
        "DOWN": lambda: sign * floor(size),
    }[mode]()


def definition(kernel: Requant, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The formula, computed with rational numbers."""
    total = x.astype(object) * kernel.multiplier.astype(object) + kernel.addend.astype(object)
    rounded = [_rounded(Fraction(value, 1 << kernel.shift), kernel.rounding) for value in total.ravel()]
    return (np.clip(rounded, kernel.low, kernel.high).reshape(x.shape),)


def grid() -> Iterator[tuple[str, Requant]]:
    """The kernels that the resource model is fitted to."""
    rng = generator(drawn=72_768)
    for taken, given, bits, channels, *lanes in SCALES:
        have, to = DataType[taken], DataType[given]
        factors = rng.integers(1 << max(bits - 2, 0), 1 << max(bits - 1, 0), channels, endpoint=True)
        addends = rng.integers(-(1 << have.bitwidth()), 1 << have.bitwidth(), channels)
        shift = max(1, bits + have.bitwidth() - to.bitwidth() - 2)
        for pe in lanes:
            kernel = Requant(factors, addends, shift, "ROUND", have, to, int(to.min()), int(to.max()), pe=pe)
            yield f"requant {taken}->{given} M={bits} C={channels} PE={pe}", kernel
    rng = generator(drawn=74_640)
    for taken, given, exponents, signs, channels, *lanes in POWERS:
        have, to = DataType[taken], DataType[given]
        factors = rng.choice(signs, channels) << rng.choice(exponents, channels)
        addends = rng.integers(-(1 << have.bitwidth()), 1 << have.bitwidth(), channels)
        shift = max(exponents) + have.bitwidth() - to.bitwidth() - 2
        for pe in lanes:
            kernel = Requant(factors, addends, shift, "ROUND", have, to, int(to.min()), int(to.max()), pe=pe)
            yield f"requant {taken}->{given} M=2^{exponents} {signs} C={channels} PE={pe}", kernel
