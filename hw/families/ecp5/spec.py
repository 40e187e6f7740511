"""The specification of ECP5."""

from importlib.resources import files

from hw.fabric.spec import FamilySpec
from hw.families.ecp5.cells import Ecp5Cells
from hw.families.ecp5.devices import DEVICES
from hw.families.ecp5.family import ECP5
from hw.families.ecp5.fmax import FMAX
from hw.families.ecp5.packing import PACKING
from hw.families.ecp5.pll import pll_cell
from hw.families.ecp5.synthesis import SYNTHESIS
from hw.families.ecp5.toolchain import TOOLCHAIN

SPEC = FamilySpec(
    ECP5,
    DEVICES,
    reference="lfe5u-85f",
    synthesis=SYNTHESIS,
    packing=PACKING,
    toolchain=TOOLCHAIN,
    pll_cell=pll_cell,
    pad="BB {name} (.I({out}), .T(!{drive}), .O({into}), .B({pin}));",
    dialect=Ecp5Cells(),
    models=files("hw.families.ecp5") / "models",
    fmax=FMAX,
)
