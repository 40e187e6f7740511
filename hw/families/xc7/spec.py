"""The specification of 7 series."""

from hw.fabric.spec import FamilySpec
from hw.families.xc7.devices import DEVICES
from hw.families.xc7.family import XC7
from hw.families.xc7.synthesis import SYNTHESIS

SPEC = FamilySpec(XC7, DEVICES, reference="xc7z020", synthesis=SYNTHESIS)
