"""Synthesis for ECP5: the cells that count as resources.

LUT = LUT4 + 2 per CCU2C (the two lookup tables of a slice on the carry chain) + 6 per 16x4 RAM (four lookup tables hold
it, its write port occupies two more). PFUMX and L6MUX21 belong to the lookup tables that they join. FF = TRELLIS_FF,
BRAM = DP16KD, DSP = MULT18X18D. nextpnr's TRELLIS_COMB is LUT plus a few that it adds to feed carry chains.
"""

from hw.fabric.resources import Resources
from hw.fabric.synthesis import SynthesisSpec
from hw.families.ecp5.carry_chains import finish

_COST = {
    "LUT4": Resources(lut=1),
    "CCU2C": Resources(lut=2),
    "TRELLIS_DPR16X4": Resources(lut=6),
    "TRELLIS_FF": Resources(ff=1),
    "DP16KD": Resources(bram=1),
    "PDPW16KD": Resources(bram=1),
    "MULT18X18D": Resources(dsp=1),
}
_FREE = frozenset(
    {"PFUMX", "L6MUX21", "EHXPLLL", "DCCA", "TRELLIS_IO", "BB", "IDDRX1F", "ODDRX1F", "DELAYG", "$scopeinfo"}
)
SYNTHESIS = SynthesisSpec(
    "synth_ecp5",
    _COST,
    _FREE,
    carry=frozenset({"CCU2C"}),
    memory=frozenset({"TRELLIS_DPR16X4"}),
    defines=("BF_LUT4",),
    finish=finish,
)
