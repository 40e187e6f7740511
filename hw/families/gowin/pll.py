"""The PLL of Gowin: rPLL. Limits from Gowin UG286 and DS117."""

from hw.fabric.devices import Device
from hw.fabric.pll import Pll, PllCell, PllLimits

LIMITS = PllLimits(
    (400, 1200), (3, 400), (3.125, 600), range(1, 65), range(1, 65), (2, 4, 8, *range(16, 129, 16)), input_mhz=(3, 400)
)


def pll_cell(pll: Pll, device: Device, clock_in: str, clock_out: str, locked: str) -> PllCell:
    """The PLL cell with internal feedback."""
    parameters: dict[str, int | str] = {
        "FCLKIN": f'"{pll.in_mhz:g}"',
        "DEVICE": f'"{device.part}"',
        "IDIV_SEL": pll.reference - 1,
        "FBDIV_SEL": pll.feedback - 1,
        "ODIV_SEL": pll.output,
        "DYN_IDIV_SEL": '"false"',
        "DYN_FBDIV_SEL": '"false"',
        "DYN_ODIV_SEL": '"false"',
        "CLKFB_SEL": '"internal"',
    }
    pins = {
        "CLKIN": clock_in,
        "CLKFB": "1'b0",
        "RESET": "1'b0",
        "RESET_P": "1'b0",
        "FBDSEL": "6'b0",
        "IDSEL": "6'b0",
        "ODSEL": "6'b0",
        "PSDA": "4'b0",
        "DUTYDA": "4'b0",
        "FDLY": "4'b0",
        "CLKOUT": clock_out,
        "LOCK": locked,
        "CLKOUTP": "pll_unused[0]",
        "CLKOUTD": "pll_unused[1]",
        "CLKOUTD3": "pll_unused[2]",
    }
    return PllCell("rPLL", parameters, pins, 3)
