"""The specification of 7 series."""

from importlib.resources import files

from hw.fabric.spec import FamilySpec
from hw.families.xc7.cells import Xc7Cells
from hw.families.xc7.clock import clock_cell
from hw.families.xc7.devices import DEVICES
from hw.families.xc7.family import XC7
from hw.families.xc7.open_fabric import on_board
from hw.families.xc7.synthesis import SYNTHESIS
from hw.families.xc7.toolchain import TOOLCHAIN

SPEC = FamilySpec(
    XC7,
    DEVICES,
    reference="xc7z020",
    synthesis=SYNTHESIS,
    toolchain=TOOLCHAIN,
    pll_cell=clock_cell,
    dialect=Xc7Cells(),
    models=files("hw.families.xc7") / "models",
    on_board=on_board,
)
