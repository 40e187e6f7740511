"""Synthesis with Yosys: SystemVerilog -> a netlist of the family's cells, with the cells of every layer counted.

The design is flattened, so logic is optimised across kernels; each cell is then attributed to the instance that
drives its output (see ``owners``). What counts as what:

- ECP5: LUT = LUT4 + 2 per CCU2C (a slice's two lookup tables on the carry chain) + 6 per 16x4 RAM (four hold it,
  its write port takes the place of two). PFUMX and L6MUX21 belong to the lookup tables they join. FF = TRELLIS_FF,
  BRAM = DP16KD, DSP = MULT18X18D. nextpnr's TRELLIS_COMB is LUT plus the few that it adds to feed carry chains.
- iCE40: LUT = SB_LUT4, FF = SB_DFF*, BRAM = SB_RAM40_4K*, DSP = SB_MAC16. A carry shares the logic cell of the lookup
  table that it feeds. A logic cell holds one lookup table and one flip-flop; those that do not belong together take
  two, so nextpnr's ICESTORM_LC lies between the larger count and the sum.
- Gowin: LUT = LUT1..LUT4 + ALU (a lookup table on the carry chain) + 6 per RAM16SDP4. MUX2_LUT5..8 belong to the lookup
  tables they join. FF = DFF*, BRAM = blocks of 18 kbit, DSP = MULT9X9; a MULT18X18 is two.
- xc7: LUT = LUT1..LUT6 + INV + lookup tables used as RAM or shift register, before LUT5 pairs are packed into one
  LUT6, hence an upper bound of Vivado's and FINN's "LUT". MUXF7/8 and CARRY4 cost none. BRAM in RAMB18.
"""

import json
import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError, UsageError
from hw.rtl.design import RtlDesign
from hw.synth import tool

ENTRY = "import sys; from pyosys import libyosys as ys; ys.run_pass('script ' + sys.argv[-1], ys.Design())"

_ECP5_COST = {
    "LUT4": Resources(lut=1),
    "CCU2C": Resources(lut=2),
    "TRELLIS_DPR16X4": Resources(lut=6),
    "TRELLIS_FF": Resources(ff=1),
    "DP16KD": Resources(bram=1),
    "PDPW16KD": Resources(bram=1),
    "MULT18X18D": Resources(dsp=1),
}
_XC7_COST = {
    **{f"LUT{n}": Resources(lut=1) for n in range(1, 7)},
    **{name: Resources(lut=1) for name in ("INV", "SRL16E", "SRLC32E", "RAM32X1S", "RAM64X1S")},
    **{name: Resources(lut=2) for name in ("RAM32X1D", "RAM64X1D", "RAM128X1S", "RAM16X1D")},
    **{name: Resources(lut=4) for name in ("RAM32M", "RAM64M", "RAM128X1D", "RAM256X1S")},
    **{name: Resources(ff=1) for name in ("FDRE", "FDSE", "FDCE", "FDPE")},
    "RAMB18E1": Resources(bram=1),
    "RAMB36E1": Resources(bram=2),
    "DSP48E1": Resources(dsp=1),
}
_ICE40_COST = {
    "SB_LUT4": Resources(lut=1),
    **{f"SB_DFF{n}{e}{r}": Resources(ff=1) for n in ("", "N") for e in ("", "E") for r in ("", "R", "S", "SR", "SS")},
    **{f"SB_RAM40_4K{edges}": Resources(bram=1) for edges in ("", "NR", "NW", "NRNW")},
    "SB_MAC16": Resources(dsp=1),
}
_GOWIN_COST = {
    **{f"LUT{n}": Resources(lut=1) for n in range(1, 5)},
    "ALU": Resources(lut=1),
    "RAM16SDP4": Resources(lut=6),
    **{f"DFF{n}{r}{e}": Resources(ff=1) for n in ("", "N") for r in ("", "R", "S", "C", "P") for e in ("", "E")},
    **{kind: Resources(bram=1) for kind in ("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B", "pROM", "pROMX9")},
    "MULT9X9": Resources(dsp=1),
    "MULT18X18": Resources(dsp=2),
    "MULT36X36": Resources(dsp=8),
}
_INPUT = re.compile(r"s\d*_(valid|data)|m\d*_ready")
COST = {"ecp5": _ECP5_COST, "ice40": _ICE40_COST, "gowin": _GOWIN_COST, "xc7": _XC7_COST}
FREE = {
    "ecp5": {"PFUMX", "L6MUX21", "EHXPLLL", "DCCA", "TRELLIS_IO", "$scopeinfo"},
    "ice40": {"SB_CARRY", "SB_GB", "SB_IO", "SB_PLL40_PAD", "$scopeinfo"},
    "gowin": {*(f"MUX2_LUT{n}" for n in range(5, 9)), "rPLL", "GND", "VCC", "$scopeinfo"},
    "xc7": {"MUXF7", "MUXF8", "CARRY4", "BUFG", "IBUF", "OBUF", "PLLE2_ADV", "$scopeinfo"},
}
# Without lookup-table RAM, "distributed" would be an error, also where a part asks for it in every family. And
# multipliers are mapped here, not by synth_ice40 -dsp: its pass ice40_dsp, which moves registers into the DSP, loses
# the sign where a product is kept in more than 32 bits (Yosys 0.70, also yosys#2648 and #5059; found by simulating the
# netlist).
_ICE40 = """\
hierarchy -auto-top
setattr -unset ram_style a:ram_style=distributed
proc
flatten
opt_expr
opt_clean
wreduce t:$mul
techmap -map +/mul2dsp.v -map +/ice40/dsp_map.v -D DSP_NAME=$__MUL16X16 -D DSP_A_MAXWIDTH=16 -D DSP_B_MAXWIDTH=16 \
-D DSP_A_MINWIDTH=2 -D DSP_B_MINWIDTH=2 -D DSP_Y_MINWIDTH=11
chtype -set $mul t:$__soft_mul
synth_ice40 -device u"""
PASSES = {
    "ecp5": "synth_ecp5",
    "ice40": _ICE40,
    "gowin": "synth_gowin -family gw1n -noiopads",
    "xc7": "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
}


