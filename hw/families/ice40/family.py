"""The fabric of iCE40 UltraPlus."""

from hw.fabric.family import Family

ICE40 = Family(
    name="ice40",
    lut_inputs=4,
    bram_shapes=((2048, 2), (1024, 4), (512, 8), (256, 16)),
    lut_ram=None,
    dsp_bits=(16, 16),
    wide_inputs=4,
    carry_apart=True,
    chain_inverts=False,
    dsp_least=(2, 11),
)
