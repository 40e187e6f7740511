"""All that is known of ICE40."""

from hw.fabric.spec import FamilySpec
from hw.families.ice40.devices import DEVICES
from hw.families.ice40.family import ICE40

SPEC = FamilySpec(ICE40, DEVICES)
