"""AMD 7 series: Yosys; there is no place and route here."""

from hw.families.xc7.family import XC7

__all__ = ["XC7"]
