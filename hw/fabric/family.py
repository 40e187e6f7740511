"""The fabric of an FPGA family, as kernels need it to choose memories and multipliers and to estimate resources."""

from dataclasses import dataclass
from typing import NamedTuple


class LutRam(NamedTuple):
    """A lookup-table RAM with one write and one read port: ``words`` of ``bits`` bits in ``luts`` lookup tables.

    ``scaled``: Yosys, which chooses between these and block RAM, counts a cell by the bits of it that are used.
    """

    words: int
    bits: int
    luts: int
    scaled: bool = False


class BlockChoice(NamedTuple):
    """Yosys's choice for a writable memory where lookup tables form no RAM: it takes ``n`` block RAMs for more than
    ``each * n + past + column * width`` bits, and flip-flops for fewer. The last two are for the bypass logic."""

    each: int
    past: int
    column: int


USUAL_CHOICE = BlockChoice(64, 8, 0)


@dataclass(frozen=True)
class Family:
    """The fabric of one FPGA family.

    Attributes:
        name: the family's name; it is the name of its folder in ``hw.families`` too.
        lut_inputs: inputs of one lookup table.
        bram_shapes: the (depth, width) organisations of one block RAM.
        lut_ram: the RAM that lookup tables can form; None where they cannot, and Yosys rejects
            ``ram_style = "distributed"``.
        dsp_bits: the operands, in bits, of the signed multiplier of one DSP; None: no DSP.
        wide_inputs: inputs of the widest function that a slice builds from its lookup tables and its own multiplexers.
            Those multiplexers are not counted as a resource.
        chain_bits: bits of an adder in one cell of the carry chain, and lookup tables of such a cell.
        chain_least: Yosys does not map adders of fewer bits to the carry chain.
        carry_apart: the carry chain has dedicated logic beside the lookup tables; a carry alone costs no lookup table.
        chain_inverts: the chain can invert an operand; where it cannot, a subtracter costs inverters.
        dsp_least: minimum bits of the smaller operand, and of the product, for which Yosys maps a product to a DSP.
        dsp_halves: a DSP is one of two halves of a multiplier of ``dsp_bits``.
        block_choice: which memories are in block RAM where ``lut_ram`` is None.
    """

    name: str
    lut_inputs: int
    bram_shapes: tuple[tuple[int, int], ...]
    lut_ram: LutRam | None
    dsp_bits: tuple[int, int] | None
    wide_inputs: int
    chain_bits: int = 1
    chain_least: int = 3
    carry_apart: bool = False
    chain_inverts: bool = True
    dsp_least: tuple[int, int] = (2, 9)
    dsp_halves: bool = False
    block_choice: BlockChoice = USUAL_CHOICE

    @property
    def bram_bits(self) -> int:
        """Bits in one block RAM."""
        return max(depth * width for depth, width in self.bram_shapes)

    def blocks(self, depth: int, width: int) -> int:
        """Number of block RAMs for a memory of ``depth`` words of ``width`` bits."""
        return min(-(-(-(-depth // d) * width) // w) for d, w in self.bram_shapes)

    def takes_blocks(self, depth: int, width: int) -> bool:
        """Whether a writable memory of ``depth`` words is in block RAM where nothing says so, in a family without RAM
        in lookup tables."""
        each, past, column = self.block_choice
        return depth * width > each * self.blocks(depth, width) + past + column * width

    def multipliers(self, a: int, b: int) -> int:
        """Number of DSPs for a product of signed numbers of ``a`` and ``b`` bits; 0: lookup tables compute it.

        Yosys splits operands of more than ``dsp_bits``. The lower parts are unsigned, and get a 0 as their sign bit.
        """
        if self.dsp_bits is None:
            return 0
        (most_a, most_b), (operand, product) = self.dsp_bits, self.dsp_least
        if a > most_a:
            return self.multipliers(most_a, b) + self.multipliers(a - most_a, b)
        if b > most_b:
            return self.multipliers(a, most_b) + self.multipliers(a, b - most_b)
        if min(a, b) < operand or a + b < product:
            return 0
        return 2 if self.dsp_halves and max(a, b) > 9 else 1
