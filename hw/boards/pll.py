"""ECP5 PLL (EHXPLLL): its dividers for a clock, and its instance.

With the feedback from CLKOP: f_out = f_in * feedback / reference, f_vco = f_out * output. VCO and output limits are
those of the data sheet (FPGA-DS-02012); the dividers and the phase detector's limit are those of Project Trellis.
"""

from dataclasses import dataclass

from hw.errors import BitfabricError

VCO_MHZ = (400.0, 800.0)
DETECTOR_MHZ = (3.125, 400.0)
OUTPUT_MHZ = (3.125, 400.0)
FEEDBACK, DIVIDER = 80, 128


@dataclass(frozen=True)
class Pll:
    """Dividers of one clock. ``mhz`` is the frequency that they give."""

    reference: int
    feedback: int
    output: int
    in_mhz: float
    mhz: float

    @property
    def vco_mhz(self) -> float:
        """Frequency of the oscillator."""
        return self.mhz * self.output


def solve(in_mhz: float, mhz: float) -> Pll:
    """The PLL with the fastest clock up to ``mhz``, its oscillator nearest to the middle of its range.

    Raises BitfabricError (status 2) where that is more than 15 % below ``mhz``.
    """
    middle = sum(VCO_MHZ) / 2
    found = []
    for reference in range(1, DIVIDER + 1):
        feedback = int(mhz * reference / in_mhz + 1e-9)
        real = in_mhz * feedback / reference
        if not 1 <= feedback <= FEEDBACK or not OUTPUT_MHZ[0] <= real <= OUTPUT_MHZ[1]:
            continue
        output = min(range(1, DIVIDER + 1), key=lambda divider: abs(real * divider - middle))
        pll = Pll(reference, feedback, output, in_mhz, real)
        if VCO_MHZ[0] <= pll.vco_mhz <= VCO_MHZ[1] and DETECTOR_MHZ[0] <= in_mhz / reference <= DETECTOR_MHZ[1]:
            found.append(pll)
    best = max(found, key=lambda pll: (pll.mhz, -abs(pll.vco_mhz - middle), -pll.reference), default=None)
    if best is None or best.mhz < 0.85 * mhz:
        span = f"{OUTPUT_MHZ[0]:g} to {OUTPUT_MHZ[1]:g} MHz"
        raise BitfabricError(f"no PLL setting for {mhz:g} MHz from {in_mhz:g} MHz; choose a --clock from {span}", 2)
    return best


def instance(pll: Pll, clock_in: str, clock_out: str, locked: str) -> str:
    """SystemVerilog of the PLL. The attributes beside the dividers are the analogue settings for this family."""
    phase = pll.output // 2 - 1 if pll.output > 1 else 0
    parameters = {
        "PLLRST_ENA": '"DISABLED"',
        "INTFB_WAKE": '"DISABLED"',
        "STDBY_ENABLE": '"DISABLED"',
        "DPHASE_SOURCE": '"DISABLED"',
        "OUTDIVIDER_MUXA": '"DIVA"',
        "OUTDIVIDER_MUXB": '"DIVB"',
        "OUTDIVIDER_MUXC": '"DIVC"',
        "OUTDIVIDER_MUXD": '"DIVD"',
        "CLKI_DIV": pll.reference,
        "CLKFB_DIV": pll.feedback,
        "CLKOP_ENABLE": '"ENABLED"',
        "CLKOP_DIV": pll.output,
        "CLKOP_CPHASE": phase,
        "CLKOP_FPHASE": 0,
        "FEEDBK_PATH": '"CLKOP"',
    }
    pins = {
        "RST": "1'b0",
        "STDBY": "1'b0",
        "CLKI": clock_in,
        "CLKOP": clock_out,
        "CLKFB": clock_out,
        "PHASESEL0": "1'b0",
        "PHASESEL1": "1'b0",
        "PHASEDIR": "1'b1",
        "PHASESTEP": "1'b1",
        "PHASELOADREG": "1'b1",
        "PLLWAKESYNC": "1'b0",
        "ENCLKOP": "1'b0",
        "ENCLKOS": "1'b0",
        "ENCLKOS2": "1'b0",
        "ENCLKOS3": "1'b0",
        "CLKOS": "pll_unused[0]",
        "CLKOS2": "pll_unused[1]",
        "CLKOS3": "pll_unused[2]",
        "INTLOCK": "pll_unused[3]",
        "REFCLK": "pll_unused[4]",
        "CLKINTFB": "pll_unused[5]",
        "LOCK": locked,
    }
    attributes = (
        f'(* FREQUENCY_PIN_CLKI="{pll.in_mhz:g}", FREQUENCY_PIN_CLKOP="{pll.mhz:g}", ICP_CURRENT="12", '
        'LPF_RESISTOR="8", MFG_ENABLE_FILTEROPAMP="1", MFG_GMCREF_SEL="2" *)'
    )
    settings = ",\n".join(f"      .{key}({value})" for key, value in parameters.items())
    connect = ",\n".join(f"      .{key}({value})" for key, value in pins.items())
    return f"  logic [5:0] pll_unused;\n  {attributes}\n  EHXPLLL #(\n{settings}\n  ) pll (\n{connect}\n  );\n"
