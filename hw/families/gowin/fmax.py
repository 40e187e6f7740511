"""The Fmax model of GW1NR-9C, speed grade C6/I5."""

from importlib.resources import files

from hw.fabric.fmax import Calibration, FmaxModel

FMAX = FmaxModel(
    Calibration.read(files("hw.families.gowin") / "calibration.csv"),
    shell_ns=8.2,
    room=60_000,
    grades={},
    with_bram=1.33,
)
