"""Lattice ECP5 and ECP5-5G: Yosys, nextpnr-ecp5 and Project Trellis."""

from hw.families.ecp5.family import ECP5

__all__ = ["ECP5"]
