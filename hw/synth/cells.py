"""How each family's netlists name the cells that our models (``models/<family>``) describe, and what an open pin means.

The meaning of open pins and of pins' multiplexers is what nextpnr writes into the bitstream:

- ECP5: a parameter ``<pin>MUX`` of ``INV`` inverts the pin, ``0`` or ``1`` replaces it, the pin's own name passes it.
  An open input is 0, but 1 for the inputs of a lookup table in carry mode, for clock enables, and for the clock, write,
  reset and select pins of a block RAM, which are inverted unless their multiplexer says otherwise.
- iCE40, Gowin: an open input is 0, an open clock enable 1.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from hw.host.errors import BitfabricError

Bits = list[int | str]


@dataclass
class Cell:
    """One cell on its way from the netlist to an instance of a model: ``parameters`` as Yosys writes them, the nets at
    its pins, and ``settings``, the model's parameters as they stand in Verilog."""

    kind: str
    parameters: dict[str, str]
    pins: dict[str, Bits]
    outputs: set[str]
    settings: dict[str, str] = field(default_factory=dict)

    def rename(self, pins: Mapping[str, str]) -> None:
        """Give pins other names."""
        self.pins = {pins.get(pin, pin): bits for pin, bits in self.pins.items()}
        self.outputs = {pins.get(pin, pin) for pin in self.outputs}

    def drop(self, *pins: str) -> None:
        """Leave pins out."""
        for pin in pins:
            self.pins.pop(pin, None)

    def default(self, pins: Mapping[str, str]) -> None:
        """Constants for pins that are open."""
        for pin, value in pins.items():
            if not self.pins.get(pin):
                self.pins[pin] = [value]

    def number(self, parameter: str, default: int = 0) -> int:
        """A parameter's value; 0 for what is undefined in it."""
        return int(re.sub("[xz]", "0", self.parameters.get(parameter, f"{default:b}")) or "0", 2)

    def require(self, parameter: str, value: int | str) -> None:
        """Refuse a cell with another value of a parameter (a number, or a string)."""
        if parameter not in self.parameters:
            return
        found = string(self.parameters[parameter]) if isinstance(value, str) else self.number(parameter)
        if found != value:
            raise BitfabricError(f"no model of {self.kind} with {parameter} {found}")


def string(value: str) -> str | None:
    """A parameter that is a string (Yosys adds a space to those that look like bits), or None for bits."""
    if re.fullmatch(r"[01xz]+", value):
        return None
    return value[:-1] if re.fullmatch(r"[01xz]+ +", value) else value


