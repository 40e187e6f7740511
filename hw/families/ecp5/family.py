"""The fabric of ECP5."""

from hw.fabric.family import Family, LutRam

ECP5 = Family(
    name="ecp5",
    lut_inputs=4,
    bram_shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)),
    lut_ram=LutRam(words=16, bits=4, luts=6),
    dsp_bits=(18, 18),
    wide_inputs=7,
    chain_bits=2,
    chain_least=5,
)
