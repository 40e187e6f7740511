"""Resource model of ``sparse_matrix_vector``, fitted to Yosys; the sums are those of ``matrix_vector``."""

from typing import Protocol

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.kernels.matrix_vector.cost import FEW_WORDS, Shape, sums
from hw.kernels.shared import cell_costs


class SparseShape(Shape, Protocol):
    """The parameters of a kernel that determine its cost; see the kernel's documentation."""

    @property
    def firings(self) -> int: ...
    @property
    def lengths(self) -> np.ndarray: ...
    @property
    def uneven(self) -> bool: ...
    @property
    def address_bits(self) -> int: ...
    @property
    def row(self) -> int: ...
    @property
    def bank_words(self) -> int: ...
    def words(self) -> np.ndarray: ...


def resources(kernel: SparseShape, family: Family, contents: bool = True) -> Resources:
    """Cost of a kernel before synthesis. Without ``contents`` the words of small memories cost nothing."""
    out = cell_costs.stream_out(kernel.outputs()[0].width, kernel.credits, family)
    return out + _control(kernel, family) + _operands(kernel, family, contents) + sums(kernel, family)


def _control(kernel: SparseShape, family: Family) -> Resources:
    """Cost of the counters of writer and reader, and of the bits that say where output beats end."""
    word = (kernel.firings - 1).bit_length()
    longest = int(kernel.lengths.max())
    pattern = Resources(cell_costs.rom(kernel.firings, 1, family)) if kernel.uneven else Resources()
    step = word + 1 if kernel.uneven else (longest - 1).bit_length() + (longest > 1)
    bits = word + step + kernel.address_bits
    six = family.lut_inputs >= 6
    return pattern + Resources(bits + 8 if six else 2 * bits + 10, bits + 6 + 2 * kernel.latency - 1)


def _operands(kernel: SparseShape, family: Family, contents: bool) -> Resources:
    """Cost of the banks, the weight memory, and the registers that delay writes and weights."""
    memory, bits = kernel.stored(family), kernel.input_dtype.bitwidth()
    width, words = kernel.simd * bits, kernel.bank_words
    _, ready = kernel.stages
    block = kernel.buffer(family) == "block"
    late = memory.latency if block else memory.latency - 1
    ff = late * (width + kernel.address_bits + 2) + width
    delayed, lut = ready - memory.latency, 0
    if delayed > 1 and family.lut_inputs >= 6:
        lut = kernel.pe * kernel.row  # shift registers in lookup tables
    else:
        ff += delayed * kernel.pe * kernel.row
    ff += memory.latency
    if block:
        banks = Resources(bram=kernel.simd * family.blocks(words, bits))
    else:
        banks = Resources(
            kernel.simd * cell_costs.ram(words, bits, family), kernel.simd * cell_costs.ram_ff(words, bits, family)
        )
    few = None
    if 1 < memory.depth <= FEW_WORDS:
        few = cell_costs.columns(kernel.words(), 1) if contents else 0
    return banks + Resources(lut, ff) + memory.resources(family, few)