class Ecp5:
    """Cells of Yosys and nextpnr for ECP5."""

    vector = re.compile(r"([A-Z]+)(\d+)")
    vectored = frozenset({"DP16KD", "MULT18X18D", "CCU2C", "TRELLIS_COMB", "TRELLIS_RAMW"})
    contents: ClassVar = {"LUT4": ("INIT",), "CCU2C": ("INIT0", "INIT1"), "TRELLIS_COMB": ("INITVAL",)}
    ignored = re.compile(
        r"GSR|WID|DIR|INIT_DATA|CLK\d_DIV|HIGHSPEED_CLK|CAS_MATCH_REG|SOURCEB_MODE|MULT_BYPASS|REG_\w+_(CE|RST)|"
        r"CLKOP_TRIM_\w+|CLKOS\d?_(TRIM_\w+|DIV|[CF]PHASE)|PLL_LOCK_\w+|REFIN_RESET|SYNC_ENABLE|INT_LOCK_STICKY|\w+MUX"
    )
    _control = re.compile(r"(CLK|WE|RST|CS)[AB]\d?")
    _enable = re.compile(r"(OCE|CE)[AB]?")

    def connect(self, cells: dict[str, dict]) -> None:
        """Every wire stands in the netlist."""

    def adapt(self, cell: Cell) -> None:
        """Bring a cell to its model's form."""
        for key in cell.parameters:
            if key.endswith("MUX"):
                cell.pins.setdefault(key[:-3], [])
        if cell.kind == "TRELLIS_FF":
            cell.pins.setdefault("CE", [])
        if cell.kind == "TRELLIS_IO":
            self._pad(cell)
        if cell.kind == "TRELLIS_COMB":
            if cell.pins.get("FXA") or cell.pins.get("FXB"):
                cell.settings["WIDE"] = "1'b1"
            if cell.parameters.get("MODE") == "DPRAM":
                cell.settings["RAM"] = f"16'b{cell.parameters['INITVAL']}"
        if cell.kind == "DP16KD":
            cell.settings["INITVAL"] = concatenate(cell, "INITVAL_{:02X}", 64, 320)

    def _pad(self, cell: Cell) -> None:
        """A pad has a direction in place of ``inout``, and no registers beside it."""
        direction = cell.parameters.get("DIR")
        registers = cell.pins.pop("IOLTO", []) + cell.pins.pop("IOLDO", [])
        if direction not in ("INPUT", "OUTPUT") or registers:
            raise BitfabricError(f"no model of a pad with registers or with direction {direction}")
        for key in [key for key, value in cell.parameters.items() if value == "PADDO"]:
            del cell.parameters[key]
        cell.kind = f"TRELLIS_IO_{direction}"

    def value(self, cell: Cell, pin: str, net: str | None) -> str:
        """What is on a pin behind its multiplexer; ``net`` is None where it is open."""
        mux = string(cell.parameters.get(f"{pin}MUX", pin)) or cell.parameters[f"{pin}MUX"]
        if mux in ("0", "1"):
            return f"1'b{mux}"
        if net is None and cell.kind == "DP16KD" and self._control.fullmatch(pin):
            net, mux = "1'b1", cell.parameters.get(f"{pin}MUX", "INV")
        elif net is None:
            carry = cell.kind == "TRELLIS_COMB" and cell.parameters.get("MODE") == "CCU2" and pin in "ABCD"
            net = "1'b1" if carry or self._enable.fullmatch(pin) else "1'b0"
        if mux not in (pin, "INV"):
            raise BitfabricError(f"no model of {cell.kind} with {pin}MUX {mux}")
        return f"~{net}" if mux == "INV" else net


