"""Integer arithmetic of hardware with flipped bits: fixed widths, wrap-around and invalid codes.

A flipped bit can produce values outside the range that a kernel was designed for, and the kernels behind it receive
them. The models of kernels with flipped bits (``damage.py`` in the kernels' folders) therefore compute what the
hardware computes for any memory contents and any input codes: sums wrap around, a threshold search runs over unsorted
thresholds too, and a code without a value (10 in TERNARY) has the value that the logic assigns to it.
"""

from typing import TypeVar

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.ir.kernel import Kernel
from hw.ir.stream import decode

Integers = TypeVar("Integers", np.ndarray, int)
Changed = TypeVar("Changed", bound=Kernel)


def wrap(values: np.ndarray, dtype: BaseDataType) -> np.ndarray:
    """Wrap integers (int64, or Python's int as objects) to the range of ``dtype``, as an overflowing adder does."""
    mask = (1 << dtype.bitwidth()) - 1
    if values.dtype == object:
        return decode((values & mask).astype(np.uint64), dtype)
    return decode(values.astype(np.int64).view(np.uint64) & np.uint64(mask), dtype)


def signed(values: Integers, bits: int) -> Integers:
    """Wrap integers (int64, or Python's int) modulo 2**bits, to two's complement of ``bits`` bits."""
    half = 1 << bits - 1
    return ((values + half) & (2 * half - 1)) - half


def flipped(codes: np.ndarray, width: int, flips: np.ndarray) -> np.ndarray:
    """Copy ``codes`` (uint64, ``width`` bits each) and flip the bits ``flips``; bit i of code n is n * width + i."""
    result = codes.copy()
    np.bitwise_xor.at(result.reshape(-1), flips // width, np.uint64(1) << (flips % width).astype(np.uint64))
    return result


def known(values: np.ndarray, dtype: BaseDataType) -> np.ndarray:
    """The values that logic reading single bits sees: the unused TERNARY code -2 becomes 0, as its low bit is 0."""
    return np.where(values == -2, 0, values) if dtype == DataType["TERNARY"] else values


def with_parameters(kind: type[Changed], kernel: Kernel, **changed: object) -> Changed:
    """A kernel of class ``kind`` with the parameters of ``kernel``, replaced by ``changed``, without any check."""
    made = object.__new__(kind)
    vars(made).update(vars(kernel) | changed)
    return made
