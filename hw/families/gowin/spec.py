"""All that is known of GOWIN."""

from hw.fabric.spec import FamilySpec
from hw.families.gowin.devices import DEVICES
from hw.families.gowin.family import GOWIN

SPEC = FamilySpec(GOWIN, DEVICES)