class Ice40:
    """Cells of Yosys and nextpnr for iCE40."""

    vector = re.compile(r"([A-Z]+)_(\d+)")
    vectored = frozenset({"SB_RAM40_4K", "SB_MAC16"})
    contents: ClassVar = {"SB_LUT4": ("LUT_INIT",), "ICESTORM_LC": ("LUT_INIT",)}
    ignored = re.compile(r"IO_STANDARD|PIN_TYPE|PULLUP|NEG_TRIGGER|NEG_CLK_[RW]")
    _flip_flop = re.compile(r"SB_DFF(N?)(E?)(SR|SS|R|S)?")

    def connect(self, cells: dict[str, dict]) -> None:
        """Write down the hard wires of a placed PLL: from the pad that nobody else reads, to the global line that
        nobody else drives."""
        for pll in [cell for cell in cells.values() if cell["type"] == "ICESTORM_PLL"]:
            pads = [c["connections"] for c in cells.values() if c["type"] == "SB_IO"]
            lines = {n: c["connections"] for n, c in cells.items() if c["type"] == "SB_GB"}
            sources = [p["PACKAGE_PIN"] for p in pads if not p.get("D_IN_0") and not p.get("D_OUT_0")]
            driven = [name for name, pins in lines.items() if not pins.get("USER_SIGNAL_TO_GLOBAL_BUFFER")]
            if len(sources) != 1 or len(driven) != 1:
                raise BitfabricError("no model of a PLL with another clock than its pad's, or with several outputs")
            pll["connections"] |= {
                "PACKAGEPIN": sources[0],
                "PLLOUT_A_GLOBAL": lines[driven[0]]["GLOBAL_BUFFER_OUTPUT"],
            }
            pll["port_directions"] |= {"PACKAGEPIN": "input", "PLLOUT_A_GLOBAL": "output"}
            del cells[driven[0]]

    def adapt(self, cell: Cell) -> None:
        """Bring a cell to its model's form."""
        if kind := self._flip_flop.fullmatch(cell.kind):
            cell.kind = "SB_DFF"
            cell.rename({"R": "SR", "S": "SR"})
            cell.default({"E": "1"})
            reset = kind[3] or ""
            bits = {"NEGATIVE": bool(kind[1]), "SET": reset in ("S", "SS"), "ASYNC": reset in ("S", "R")}
            cell.settings |= {name: f"1'b{int(bit)}" for name, bit in bits.items()}
        elif cell.kind == "ICESTORM_LC":
            cell.default({"CEN": "1"})
        elif cell.kind in ("SB_RAM40_4K", "ICESTORM_RAM"):
            cell.kind = "SB_RAM40_4K"
            cell.default({"RCLKE": "1", "WCLKE": "1"})
            cell.require("NEG_CLK_R", 0)
            cell.require("NEG_CLK_W", 0)
            cell.settings["INIT"] = self._contents(cell)
        elif cell.kind in ("SB_MAC16", "ICESTORM_DSP"):
            # The model is the multiplier alone, which it checks.
            cell.kind = "SB_MAC16"
            cell.pins = {pin: bits for pin, bits in cell.pins.items() if re.fullmatch(r"[ABO](_\d+)?", pin)}
        elif cell.kind == "SB_IO":
            self._pad(cell)
        elif cell.kind == "ICESTORM_PLL":
            cell.kind = "SB_PLL40_PAD"
            cell.parameters = {}
            cell.rename({"PLLOUT_A_GLOBAL": "PLLOUTGLOBAL"})
            cell.pins = {pin: bits for pin, bits in cell.pins.items() if pin in ("PLLOUTGLOBAL", "LOCK", "PACKAGEPIN")}

    @staticmethod
    def _contents(cell: Cell) -> str:
        """INIT_0 to INIT_F, each 16 words of 16 bits."""
        return concatenate(cell, "INIT_{:X}", 16, 256)

    @staticmethod
    def _pad(cell: Cell) -> None:
        """A pad that is an input or an output, without registers."""
        kinds = {0b000001: "INPUT", 0b011001: "OUTPUT"}
        found = kinds.get(cell.number("PIN_TYPE"))
        if found is None:
            raise BitfabricError(f"no model of a pad with PIN_TYPE {cell.number('PIN_TYPE'):06b}")
        cell.kind = f"SB_IO_{found}"
        used = ("PACKAGE_PIN", "D_IN_0" if found == "INPUT" else "D_OUT_0")
        cell.pins = {pin: bits for pin, bits in cell.pins.items() if pin in used}

    def value(self, cell: Cell, pin: str, net: str | None) -> str:
        """What is on a pin; ``net`` is None where it is open."""
        return "1'b0" if net is None else net


