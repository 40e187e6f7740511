"""The Fmax model of iCE40 UltraPlus."""

from importlib.resources import files

from hw.fabric.fmax import Calibration, FmaxModel

FMAX = FmaxModel(Calibration.read(files("hw.families.ice40") / "calibration.csv"), shell_ns=20.4, room=4_200, grades={})
