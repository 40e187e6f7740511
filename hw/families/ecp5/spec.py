"""All that is known of ECP5."""

from hw.fabric.spec import FamilySpec
from hw.families.ecp5.devices import DEVICES
from hw.families.ecp5.family import ECP5

SPEC = FamilySpec(ECP5, DEVICES)
