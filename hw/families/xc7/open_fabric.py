"""7 series as openXC7's tools make bitstreams of it: what of the fabric a design may use.

These tools have made bitstreams that differ from a right netlist. A board's design therefore uses only what no such
fault is known of: lookup tables, carry chains, flip-flops, and RAMB18E1 with two ports of at most 18 bits. Left out are

- DSP48E1 that Yosys infers (openXC7/nextpnr-xilinx #159),
- RAMB36E1, whose parity was lost at width 9 (#94), and the widths 36 and 72 (#112, #150),
- RAM and shift registers in lookup tables, whose contents were lost (#28, #33, #181), and LUT6_2.

``readback`` compares the rest with the placed netlist before a bitstream is made.
"""

from dataclasses import replace

from hw.fabric.devices import Device
from hw.fabric.family import BlockChoice
from hw.families.xc7.clock import limits
from hw.families.xc7.family import XC7

RAM_FILE = "open_block_ram.txt"
COST = 129
"""The flip-flops that a block RAM costs as much as, by which Yosys chooses."""
FABRIC = replace(
    XC7,
    bram_shapes=tuple(shape for shape in XC7.bram_shapes if shape[1] <= 18),
    lut_ram=None,
    dsp_bits=None,
    block_choice=BlockChoice(COST, 0, 1),
)

RAMS = f"""\
# RAMB18E1 with two ports of at most 18 bits. Yosys's techmap file for 7 series has the cell of this name.
ram block $__XILINX_BLOCKRAM_TDP_ {{
  byte 9;
  widths 1 2 4 9 18 per_port;
  option "MODE" "HALF" {{
    abits 14;
    cost {COST};
  }}
  init any;
  port srsw "A" "B" {{
    option "MODE" "HALF" {{
      width mix;
    }}
    clock posedge;
    clken;
    rdsrst any gated_clken;
    rdinit any;
    portoption "WRITE_MODE" "NO_CHANGE" {{
      rdwr no_change;
    }}
    portoption "WRITE_MODE" "WRITE_FIRST" {{
      rdwr new;
    }}
    optional_rw;
  }}
}}
"""
_SYNTH = "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -nodsp -nosrl"
# Memories are mapped before synth_xilinx would, which takes other modes, and after its passes that recognise one write
# enable for all bits of a word: with one for each bit, only 2 of the 18 bits of a block would be used. Yosys rejects
# ram_style "distributed" where there is no lookup-table RAM.
PASSES = f"""\
setattr -unset ram_style a:ram_style=distributed
{_SYNTH} -run begin:map_memory
memory_libmap -lib {RAM_FILE}
techmap -map +/xilinx/brams_xc6v_map.v
{_SYNTH} -nobram -nolutram -run map_memory:"""


def on_board(device: Device, package: str, speed: str, clock_mhz: float) -> Device:
    """The device of a board with an oscillator of ``clock_mhz``, as in ``xc7a35t``, ``cpg236``, ``1``."""
    part = f"{device.name}{package.lower()}-{speed}"
    return replace(
        device,
        family=FABRIC,
        part=part,
        passes=PASSES,
        defines=(),
        nextpnr=("--device", part),
        pll=limits(clock_mhz),
        clock_mhz=clock_mhz,
    )
