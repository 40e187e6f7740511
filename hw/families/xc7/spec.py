"""All that is known of XC7."""

from hw.fabric.spec import FamilySpec
from hw.families.xc7.devices import DEVICES
from hw.families.xc7.family import XC7

SPEC = FamilySpec(XC7, DEVICES)