@dataclass(frozen=True)
class Synthesis:
    """A synthesised design. ``instances`` are those under ``scope`` of ``synthesise``; ``""`` is everything else."""

    top: str
    family: Family
    netlist: Path
    log: Path
    cells: dict[str, int]
    resources: Resources
    instances: dict[str, Resources]
    seconds: float


def version() -> str:
    """The synthesis tool and its version."""
    return tool.version("pyosys", "yosys", "-V")


def run_script(script: str, folder: Path, name: str, what: str) -> Path:
    """Run a Yosys script in ``folder`` from ``name.ys``; returns the log. Raises BitfabricError with its error."""
    command = tool.locate("pyosys", ENTRY, "yosys", "pyosys")
    (folder / f"{name}.ys").write_text(script)
    log = folder / f"{name}.log"
    arguments = [f"{name}.ys"] if len(command) > 1 else ["-s", f"{name}.ys"]
    tool.run([*command, *arguments], folder, log, what)
    return log


def synthesise(design: RtlDesign, family: Family, out: Path, scope: str = "") -> Synthesis:
    """Synthesise ``design`` for ``family`` in the folder ``out``.

    Leaves the sources, ``<top>.json`` (the netlist as nextpnr reads it), ``<top>.ys`` and ``<top>.log``. ``scope``
    names the instance whose parts ``instances`` tells apart, ``"a.b"`` for one inside another; the top itself by
    default. The ports stay without pads. Raises BitfabricError with Yosys's own words, or where it is missing.
    """
    if family.name not in COST:
        raise UsageError(f"no synthesis for family {family.name!r}; known: {', '.join(COST)}")
    started = time.monotonic()
    design.write(out)
    netlist, made = out / f"{design.top}.json", out / f"{design.top}.json.new"
    passes = f"{PASSES[family.name]} -top {design.top}"
    script = f"read_slang --top {design.top} {' '.join(design.verilog)}\n{passes}\nautoname\nwrite_json {made.name}\n"
    log = run_script(script, out, design.top, "synthesis")
    module = json.loads(made.read_text())["modules"][design.top]
    tool.publish(made, netlist)
    cells = Counter(cell["type"] for cell in module["cells"].values())
    total, instances = count(module, family, scope)
    return Synthesis(design.top, family, netlist, log, dict(cells), total, instances, time.monotonic() - started)


def count(module: dict, family: Family, scope: str = "") -> tuple[Resources, dict[str, Resources]]:
    """Resources of a Yosys JSON module, in total and by instance under ``scope``."""
    cost, free = COST[family.name], FREE[family.name]
    parts: dict[str, Resources] = defaultdict(Resources)
    for name, owner in owners(module, scope).items():
        kind = module["cells"][name]["type"]
        if kind in cost:
            parts[owner] += cost[kind]
        elif kind not in free:
            raise BitfabricError(f"synthesis left a cell of unknown cost, {kind} ({name}); write that part another way")
    return sum(parts.values(), Resources()), dict(parts)


def owners(module: dict, scope: str = "") -> dict[str, str]:
    """Which instance each cell of a flattened module belongs to (``""``: none under ``scope``).

    A cell belongs to the instance whose signal it drives: of the names that survive for the net, the deepest one
    that is not an input of its instance (``s*_valid``, ``s*_data``, ``m*_ready``). Nets that the mapper made have
    no name of their own; there the cell's name decides, which ``autoname`` derives from the nearest named net. A
    cell named after a net of the top belongs to the instance that most of the cells it drives belong to.
    """
    prefix = f"{scope}." if scope else ""

    def instance(name: str) -> str:
        head, dot, rest = name.removeprefix(prefix).partition(".")
        return head if name.startswith(prefix) and dot and not _INPUT.fullmatch(rest) else ""

    named: dict[int, tuple[int, str]] = {}
    for name, net in module["netnames"].items():
        if "hdlname" in net["attributes"] and "." in name and (owner := instance(name)):
            for bit in net["bits"]:
                named[bit] = max(named.get(bit, (0, "")), (name.count("."), owner))
    result: dict[str, str] = {}
    readers: dict[int, list[str]] = defaultdict(list)
    drives: dict[str, list[int]] = {}
    for name, cell in module["cells"].items():
        directions = cell["port_directions"]
        for port, bits in cell["connections"].items():
            if directions.get(port) == "input":
                for bit in bits:
                    readers[bit].append(name)
        drives[name] = [b for p, bits in cell["connections"].items() if directions.get(p) == "output" for b in bits]
        votes = Counter(named[bit][1] for bit in drives[name] if bit in named)
        if votes:
            result[name] = votes.most_common(1)[0][0]
        elif "." in name:
            result[name] = instance(name)
    waiting = [name for name in module["cells"] if name not in result]
    while waiting:
        found = {}
        for name in waiting:
            around = Counter(result[n] for bit in drives[name] for n in readers[bit] if n in result)
            if around:
                found[name] = around.most_common(1)[0][0]
        if not found:
            break
        result |= found
        waiting = [name for name in waiting if name not in found]
    return {name: result.get(name, "") for name in module["cells"]}
