"""The PLL of ECP5: EHXPLLL.

Limits from Lattice FPGA-DS-02012; the attributes beside the dividers are the analogue settings of Project Trellis.
"""

from hw.fabric.devices import Device
from hw.fabric.pll import Pll, PllCell, PllLimits

LIMITS = PllLimits(
    (400, 800), (3.125, 400), (3.125, 400), range(1, 129), range(1, 81), tuple(range(1, 129)), input_mhz=(8, 400)
)


def pll_cell(pll: Pll, device: Device, clock_in: str, clock_out: str, locked: str) -> PllCell:
    """The PLL cell with feedback from the PLL's output."""
    parameters: dict[str, int | str] = {
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
        "CLKOP_CPHASE": pll.output // 2 - 1 if pll.output > 1 else 0,
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
    attributes = {
        "FREQUENCY_PIN_CLKI": f"{pll.in_mhz:g}",
        "FREQUENCY_PIN_CLKOP": f"{pll.mhz:g}",
        "ICP_CURRENT": "12",
        "LPF_RESISTOR": "8",
        "MFG_ENABLE_FILTEROPAMP": "1",
        "MFG_GMCREF_SEL": "2",
    }
    return PllCell("EHXPLLL", parameters, pins, 6, attributes)
