"""The specification of 7 series."""

from importlib.resources import files

from hw.fabric.spec import FamilySpec
from hw.families.xc7.cells import Xc7Cells
from hw.families.xc7.devices import DEVICES
from hw.families.xc7.family import XC7
from hw.families.xc7.synthesis import SYNTHESIS

SPEC = FamilySpec(
    XC7,
    DEVICES,
    reference="xc7z020",
    synthesis=SYNTHESIS,
    dialect=Xc7Cells(),
    models=files("hw.families.xc7") / "models",
)
