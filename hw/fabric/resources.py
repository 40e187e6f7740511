"""Counts of FPGA resources."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """FPGA resources. LUT: the family's lookup tables; BRAM: its block RAMs (xc7: RAMB18); DSP: its multipliers."""

    lut: int = 0
    ff: int = 0
    bram: int = 0
    dsp: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(self.lut + other.lut, self.ff + other.ff, self.bram + other.bram, self.dsp + other.dsp)

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(self.lut - other.lut, self.ff - other.ff, self.bram - other.bram, self.dsp - other.dsp)
