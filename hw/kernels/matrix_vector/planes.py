"""Sign planes of ``matrix_vector``: products without multipliers.

An operand's bits b are read as signs s = 2 b - 1. Twice the operand is then the sum of its planes s * 2^i plus a
constant, -1 for two's complement and 2^n - 1 for unsigned numbers of n bits. Lanes are taken in pairs: two signs select
the sum or the difference of the other operand's two lanes, and its sign.
"""

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.ir.stream import code_bits
from hw.kernels.matrix_vector.cost import levels

BIPOLAR = DataType["BIPOLAR"]


def signed_bits(low: int, high: int) -> int:
    """Width of the two's complement that holds ``low..high``."""
    return 1 + max(int(high).bit_length(), int(-low - 1).bit_length() if low < 0 else 0)


def of_weights(weight: BaseDataType, inputs: tuple[int, int], simd: int) -> tuple[int, int, int]:
    """The planes of weights of the type ``weight``, for ``simd`` lanes of inputs in the range ``inputs``.

    Returns the number of planes, the width of a sum or difference of two lanes, and the width of the constant term (0:
    no term).
    """
    low, high = inputs
    spread = (low, high) if simd == 1 else (min(2 * low, low - high), max(2 * high, high - low))
    bits = signed_bits(*spread)
    if weight == BIPOLAR:
        return 1, bits, 0
    return weight.bitwidth() + (not weight.signed()), bits, bits + levels(-(-simd // 2))


def of_inputs(data: BaseDataType, bits: int, extra: int) -> tuple[int, int, int]:
    """The planes of inputs of the type ``data``, as ``of_weights`` returns them; ``bits`` and ``extra`` are the
    ``pair_widths`` of the weights."""
    return (1, bits, 0) if data == BIPOLAR else (data.bitwidth(), bits, extra)


def paired(weights: np.ndarray, data: BaseDataType) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums and differences of pairs of weights (..., SIMD), (..., pairs) each, and the extra term (...).

    The extra term is the constant of inputs of the type ``data`` times the sum of the weights. A lane that is missing
    in the last pair is 0.
    """
    even, odd = weights[..., 0::2], weights[..., 1::2]
    if weights.shape[-1] % 2:
        odd = np.concatenate((odd, np.zeros_like(even[..., :1])), axis=-1)
    return even + odd, even - odd, _constant(data) * weights.sum(axis=-1, dtype=np.int64)


def pair_widths(weights: np.ndarray, data: BaseDataType) -> tuple[int, int]:
    """Widths of the sums and differences of pairs of weights (..., SIMD), and of the extra term (see ``paired``)."""
    sums, differences, extra = paired(weights, data)
    ends = min(sums.min(), differences.min()), max(sums.max(), differences.max())
    return signed_bits(*ends), signed_bits(extra.min(), extra.max())


def memory_bits(weights: np.ndarray, data: BaseDataType, bits: int, extra_bits: int) -> np.ndarray:
    """The words of ordered weights (words, PE, SIMD) for the planes of inputs, bit by bit: (words, PE, ROW).

    A row has the sum and the difference of each pair, ``bits`` wide, and then the extra term of ``extra_bits``.
    """
    sums, differences, extra = paired(weights, data)
    pairs = np.stack((sums, differences), axis=-1)
    return np.concatenate((code_bits(pairs, bits).reshape(*sums.shape[:2], -1), code_bits(extra, extra_bits)), axis=2)


def _constant(data: BaseDataType) -> int:
    """The constant in twice a value of the type ``data``."""
    return -1 if data.signed() else (1 << data.bitwidth()) - 1
