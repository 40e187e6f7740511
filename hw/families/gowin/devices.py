"""The devices of Gowin.

BRAM: blocks of 18 kbit; DSP: multipliers of 9 by 9 bits (one of 18 by 18 bits takes two).
"""

from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.families.gowin.family import GOWIN


def _device(name: str, part: str, die: str, capacity: Resources, clock_pin: str) -> Device:
    options = ("--device", part, "--vopt", f"family={die}")
    return Device(name, GOWIN, capacity, options, pack=("-d", die), clock_pin=clock_pin, clock_mhz=75)


DEVICES = (_device("gw1nr-9c", "GW1NR-LV9QN88PC6/I5", "GW1N-9C", Resources(8640, 6480, 26, 40), "52"),)
