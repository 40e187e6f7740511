"""The devices of 7 series. LUT and FF as in Vivado's utilisation report; BRAM: RAMB18; DSP: DSP48E1."""

from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.families.xc7.family import XC7


def _device(name: str, lut: int, ramb18: int, dsp: int) -> Device:
    return Device(name, XC7, Resources(lut, 2 * lut, ramb18, dsp))


DEVICES = (
    _device("xc7z010", 17600, 120, 80),
    _device("xc7z020", 53200, 280, 220),
    _device("xc7z045", 218600, 1090, 900),
    _device("xc7a35t", 20800, 100, 90),
    _device("xc7a100t", 63400, 270, 240),
    _device("xc7a200t", 134600, 730, 740),
)
