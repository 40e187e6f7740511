"""The devices of ECP5.

LUT and FF as nextpnr counts them (``TRELLIS_COMB``, ``TRELLIS_FF``); BRAM: sysMEM blocks of 18 kbit; DSP: MULT18X18D.
"""

from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.families.ecp5.family import ECP5
from hw.families.ecp5.pll import LIMITS


def _lfe5u(die: str, lut: int, bram: int, dsp: int) -> Device:
    return Device(
        f"lfe5u-{die}f",
        ECP5,
        Resources(lut, lut, bram, dsp),
        pll=LIMITS,
        nextpnr=(f"--{die}k",),
        package="CABGA381",
        speed="6",
    )


def _lfe5um5g(die: str, lut: int, bram: int, dsp: int) -> Device:
    return Device(
        f"lfe5um5g-{die}f",
        ECP5,
        Resources(lut, lut, bram, dsp),
        pll=LIMITS,
        nextpnr=(f"--um5g-{die}k",),
        package="CABGA381",
        speed="8",
        grade="5g",
    )


DEVICES = (
    # A 12F is a 25F die, and nextpnr would use all of it; these are the figures of the data sheet.
    _lfe5u("12", 12144, 32, 28),
    _lfe5u("25", 24288, 56, 28),
    _lfe5u("45", 43848, 108, 72),
    _lfe5u("85", 83640, 208, 156),
    _lfe5um5g("45", 43848, 108, 72),
    _lfe5um5g("85", 83640, 208, 156),
)
