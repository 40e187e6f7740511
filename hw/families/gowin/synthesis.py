"""Synthesis for Gowin: the cells that count as resources.

LUT = LUT1..LUT4 + ALU (a lookup table on the carry chain) + 6 per RAM16SDP4. MUX2_LUT5..8 belong to the lookup tables
that they join. FF = DFF*, BRAM = blocks of 18 kbit, DSP = MULT9X9; a MULT18X18 counts as two.
"""

from hw.fabric.resources import Resources
from hw.fabric.synthesis import SynthesisSpec

_COST = {
    **{f"LUT{n}": Resources(lut=1) for n in range(1, 5)},
    "ALU": Resources(lut=1),
    "RAM16SDP4": Resources(lut=6),
    **{f"DFF{n}{r}{e}": Resources(ff=1) for n in ("", "N") for r in ("", "R", "S", "C", "P") for e in ("", "E")},
    **{kind: Resources(bram=1) for kind in ("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B", "pROM", "pROMX9")},
    "MULT9X9": Resources(dsp=1),
    "MULT18X18": Resources(dsp=2),
    "MULT36X36": Resources(dsp=8),
}
_FREE = frozenset({*(f"MUX2_LUT{n}" for n in range(5, 9)), "rPLL", "GND", "VCC", "$scopeinfo"})
SYNTHESIS = SynthesisSpec(
    "synth_gowin -noiopads", _COST, _FREE, carry=frozenset({"ALU"}), memory=frozenset({"RAM16SDP4"})
)
