"""The devices of iCE40 UltraPlus.

A logic cell is one LUT and one FF; BRAM: blocks of 4 kbit; DSP: SB_MAC16. The four single-port RAMs are not used.
"""

from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.families.ice40.energy import ENERGY
from hw.families.ice40.family import ICE40
from hw.families.ice40.pll import LIMITS

DEVICES = (
    Device(
        "ice40up5k",
        ICE40,
        Resources(5280, 5280, 30, 8),
        pll=LIMITS,
        synthesis=("-device", "u"),
        nextpnr=("--up5k",),
        package="sg48",
        clock_pin="35",
        clock_mhz=40,
        energy=ENERGY,
    ),
)
