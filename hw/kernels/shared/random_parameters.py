"""Random parameters for the test cases and the calibration grids of kernels."""

import numpy as np
from qonnx.core.datatype import DataType


def generator(drawn: int = 0) -> np.random.Generator:
    """NumPy's PCG64 generator with seed 0, advanced by ``drawn`` draws.

    The measured kernels of all grids were drawn from one generator, one grid after another. Each grid therefore starts
    at the number of draws at which the previous grid ended, and reproduces the kernels that were measured.
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
