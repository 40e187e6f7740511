"""The clock of 7 series images: the oscillator of the board, through a global buffer.

There is no PLL: openXC7's tools have written wrong lock and filter tables for many of its settings
(openXC7/nextpnr-xilinx #79, #138), which nothing below the bitstream shows.
"""

from hw.fabric.devices import Device
from hw.fabric.pll import Pll, PllCell, PllLimits


def limits(clock_mhz: float) -> PllLimits:
    """The one setting: the clock of the board as it is."""
    span = (clock_mhz, clock_mhz)
    return PllLimits(span, span, span, range(1, 2), range(1, 2), (1,))


def clock_cell(pll: Pll, device: Device, clock_in: str, clock_out: str, locked: str) -> PllCell:
    """The buffer, which is always locked."""
    return PllCell("bf_board_clock", {}, {"I": clock_in, "O": clock_out, "LOCKED": locked})
