"""Gowin LittleBee (GW1N): Yosys, nextpnr-himbaechel and Apicula."""

from hw.families.gowin.family import GOWIN

__all__ = ["GOWIN"]
