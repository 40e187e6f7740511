"""Synthesis for 7 series: the cells that count as resources.

LUT = LUT1..LUT6 + LUT6_2 (one table with two outputs) + INV + lookup tables used as RAM or shift register, before
pairs of LUT5 are packed into one LUT6: an upper bound of "LUT" in the reports of Vivado and FINN. MUXF7/8 and CARRY4
are free. BRAM in RAMB18.
"""

from hw.fabric.resources import Resources
from hw.fabric.synthesis import SynthesisSpec
from hw.families.xc7.open_fabric import RAM_FILE, RAMS

_COST = {
    **{f"LUT{n}": Resources(lut=1) for n in range(1, 7)},
    **{name: Resources(lut=1) for name in ("LUT6_2", "INV", "SRL16E", "SRLC32E", "RAM32X1S", "RAM64X1S")},
    **{name: Resources(lut=2) for name in ("RAM32X1D", "RAM64X1D", "RAM128X1S", "RAM16X1D")},
    **{name: Resources(lut=4) for name in ("RAM32M", "RAM64M", "RAM128X1D", "RAM256X1S")},
    **{name: Resources(ff=1) for kind in ("FDRE", "FDSE", "FDCE", "FDPE") for name in (kind, f"{kind}_1")},
    "RAMB18E1": Resources(bram=1),
    "RAMB36E1": Resources(bram=2),
    "DSP48E1": Resources(dsp=1),
}
_FREE = frozenset({"MUXF7", "MUXF8", "CARRY4", "BUFG", "IBUF", "OBUF", "PLLE2_ADV", "$scopeinfo"})
_MEMORY = frozenset(kind for kind in _COST if kind.startswith(("RAM32", "RAM64", "RAM128", "RAM256", "RAM16", "SRL")))
SYNTHESIS = SynthesisSpec(
    "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
    _COST,
    _FREE,
    memory=_MEMORY,
    defines=("BF_LUT6_2",),
    files={RAM_FILE: RAMS},
)
