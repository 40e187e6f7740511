"""AMD 7 series: Yosys; for boards, where openXC7's tools are installed, nextpnr and Project X-Ray."""

from hw.families.xc7.family import XC7

__all__ = ["XC7"]
