"""Random parameters for cases and grids of kernels."""

import numpy as np
from qonnx.core.datatype import DataType


def generator(drawn: int = 0) -> np.random.Generator:
    """The generator of seed 0 after ``drawn`` draws.

    The kernels of all grids were once drawn from one generator, one grid after the other, and synthesised. A grid
    starts where the one before it ended, so that its kernels stay the measured ones.
    """
    bits = np.random.PCG64(0)
    bits.advance(drawn)
    return np.random.Generator(bits)


def weights(rng: np.random.Generator, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Uniform integers of the QONNX data type ``name``."""
    dtype = DataType[name]
    if name == "BIPOLAR":
        return rng.choice([-1, 1], shape)
    return rng.integers(int(dtype.min()), int(dtype.max()), shape, endpoint=True)
