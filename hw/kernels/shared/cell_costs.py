"""Resource costs of modules and structures that several kernels contain: formulas fitted to the results of Yosys."""

from collections.abc import Iterable

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources

REGISTER_BITS = 15
"""Maximum size in bits of a writable memory that Yosys puts in flip-flops although the family has lookup-table RAM."""


def stream_out(width: int, credits: int, family: Family, distinct: int | None = None) -> Resources:
    """Cost of ``bf_stream_out``: an output buffer of ``credits`` beats of ``width`` bits, with its control.

    ``distinct``: bits of a beat that are not equal to another bit of it. Synthesis keeps these once, but in block RAM.
    """
    six, bits = family.lut_inputs >= 6, distinct or width
    if credits == 1:
        return Resources(lut=2 if six else 3, ff=bits + 2)
    count, address = credits.bit_length(), (credits - 1).bit_length()
    lut = 5 * count + 3 * address - 1 if six else 12 * count + 3 * address - 17
    kept, places = Resources(lut, 3 * count + 2 * address + 1), 1 << address
    if buffered_in_registers(width, credits, family):
        return kept + Resources(ram(places, bits, family), ram_ff(places, bits, family))
    if not family.lut_ram:
        return kept + Resources(bits, bits, family.blocks(places, width))
    if places * width <= REGISTER_BITS:
        return kept + Resources(_registers(places, bits), places * bits)
    words, column, luts, _ = family.lut_ram
    rows = -(-credits // words)
    return kept + Resources(rows * -(-bits // column) * luts + bits * (rows - 1))


def buffered_in_registers(width: int, credits: int, family: Family) -> bool:
    """Whether the output buffer of a family without memories in lookup tables is in registers, of which synthesis makes
    equal ones one."""
    return not family.lut_ram and not family.takes_blocks(1 << (credits - 1).bit_length(), width)


def stream_join(inputs: int, family: Family) -> Resources:
    """Cost of ``bf_stream_join`` with ``inputs`` inputs, and of the register after ``fire``."""
    return Resources(lut=(1 if family.lut_inputs >= 6 else 3) * inputs, ff=inputs + 1)


def rom(depth: int, width: int, family: Family) -> int:
    """Lookup tables of a read-only memory of ``depth`` words of ``width`` bits in logic."""
    address = (depth - 1).bit_length()
    if address == 0:
        return 0
    if address > family.lut_inputs == family.wide_inputs:
        # Slices have no wide multiplexers: a table holds 16 words, 2:1 multiplexers in tables and a decoder join them.
        return round(width * (depth / 8 - 1) + depth / 2)
    whole, rest = divmod(depth, 1 << family.wide_inputs)
    tables = whole << family.wide_inputs - family.lut_inputs
    if rest:
        tables += 1 << max(0, (rest - 1).bit_length() - family.lut_inputs)
    wide = 1.22 if address > family.wide_inputs else 1.0  # the slices' own multiplexers do not suffice
    return round(wide * width * tables)


def varying(words: Iterable[int]) -> int:
    """Number of bit positions in which the words of a memory differ. Synthesis removes the others, in block RAM too."""
    first, differ = None, 0
    for word in words:
        first = word if first is None else first
        differ |= word ^ first
    return differ.bit_count()


def block_rows(depth: int, width: int, family: Family) -> int:
    """Lookup tables of the multiplexer at the outputs of a memory deeper than one block RAM."""
    rows = min((-(-(-(-depth // d) * width) // w), -(-depth // d)) for d, w in family.bram_shapes)[1]
    if rows == 1:
        return 0
    return width * (-(-rows // 3) if family.lut_inputs >= 6 else rows)


COLUMNS = 62
"""Maximum depth of a memory whose bit columns are compared; a column is one int64."""


def columns(words: np.ndarray, width: int) -> int:
    """Number of distinct non-constant bit columns of a memory in lookup tables.

    ``words``: (depth, lanes), of ``width`` bits each; depth is at most COLUMNS.
    """
    return _distinct(_columns(words, width).reshape(1, -1), len(words))


def columns_apart(words: np.ndarray, width: int) -> int:
    """The sum of ``columns`` over memories of one lane each: ``words`` is (depth, memories)."""
    return _distinct(_columns(words, width), len(words))


def _columns(words: np.ndarray, width: int) -> np.ndarray:
    """The bit columns, (lanes, width): bit i of an integer is that of word i."""
    kind = np.uint8 if len(words) <= 8 else np.int64
    numbers, bits = np.zeros((words.shape[1], width), kind), np.arange(width)
    for place, word in enumerate(words):
        plane = (word.astype(np.int64)[:, None] >> bits) & 1 if width > 1 else word[:, None] & 1
        numbers |= plane.astype(kind) << kind(place)
    return numbers


def _distinct(numbers: np.ndarray, depth: int) -> int:
    """The sum over rows of the number of distinct columns of ``depth`` bits, all zeros and all ones not counted."""
    ordered = np.sort(numbers, axis=1, kind="stable")
    first = np.ones(ordered.shape, np.bool_)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return int(np.count_nonzero(first & (ordered != 0) & (ordered != (1 << depth) - 1)))


def add(bits: int, family: Family, carry: bool = False) -> int:
    """Lookup tables of an adder on the carry chain; a ``carry`` input occupies one more bit of the chain."""
    bits += carry and not family.carry_apart
    return family.chain_bits * -(-bits // family.chain_bits)


def subtract(bits: int, family: Family) -> int:
    """Lookup tables of a subtracter."""
    return add(bits, family) + (0 if family.chain_inverts else bits)


def soft_product(a: int, b: int) -> int:
    """Lookup tables of a product of signed numbers of ``a`` and ``b`` bits in a family without DSPs."""
    return 2 * a * b


def compare(bits: int, family: Family) -> int:
    """Lookup tables of a comparator (``>`` or ``>=``) of two variables.

    It is on the carry chain; for few bits it is a chain of tables, of which the first takes two bits, each other one.
    """
    if bits < family.chain_least:
        return max(1, bits - 1)
    if family.carry_apart and family.chain_inverts:
        return round(0.7 * bits)
    return add(bits, family)  # the carries, or the inverters before them, occupy tables


def choice(inputs: int, family: Family) -> float:
    """Lookup tables of a multiplexer of one bit of so many inputs."""
    if family.lut_inputs >= 6:
        return (inputs - 1) / 3
    return inputs - 1.0


def parity(width: int, family: Family) -> Resources:
    """Cost of ``bf_parity`` for words of ``width`` bits."""
    lut, ff = 1, 1
    while True:
        sizes = [16] * (width // 16) + [width % 16]
        lut += sum(-(-(size - 1) // (family.lut_inputs - 1)) for size in sizes if size)
        width = -(-width // 16)
        ff += width + 1
        if width == 1:
            return Resources(lut, ff)


def counter(values: int, family: Family) -> Resources:
    """Cost of a counter modulo ``values``."""
    bits = (values - 1).bit_length()
    return Resources(lut=(bits + 1 if family.carry_apart else 2 * bits) if bits else 0, ff=bits)


def control(ff: int, family: Family) -> int:
    """Lookup tables of control logic with ``ff`` flip-flops, most of which belong to counters."""
    if family.lut_inputs >= 6:
        return round(1.45 * ff)
    return round((1.75 if family.carry_apart else 2.1) * ff)


def ram(words: int, width: int, family: Family) -> int:
    """Lookup tables of a writable memory with one write port and one read port, in lookup-table RAM.

    Without lookup-table RAM the words are in flip-flops (``ram_ff``), and this is the cost of decoder and multiplexers.
    """
    if not family.lut_ram:
        return _registers(words, width)
    depth, bits, luts, _ = family.lut_ram
    if family.lut_inputs >= 6 and words > depth:
        depth, bits = 2 * depth, bits // 2
    rows = -(-words // depth)
    return rows * -(-width // bits) * luts + width * (rows - 1)


def _registers(words: int, width: int) -> int:
    """Lookup tables of a memory in flip-flops: a decoder and 2:1 multiplexers; synthesis merges one in eight."""
    return words + width * (words - 1 - words // 8)


def ram_ff(words: int, width: int, family: Family) -> int:
    """Flip-flops that hold the words of a ``ram``: none in a family with lookup-table RAM."""
    return 0 if family.lut_ram else words * width
