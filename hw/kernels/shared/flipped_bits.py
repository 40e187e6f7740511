"""Integers as hardware leaves them: in a fixed number of bits, some of them flipped.

A flipped bit may make numbers that a kernel was not made for, and other kernels get them. So kernels with flipped bits
(``damage.py`` in their folders) compute as the hardware does with any contents and any codes at their inputs: sums
wrap around, thresholds are searched as they lie, sorted or not, and a code that stands for no number (10 of TERNARY)
counts as what the logic makes of it.
"""

from typing import TypeVar

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.ir.kernel import Kernel
from hw.ir.stream import decode

Integers = TypeVar("Integers", np.ndarray, int)
Changed = TypeVar("Changed", bound=Kernel)


def wrap(values: np.ndarray, dtype: BaseDataType) -> np.ndarray:
    """Integers (int64, or Python's own) modulo the range of ``dtype``, as an adder that overflows leaves them."""
    mask = (1 << dtype.bitwidth()) - 1
    if values.dtype == object:
        return decode((values & mask).astype(np.uint64), dtype)
    return decode(values.astype(np.int64).view(np.uint64) & np.uint64(mask), dtype)


def signed(values: Integers, bits: int) -> Integers:
    """Integers (int64, or Python's own) modulo 2**bits, as two's complement of ``bits`` bits."""
    half = 1 << bits - 1
    return ((values + half) & (2 * half - 1)) - half


def flipped(codes: np.ndarray, width: int, flips: np.ndarray) -> np.ndarray:
    """Codes (uint64) of ``width`` bits and bits ``flips`` flipped; bit ``i`` of code ``n`` has number n * width + i."""
    result = codes.copy()
    np.bitwise_xor.at(result.reshape(-1), flips // width, np.uint64(1) << (flips % width).astype(np.uint64))
    return result


def known(values: np.ndarray, dtype: BaseDataType) -> np.ndarray:
    """Values of ``dtype`` where single bits are read: the unused code of TERNARY, -2, has no low bit, so it is 0."""
    return np.where(values == -2, 0, values) if dtype == DataType["TERNARY"] else values


def with_parameters(kind: type[Changed], kernel: Kernel, **changed: object) -> Changed:
    """A kernel's parameters, some of them ``changed``, as a kernel of class ``kind``. They are not checked again."""
    made = object.__new__(kind)
    vars(made).update(vars(kernel) | changed)
    return made
