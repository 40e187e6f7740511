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

_PAD_REGISTERS = {
    "MODE": "IDDRX1_ODDRX1",
    "DELAY.WAIT_FOR_EDGE": "DISABLED",
    "CLKIMUX": "CLK",
    "CLKOMUX": "CLK",
    "LSRMUX": "LSR",
}
"""The parameters of those registers of a pad that have a model."""


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
        if cell.kind in ("IOLOGIC", "SIOLOGIC"):
            self._pad_registers(cell)
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
        """Replace the pad by one of its direction; the data of an output may come from registers.

        Raises BitfabricError for other pads.
        """
        direction = cell.parameters.get("DIR")
        drive, data = cell.pins.pop("IOLTO", []), cell.pins.pop("IOLDO", [])
        if direction not in ("INPUT", "OUTPUT", "BIDIR") or drive or (data and direction != "OUTPUT"):
            raise BitfabricError(f"no model of a pad with these registers or with direction {direction}")
        if data and cell.parameters.pop("DATAMUX_ODDR", "PADDO") == "IOLDO":
            cell.pins["I"] = data
        for key in [key for key, value in cell.parameters.items() if value == "PADDO"]:
            del cell.parameters[key]
        cell.kind = f"TRELLIS_IO_{direction}"

    def _pad_registers(self, cell: Cell) -> None:
        """Replace the registers of a pad, which is an input or an output; its delay has no model.

        Raises BitfabricError for other uses.
        """
        for key, value in _PAD_REGISTERS.items():
            cell.require(key, value)
        used = {pin: bits for pin, bits in cell.pins.items() if bits}
        output = "IOLDO" in used
        if output == ("RXDATA0" in used or "RXDATA1" in used):
            raise BitfabricError(f"no model of {cell.kind} that is both an input and an output, or neither")
        if output:
            cell.kind, names = "ODDRX1F", {"TXDATA0": "D0", "TXDATA1": "D1", "IOLDO": "Q"}
        else:
            delayed = used.get("DI") == used.get("INDD")
            cell.kind, names = "IDDRX1F", {"PADDI" if delayed else "DI": "D", "RXDATA0": "Q0", "RXDATA1": "Q1"}
        names |= {"CLK": "SCLK", "LSR": "RST"}
        cell.parameters = {}
        cell.pins = {pin: used.get(pin, []) for pin in names}
        cell.rename(names)

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
