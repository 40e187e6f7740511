"""The PLL of iCE40: SB_PLL40_PAD. Limits from Lattice FPGA-TN-02052; the filter range as IceStorm sets it."""

from hw.fabric.devices import Device
from hw.fabric.pll import Pll, PllCell, PllLimits

LIMITS = PllLimits(
    (533, 1066), (10, 133), (16, 275), range(1, 17), range(1, 129), (2, 4, 8, 16, 32, 64), True, input_mhz=(10, 133)
)


def pll_cell(pll: Pll, device: Device, clock_in: str, clock_out: str, locked: str) -> PllCell:
    """The PLL cell. Its input is the pad next to the PLL, so the board's clock must be connected to that pin."""
    # The loop filter's range by the phase detector's frequency.
    detector = pll.in_mhz / pll.reference
    filter_range = 1 + sum(detector >= edge for edge in (17, 26, 44, 66, 101))
    parameters: dict[str, int | str] = {
        "FEEDBACK_PATH": '"SIMPLE"',
        "DIVR": f"4'd{pll.reference - 1}",
        "DIVF": f"7'd{pll.feedback - 1}",
        "DIVQ": f"3'd{pll.output.bit_length() - 1}",
        "FILTER_RANGE": f"3'd{filter_range}",
    }
    pins = {
        "PACKAGEPIN": clock_in,
        "PLLOUTGLOBAL": clock_out,
        "LOCK": locked,
        "RESETB": "1'b1",
        "BYPASS": "1'b0",
    }
    return PllCell("SB_PLL40_PAD", parameters, pins)
