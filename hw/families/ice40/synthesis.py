"""Synthesis for iCE40: the cells that count as resources.

LUT = SB_LUT4, FF = SB_DFF*, BRAM = SB_RAM40_4K*, DSP = SB_MAC16. A carry shares the logic cell of the lookup table that
it feeds. A logic cell holds one lookup table and one flip-flop; where the two do not belong together they occupy two
cells, so nextpnr's ICESTORM_LC lies between the larger count and the sum.
"""

from hw.fabric.resources import Resources
from hw.fabric.synthesis import SynthesisSpec

_COST = {
    "SB_LUT4": Resources(lut=1),
    **{f"SB_DFF{n}{e}{r}": Resources(ff=1) for n in ("", "N") for e in ("", "E") for r in ("", "R", "S", "SR", "SS")},
    **{f"SB_RAM40_4K{edges}": Resources(bram=1) for edges in ("", "NR", "NW", "NRNW")},
    "SB_MAC16": Resources(dsp=1),
}
_FREE = frozenset({"SB_CARRY", "SB_GB", "SB_IO", "SB_PLL40_PAD", "$scopeinfo"})
# Yosys rejects ram_style "distributed" in a family without lookup-table RAM, but the RTL may contain the attribute for
# any family, so it is removed here. Multipliers are mapped here and not by synth_ice40 -dsp: its pass ice40_dsp, which
# moves registers into the DSP, loses the sign of a product that is stored in more than 32 bits (Yosys 0.70, also
# yosys#2648 and #5059; found by simulation of the netlist).
_PASSES = """\
hierarchy -auto-top
setattr -unset ram_style a:ram_style=distributed
proc
flatten
opt_expr
opt_clean
wreduce t:$mul
techmap -map +/mul2dsp.v -map +/ice40/dsp_map.v -D DSP_NAME=$__MUL16X16 -D DSP_A_MAXWIDTH=16 -D DSP_B_MAXWIDTH=16 \
-D DSP_A_MINWIDTH=2 -D DSP_B_MINWIDTH=2 -D DSP_Y_MINWIDTH=11
chtype -set $mul t:$__soft_mul
synth_ice40"""
SYNTHESIS = SynthesisSpec(_PASSES, _COST, _FREE)
