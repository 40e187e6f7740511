"""The specification of Gowin."""

from importlib.resources import files

from hw.fabric.spec import FamilySpec
from hw.families.gowin.cells import GowinCells
from hw.families.gowin.devices import DEVICES
from hw.families.gowin.family import GOWIN
from hw.families.gowin.fmax import FMAX
from hw.families.gowin.packing import PACKING
from hw.families.gowin.pll import pll_cell
from hw.families.gowin.synthesis import SYNTHESIS
from hw.families.gowin.toolchain import TOOLCHAIN

SPEC = FamilySpec(
    GOWIN,
    DEVICES,
    reference="gw1nr-9c",
    synthesis=SYNTHESIS,
    packing=PACKING,
    toolchain=TOOLCHAIN,
    pll_cell=pll_cell,
    dialect=GowinCells(),
    models=files("hw.families.gowin") / "models",
    fmax=FMAX,
)
