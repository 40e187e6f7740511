"""Lattice iCE40 UltraPlus: Yosys, nextpnr-ice40 and IceStorm."""

from hw.families.ice40.family import ICE40

__all__ = ["ICE40"]
