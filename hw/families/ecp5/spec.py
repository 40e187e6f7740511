"""The specification of ECP5."""

from importlib.resources import files

from hw.fabric.spec import DdrPads, FamilySpec
from hw.families.ecp5.cells import Ecp5Cells
from hw.families.ecp5.devices import DEVICES
from hw.families.ecp5.family import ECP5
from hw.families.ecp5.fmax import FMAX
from hw.families.ecp5.packing import PACKING
from hw.families.ecp5.pll import pll_cell
from hw.families.ecp5.synthesis import SYNTHESIS
from hw.families.ecp5.toolchain import TOOLCHAIN

_DELAY = 'DELAYG #(.DEL_MODE("USER_DEFINED"), .DEL_VALUE({delay})) {name}_delay '
_DDR = DdrPads(
    input="logic {name}_late; " + _DELAY + "(.A({pin}), .Z({name}_late)); "
    "IDDRX1F {name} (.D({name}_late), .SCLK({clock}), .RST(1'b0), .Q0({rise}), .Q1({fall}));",
    output="logic {name}_early; ODDRX1F {name} (.D0({rise}), .D1({fall}), .SCLK({clock}), .RST(1'b0), "
    ".Q({name}_early)); " + _DELAY + "(.A({name}_early), .Z({pin}));",
    step_ns=0.025,
    steps=127,
)
"""Lattice FPGA-TN-02035, ECP5 and ECP5-5G High-Speed I/O Interface."""

SPEC = FamilySpec(
    ECP5,
    DEVICES,
    reference="lfe5u-85f",
    synthesis=SYNTHESIS,
    packing=PACKING,
    toolchain=TOOLCHAIN,
    pll_cell=pll_cell,
    pad="BB {name} (.I({out}), .T(!{drive}), .O({into}), .B({pin}));",
    ddr=_DDR,
    dialect=Ecp5Cells(),
    models=files("hw.families.ecp5") / "models",
    fmax=FMAX,
)
