"""All that is known of one FPGA family."""

from dataclasses import dataclass

from hw.fabric.devices import Device
from hw.fabric.family import Family


@dataclass(frozen=True)
class FamilySpec:
    """All that is known of one FPGA family; its folder in ``hw.families`` fills it in.

    Attributes:
        family: the fabric.
        devices: the devices of the family.
    """

    family: Family
    devices: tuple[Device, ...]
