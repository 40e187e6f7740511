"""The fabric of 7 series."""

from hw.fabric.family import Family, LutRam

XC7 = Family(
    name="xc7",
    lut_inputs=6,
    bram_shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)),
    lut_ram=LutRam(words=32, bits=6, luts=4),
    dsp_bits=(25, 18),
    wide_inputs=8,
    carry_apart=True,
)