class Gowin:
    """Cells of Yosys for Gowin."""

    vector = re.compile(r"([A-Z]+)(\d+)")
    vectored: frozenset[str] = frozenset()
    contents: ClassVar = {"LUT4": ("INIT",)}
    ignored = re.compile(r"(INIT_RAM_[0-9A-F]+|READ_MODE|BLK_SEL(_[01])?|(A|B|OUT|PIPE|ASIGN|BSIGN|SOA)_?REG|MULT_\w+)")
    _flip_flop = re.compile(r"DFF(R|S|C|P)?(E)?")
    _memory = re.compile(r"(SP|SDP|DP|pROM)(B?)(X9)?(B?)")

    def connect(self, cells: dict[str, dict]) -> None:
        """Every wire stands in the netlist."""

    def adapt(self, cell: Cell) -> None:
        """Bring a cell to its model's form."""
        if table := re.fullmatch(r"LUT([1-4])", cell.kind):
            cell.kind = "LUT4"
            inputs = int(table[1])
            # Unused inputs do not matter: the contents are repeated.
            bits = cell.parameters.pop("INIT").zfill(1 << inputs)
            cell.parameters["INIT"] = bits * (16 >> inputs)
        elif re.fullmatch(r"MUX2_LUT[5-8]", cell.kind):
            cell.kind = "MUX2"
        elif kind := self._flip_flop.fullmatch(cell.kind):
            cell.kind = "DFF"
            cell.rename(dict.fromkeys(("RESET", "SET", "CLEAR", "PRESET"), "SR"))
            cell.default({"CE": "1"})
            cell.settings |= {"SET": f"1'b{int(kind[1] in ('S', 'P'))}", "ASYNC": f"1'b{int(kind[1] in ('C', 'P'))}"}
        elif ram := re.fullmatch(r"RAM16SDP([124])", cell.kind):
            cell.kind = "RAM16SDP"
            cell.settings["BITS"] = ram[1]
        elif multiplier := re.fullmatch(r"MULT(9X9|18X18|36X36)", cell.kind):
            cell.settings["BITS"] = multiplier[1].partition("X")[0]
            for register in ("AREG", "BREG", "OUT_REG", "PIPE_REG", "ASIGN_REG", "BSIGN_REG", "SOA_REG"):
                cell.require(register, 0)
            cell.kind = "MULT"
            cell.drop("CLK", "CE", "RESET", "SIA", "SIB", "ASEL", "BSEL", "SOA", "SOB")
        elif memory := self._memory.fullmatch(cell.kind):
            self._block_ram(cell, memory[1], bool(memory[3]))

    @staticmethod
    def _block_ram(cell: Cell, kind: str, nine: bool) -> None:
        cell.require("READ_MODE", 0)
        for select in ("BLK_SEL", "BLK_SEL_0", "BLK_SEL_1"):
            cell.require(select, 0)
        cell.drop("OCE", "OCEA", "OCEB", "BLKSEL", "BLKSELA", "BLKSELB")
        bits = 288 if nine else 256
        cell.settings |= {"BITS": str(64 * bits), "INIT": concatenate(cell, "INIT_RAM_{:02X}", 64, bits)}
        names = {
            "BIT_WIDTH": "WIDTH_A",
            "BIT_WIDTH_0": "WIDTH_A",
            "BIT_WIDTH_1": "WIDTH_B",
            "WRITE_MODE": "WRITE_MODE_A",
            "WRITE_MODE0": "WRITE_MODE_A",
            "WRITE_MODE1": "WRITE_MODE_B",
        }
        for name, ours in names.items():
            if name in cell.parameters:
                cell.settings[ours] = str(cell.number(name))
                del cell.parameters[name]
        if kind == "SDP":  # port A only writes, port B only reads
            cell.rename({"DI": "DIA", "DO": "DOB"})
            cell.default({"WREA": "1"})
        else:
            cell.rename({pin: f"{pin}A" for pin in ("CLK", "CE", "WRE", "RESET", "AD", "DI", "DO")})
        cell.parameters = {k: v for k, v in cell.parameters.items() if not re.fullmatch(r"READ_MODE[01]", k)}
        cell.kind = "BSRAM"

    def value(self, cell: Cell, pin: str, net: str | None) -> str:
        """What is on a pin; ``net`` is None where it is open."""
        return "1'b0" if net is None else net


def concatenate(cell: Cell, name: str, count: int, bits: int) -> str:
    """The parameters ``name`` 0 to ``count`` - 1 of ``bits`` bits as one, the first in the low bits; taken out."""
    rows = (re.sub("[xz]", "0", cell.parameters.pop(name.format(i), "0")).zfill(bits)[-bits:] for i in range(count))
    return f"{count * bits}'b" + "".join(reversed(list(rows)))


Dialect = Ecp5 | Ice40 | Gowin
DIALECTS: Mapping[str, Callable[[], Dialect]] = {"ecp5": Ecp5, "ice40": Ice40, "gowin": Gowin}
