"""The devices of Gowin.

BRAM: blocks of 18 kbit; DSP: multipliers of 9 by 9 bits (one of 18 by 18 bits takes two).
"""

from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.families.gowin.family import GOWIN
from hw.families.gowin.pll import LIMITS

DEVICES = (
    Device(
        "gw1nr-9c",
        GOWIN,
        Resources(8640, 6480, 26, 40),
        pll=LIMITS,
        part="GW1NR-9C",
        synthesis=("-family", "gw1n"),
        nextpnr=("--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C"),
        pack=("-d", "GW1N-9C"),
        clock_pin="52",
        clock_mhz=75,
    ),
)
