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
from hw.families.xc7.clock import limits
from hw.families.xc7.family import XC7

FABRIC = replace(
    XC7,
    bram_shapes=tuple(shape for shape in XC7.bram_shapes if shape[1] <= 18),
    lut_ram=None,
    dsp_bits=None,
)

RAM_FILE = "open_block_ram.txt"
RAMS = """\
# RAMB18E1 with two ports of at most 18 bits. Yosys's techmap file for 7 series has the cell of this name.
ram block $__XILINX_BLOCKRAM_TDP_ {
  byte 9;
  widths 1 2 4 9 18 per_port;
  option "MODE" "HALF" {
    abits 14;
    cost 129;
  }
  init any;
  port srsw "A" "B" {
    option "MODE" "HALF" {
      width mix;
    }
    clock posedge;
    clken;
    rdsrst any gated_clken;
    rdinit any;
    portoption "WRITE_MODE" "NO_CHANGE" {
      rdwr no_change;
    }
    portoption "WRITE_MODE" "WRITE_FIRST" {
      rdwr new;
    }
    optional_rw;
  }
}
"""
# Memories are mapped before synth_xilinx, which would take other modes. Yosys rejects ram_style "distributed" where
# there is no lookup-table RAM.
PASSES = f"""\
read_verilog -lib +/xilinx/cells_xtra.v
hierarchy -auto-top
setattr -unset ram_style a:ram_style=distributed
proc
flatten
opt_expr
opt_clean
memory -nomap
memory_libmap -lib {RAM_FILE}
techmap -map +/xilinx/brams_xc6v_map.v
synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -nobram -nolutram -nosrl -nodsp"""


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
