"""The specification of iCE40 UltraPlus."""

from importlib.resources import files

from hw.fabric.spec import FamilySpec
from hw.families.ice40.cells import Ice40Cells
from hw.families.ice40.devices import DEVICES
from hw.families.ice40.family import ICE40
from hw.families.ice40.fmax import FMAX
from hw.families.ice40.packing import PACKING
from hw.families.ice40.pll import pll_cell
from hw.families.ice40.synthesis import SYNTHESIS
from hw.families.ice40.toolchain import TOOLCHAIN

SPEC = FamilySpec(
    ICE40,
    DEVICES,
    reference="ice40up5k",
    synthesis=SYNTHESIS,
    packing=PACKING,
    toolchain=TOOLCHAIN,
    pll_cell=pll_cell,
    dialect=Ice40Cells(),
    models=files("hw.families.ice40") / "models",
    fmax=FMAX,
)
