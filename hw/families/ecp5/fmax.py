"""The Fmax model of ECP5, for speed grade 6.

The factors of the faster grades were measured with a few kernels on LFE5U-25F-8 and LFE5UM5G-85F. Grade 7 was not
measured; it is assumed to be as slow as grade 6.
"""

from importlib.resources import files

from hw.fabric.fmax import Calibration, FmaxModel

FMAX = FmaxModel(
    Calibration.read(files("hw.families.ecp5") / "calibration.csv"),
    shell_ns=6.3,
    room=46_000,
    grades={"8": (0.67, 0.78), "5g": (0.48, 0.64)},
)
