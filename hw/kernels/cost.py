"""Closed forms for the cost of what several kernels are made of, fitted to Yosys's results."""

from collections.abc import Iterable

import numpy as np

from hw.kernels.kernel import Resources
from hw.synth.family import Family

ECP5_RAM = (16, 4, 6)
XC7_RAM = (32, 6, 4)
"""A lookup-table RAM: words, bits, and the lookup tables that it takes."""
LOGIC_BITS = 64
"""Without lookup-table RAM, memories of no more bits are flip-flops."""


def stream_out(width: int, credits: int, family: Family) -> Resources:
    """The part of this name: an output buffer of ``credits`` beats of ``width`` bits, and its control."""
    six = family.lut_inputs >= 6
    if credits == 1:
        return Resources(lut=2 if six else 3, ff=width + 2)
    count, address = credits.bit_length(), (credits - 1).bit_length()
    control = 6 * count + 4 * address - 6 if six else 10 * count + 6 * address - 10
    if not family.lut_ram:
        places, kept = 1 << address, Resources(control, 3 * count + 2 * address + 1)
        if places * width > LOGIC_BITS:  # Yosys finds block RAM cheaper, with a way past it
            return kept + Resources(width, width, family.blocks(places, width))
        return kept + Resources(ram(places, width, family), ram_ff(places, width, family))
    words, bits, luts = XC7_RAM if six else ECP5_RAM
    rows = -(-credits // words)
    tables = rows * -(-width // bits) * luts + (width * (rows - 1))
    return Resources(lut=control + tables, ff=3 * count + 2 * address + 1)


def meet(inputs: int, family: Family) -> Resources:
    """The part of this name, and the register behind ``fire``."""
    return Resources(lut=(1 if family.lut_inputs >= 6 else 7) * inputs, ff=inputs + 1)


def rom(depth: int, width: int, family: Family) -> int:
    """Lookup tables of a read-only memory in logic."""
    address = (depth - 1).bit_length()
    if address == 0:
        return 0
    wide = 1.22 if address > (8 if family.lut_inputs >= 6 else 7) else 1.0  # beyond the slices' own multiplexers
    return round(wide * width * 2 ** max(0, address - family.lut_inputs))


def varying(words: Iterable[int]) -> int:
    """Bits in which the words of a memory differ; synthesis drops the others, in block RAM too."""
    first, differ = None, 0
    for word in words:
        first = word if first is None else first
        differ |= word ^ first
    return differ.bit_count()


def block_rows(depth: int, width: int, family: Family) -> int:
    """Lookup tables that join the outputs of a block RAM memory deeper than one block."""
    rows = min((-(-(-(-depth // d) * width) // w), -(-depth // d)) for d, w in family.bram_shapes)[1]
    if rows == 1:
        return 0
    return width * (-(-rows // 3) if family.lut_inputs >= 6 else rows)


COLUMNS = 62
"""Words of the deepest memory whose columns are compared."""


def columns(words: np.ndarray, width: int) -> int:
    """Different columns of a memory that are not constant: what is left of ``width`` bits in lookup tables.

    ``words`` are (depth, lanes); at most COLUMNS of them.
    """
    depth = len(words)
    planes = (words.astype(np.int64)[:, :, None] >> np.arange(width)) & 1
    numbers = (planes.reshape(depth, -1) << np.arange(depth)[:, None]).sum(axis=0)
    return len(np.setdiff1d(numbers, [0, (1 << depth) - 1]))


def add(bits: int, family: Family) -> int:
    """Lookup tables of an adder, on the carry chain."""
    return bits if family.lut_inputs >= 6 else 2 * -(-bits // 2)


def compare(bits: int, family: Family) -> int:
    """Lookup tables of ``>`` or ``>=`` of two variables, on the carry chain."""
    return round(0.7 * bits) if family.lut_inputs >= 6 else 2 * -(-bits // 2)


def parity(width: int, family: Family) -> Resources:
    """The part of this name, for words of ``width`` bits."""
    lut, ff = 1, 1
    while True:
        sizes = [16] * (width // 16) + [width % 16]
        lut += sum(-(-(size - 1) // (family.lut_inputs - 1)) for size in sizes if size)
        width = -(-width // 16)
        ff += width + 1
        if width == 1:
            return Resources(lut, ff)


def counter(values: int, family: Family) -> Resources:
    """A counter that starts again after ``values`` steps."""
    bits = (values - 1).bit_length()
    return Resources(lut=(bits + 1 if family.lut_inputs >= 6 else 2 * bits) if bits else 0, ff=bits)


def ram(words: int, width: int, family: Family) -> int:
    """Lookup tables of a memory of variables in lookup tables, one port to write and one to read.

    Without lookup-table RAM it is flip-flops (``ram_ff``), and these are what selects one.
    """
    if not family.lut_ram:
        return width * (words - 1)
    depth, bits, luts = XC7_RAM if family.lut_inputs >= 6 else ECP5_RAM
    if family.lut_inputs >= 6 and words > depth:
        depth, bits = 2 * depth, bits // 2
    rows = -(-words // depth)
    return rows * -(-width // bits) * luts + width * (rows - 1)


def ram_ff(words: int, width: int, family: Family) -> int:
    """Flip-flops that hold the contents of a ``ram``."""
    return 0 if family.lut_ram else words * width
