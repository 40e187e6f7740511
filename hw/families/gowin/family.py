"""The fabric of Gowin's LittleBee."""

from hw.fabric.family import Family, LutRam

GOWIN = Family(
    name="gowin",
    lut_inputs=4,
    bram_shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)),
    lut_ram=LutRam(words=16, bits=4, luts=6, scaled=True),
    dsp_bits=(18, 18),
    wide_inputs=8,
    dsp_least=(4, 8),
    dsp_halves=True,
)
