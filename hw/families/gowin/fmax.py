"""The Fmax model of GW1NR-9C, speed grade C6/I5."""

from importlib.resources import files

from hw.fabric.fmax import Calibration, FmaxModel

# Networks that fill up to half of the device are no slower for their size: room lies far beyond its capacity.
FMAX = FmaxModel(
    Calibration.read(files("hw.families.gowin") / "calibration.csv"),
    shell_ns=8.2,
    room=60_000,
    grades={},
    with_bram=1.33,
)
