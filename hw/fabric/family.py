"""FPGA families: what a kernel must know of the fabric to choose its memories and multipliers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Fabric of one FPGA family.

    ``bram_shapes`` are the (depth, width) organisations of one block RAM; ``lut_ram`` says whether
    lookup tables can serve as RAM (where not, Yosys refuses the style "distributed"); ``dsp_bits`` is the signed
    multiplier that one DSP holds, or None.

    ``wide_inputs`` are the inputs of the widest function that a slice makes of its lookup tables by multiplexers of
    its own, which are counted nowhere. ``chain_bits`` bits of an adder are one cell of the carry chain, made of as many
    lookup tables; adders of less than ``chain_least`` bits are not put on it. ``carry_apart`` says that carries are
    made beside the lookup tables, not in them: a carry alone takes none. ``chain_inverts`` says that the chain can
    invert an operand; where not, a difference takes inverters. ``dsp_least`` are the bits of an operand and of a
    product from which on Yosys takes a DSP. ``dsp_halves`` says that a DSP is one of two halves that make a multiplier
    of ``dsp_bits``.
    """

    name: str
    lut_inputs: int
    bram_shapes: tuple[tuple[int, int], ...]
    lut_ram: bool
    dsp_bits: tuple[int, int] | None
    wide_inputs: int
    chain_bits: int = 1
    chain_least: int = 3
    carry_apart: bool = False
    chain_inverts: bool = True
    dsp_least: tuple[int, int] = (2, 9)
    dsp_halves: bool = False

    @property
    def bram_bits(self) -> int:
        """Bits in one block RAM."""
        return max(depth * width for depth, width in self.bram_shapes)

    def blocks(self, depth: int, width: int) -> int:
        """Block RAMs that a memory of ``depth`` words of ``width`` bits takes."""
        return min(-(-(-(-depth // d) * width) // w) for d, w in self.bram_shapes)

    def multipliers(self, a: int, b: int) -> int:
        """DSPs that a product of signed numbers of ``a`` and ``b`` bits takes; 0: it is made of lookup tables.

        Yosys cuts operands of more than ``dsp_bits``: those are low parts or unsigned numbers, with a 0 for a sign.
        """
        most_a, most_b = self.dsp_bits or (0, 0)
        operand, product = self.dsp_least
        if a > most_a:
            return self.multipliers(most_a, b) + self.multipliers(a - most_a, b)
        if b > most_b:
            return self.multipliers(a, most_b) + self.multipliers(a, b - most_b)
        if min(a, b) < operand or a + b < product:
            return 0
        return 2 if self.dsp_halves and max(a, b) > 9 else 1


ECP5 = Family(
    name="ecp5",
    lut_inputs=4,
    bram_shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)),
    lut_ram=True,
    dsp_bits=(18, 18),
    wide_inputs=7,
    chain_bits=2,
    chain_least=5,
)
XC7 = Family(
    name="xc7",
    lut_inputs=6,
    bram_shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)),
    lut_ram=True,
    dsp_bits=(25, 18),
    wide_inputs=8,
    carry_apart=True,
)
ICE40 = Family(
    name="ice40",
    lut_inputs=4,
    bram_shapes=((2048, 2), (1024, 4), (512, 8), (256, 16)),
    lut_ram=False,
    dsp_bits=(16, 16),
    wide_inputs=4,
    carry_apart=True,
    chain_inverts=False,
    dsp_least=(2, 11),
)
GOWIN = Family(
    name="gowin",
    lut_inputs=4,
    bram_shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)),
    lut_ram=True,
    dsp_bits=(18, 18),
    wide_inputs=8,
    dsp_least=(4, 8),
    dsp_halves=True,
)
FAMILIES = {family.name: family for family in (ECP5, ICE40, GOWIN, XC7)}
