"""FPGA families: what a kernel must know of the fabric to choose its memories and multipliers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Fabric of one FPGA family.

    ``bram_shapes`` are the (depth, width) organisations of one block RAM; ``lut_ram`` says whether
    lookup tables can serve as RAM (where not, Yosys refuses the style "distributed"); ``dsp_bits`` is the signed
    multiplier that one DSP holds, or None.
    """

    name: str
    lut_inputs: int
    bram_shapes: tuple[tuple[int, int], ...]
    lut_ram: bool
    dsp_bits: tuple[int, int] | None

    @property
    def bram_bits(self) -> int:
        """Bits in one block RAM."""
        return max(depth * width for depth, width in self.bram_shapes)

    def blocks(self, depth: int, width: int) -> int:
        """Block RAMs that a memory of ``depth`` words of ``width`` bits takes."""
        return min(-(-(-(-depth // d) * width) // w) for d, w in self.bram_shapes)


ECP5 = Family(
    name="ecp5",
    lut_inputs=4,
    bram_shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)),
    lut_ram=True,
    dsp_bits=(18, 18),
)
XC7 = Family(
    name="xc7",
    lut_inputs=6,
    bram_shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)),
    lut_ram=True,
    dsp_bits=(25, 18),
)
ICE40 = Family(
    name="ice40",
    lut_inputs=4,
    bram_shapes=((2048, 2), (1024, 4), (512, 8), (256, 16)),
    lut_ram=False,
    dsp_bits=(16, 16),
)
GOWIN = Family(
    name="gowin",
    lut_inputs=4,
    bram_shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)),
    lut_ram=True,
    dsp_bits=(18, 18),
)
FAMILIES = {family.name: family for family in (ECP5, ICE40, GOWIN, XC7)}
