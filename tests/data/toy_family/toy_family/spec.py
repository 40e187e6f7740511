"""All that is known of the toy family. It is synthesised and placed as ECP5, whose cells it has."""

from dataclasses import replace
from importlib.resources import files

from hw.fabric.devices import Device
from hw.fabric.fmax import Calibration, FmaxModel
from hw.fabric.pll import PllLimits
from hw.fabric.resources import Resources
from hw.fabric.spec import FamilySpec
from hw.families.ecp5.family import ECP5
from hw.families.ecp5.spec import SPEC as ECP5_SPEC

TOY = replace(ECP5, name="toy", lut_inputs=5, wide_inputs=6, dsp_bits=None)
PLL = PllLimits((200, 400), (5, 100), (10, 200), range(1, 17), range(1, 33), (1, 2, 4, 8))
DEVICES = (
    Device(
        "toy-10k",
        TOY,
        Resources(lut=10_000, ff=10_000, bram=20),
        pll=PLL,
        nextpnr=("--25k",),
        package="CABGA381",
        clock_mhz=60,
    ),
)
SPEC = FamilySpec(
    TOY,
    DEVICES,
    reference="toy-10k",
    synthesis=ECP5_SPEC.synthesis,
    toolchain=ECP5_SPEC.toolchain,
    pll_cell=ECP5_SPEC.pll_cell,
    fmax=FmaxModel(Calibration.read(files("toy_family") / "calibration.csv"), shell_ns=7.0, room=5_000, grades={}),
)
