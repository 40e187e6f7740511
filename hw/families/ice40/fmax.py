"""The Fmax model of iCE40 UltraPlus."""

from importlib.resources import files

from hw.fabric.fmax import Calibration, FmaxModel

# Networks that fill up to half of the device are no slower for their size: room lies far beyond its capacity.
FMAX = FmaxModel(
    Calibration.read(files("hw.families.ice40") / "calibration.csv"),
    shell_ns=23.5,
    room=20_000,
    grades={},
    with_bram=1.35,
)
