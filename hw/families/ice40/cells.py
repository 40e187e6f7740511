"""The cells of Yosys and nextpnr for iCE40. An open input is 0, an open clock enable 1."""

import re
from typing import Any, ClassVar

from hw.fabric.cells import Cell, CellDialect, concatenate
from hw.host.errors import BitfabricError


class Ice40Cells(CellDialect):
    """The dialect of iCE40."""

    vector = re.compile(r"([A-Z]+)_(\d+)")
    vectored = frozenset({"SB_RAM40_4K", "SB_MAC16"})
    contents: ClassVar = {"SB_LUT4": ("LUT_INIT",), "ICESTORM_LC": ("LUT_INIT",)}
    ignored = re.compile(r"IO_STANDARD|PIN_TYPE|PULLUP|NEG_TRIGGER|NEG_CLK_[RW]")
    _flip_flop = re.compile(r"SB_DFF(N?)(E?)(SR|SS|R|S)?")

    def connect(self, cells: dict[str, dict[str, Any]]) -> None:
        """Connect a placed PLL to its clock pad and its global clock buffer; the netlist omits these fixed connections.

        The pad is the one without a reader, the buffer the one without a driver. Raises BitfabricError where either is
        not unique.
        """
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
        """See CellDialect."""
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
            # The model covers only the multiplier, and checks that the cell is configured as one.
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
        """The contents of a block RAM: INIT_0 to INIT_F, each 16 words of 16 bits."""
        return concatenate(cell, "INIT_{:X}", 16, 256)

    @staticmethod
    def _pad(cell: Cell) -> None:
        """Replace the pad by an input or an output pad. Raises BitfabricError for any other pin type."""
        kinds = {0b000001: "INPUT", 0b011001: "OUTPUT"}
        found = kinds.get(cell.number("PIN_TYPE"))
        if found is None:
            raise BitfabricError(f"no model of a pad with PIN_TYPE {cell.number('PIN_TYPE'):06b}")
        cell.kind = f"SB_IO_{found}"
        used = ("PACKAGE_PIN", "D_IN_0" if found == "INPUT" else "D_OUT_0")
        cell.pins = {pin: bits for pin, bits in cell.pins.items() if pin in used}
