"""The cells of Yosys and nextpnr for ECP5.

The parameter ``<pin>MUX`` configures the multiplexer in front of a pin: ``INV`` inverts the signal, ``0`` or ``1``
replaces it with a constant, and the pin's own name passes it. An open input is 0, with these exceptions, which are 1:
inputs of a lookup table in carry mode, clock enables, and the clock, write, reset and select pins of a block RAM. The
last are then inverted, unless their multiplexer is configured otherwise.
"""

import re
from typing import ClassVar

from hw.fabric.cells import Cell, CellDialect, concatenate, string
from hw.host.errors import BitfabricError


class Ecp5Cells(CellDialect):
    """The dialect of ECP5."""

    vector = re.compile(r"([A-Z]+)(\d+)")
    vectored = frozenset({"DP16KD", "MULT18X18D", "CCU2C", "TRELLIS_COMB", "TRELLIS_RAMW"})
    contents: ClassVar = {"LUT4": ("INIT",), "CCU2C": ("INIT0", "INIT1"), "TRELLIS_COMB": ("INITVAL",)}
    ignored = re.compile(
        r"GSR|WID|DIR|INIT_DATA|CLK\d_DIV|HIGHSPEED_CLK|CAS_MATCH_REG|SOURCEB_MODE|MULT_BYPASS|REG_\w+_(CE|RST)|"
        r"CLKOP_TRIM_\w+|CLKOS\d?_(TRIM_\w+|DIV|[CF]PHASE)|PLL_LOCK_\w+|REFIN_RESET|SYNC_ENABLE|INT_LOCK_STICKY|\w+MUX"
    )
    _control = re.compile(r"(CLK|WE|RST|CS)[AB]\d?")
    _enable = re.compile(r"(OCE|CE)[AB]?")

    def adapt(self, cell: Cell) -> None:
        """See CellDialect."""
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
        """Replace the pad by one of its direction. Raises BitfabricError for a pad with registers."""
        direction = cell.parameters.get("DIR")
        registers = cell.pins.pop("IOLTO", []) + cell.pins.pop("IOLDO", [])
        if direction not in ("INPUT", "OUTPUT", "BIDIR") or registers:
            raise BitfabricError(f"no model of a pad with registers or with direction {direction}")
        for key in [key for key, value in cell.parameters.items() if value == "PADDO"]:
            del cell.parameters[key]
        cell.kind = f"TRELLIS_IO_{direction}"

    def value(self, cell: Cell, pin: str, net: str | None) -> str:
        """The Verilog expression at a pin, behind its multiplexer; ``net`` is None where the pin is open."""
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
