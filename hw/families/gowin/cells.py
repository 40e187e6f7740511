"""The cells of Yosys for Gowin. An open input is 0, an open clock enable 1."""

import re
from typing import ClassVar

from hw.fabric.cells import Cell, CellDialect, concatenate


class GowinCells(CellDialect):
    """The dialect of Gowin."""

    vector = re.compile(r"([A-Z]+)(\d+)")
    contents: ClassVar = {"LUT4": ("INIT",)}
    ignored = re.compile(r"(INIT_RAM_[0-9A-F]+|READ_MODE|BLK_SEL(_[01])?|(A|B|OUT|PIPE|ASIGN|BSIGN|SOA)_?REG|MULT_\w+)")
    _flip_flop = re.compile(r"DFF(N?)(R|S|C|P)?(E)?")
    _memory = re.compile(r"(SP|SDP|DP|pROM)(B?)(X9)?(B?)")

    def adapt(self, cell: Cell) -> None:
        """See CellDialect."""
        if table := re.fullmatch(r"LUT([1-4])", cell.kind):
            cell.kind = "LUT4"
            inputs = int(table[1])
            # The contents are repeated, so that the unused inputs have no effect.
            bits = cell.parameters.pop("INIT").zfill(1 << inputs)
            cell.parameters["INIT"] = bits * (16 >> inputs)
        elif re.fullmatch(r"MUX2_LUT[5-8]", cell.kind):
            cell.kind = "MUX2"
        elif kind := self._flip_flop.fullmatch(cell.kind):
            cell.kind = "DFF"
            cell.rename(dict.fromkeys(("RESET", "SET", "CLEAR", "PRESET"), "SR"))
            cell.default({"CE": "1"})
            settings = {"NEGATIVE": bool(kind[1]), "SET": kind[2] in ("S", "P"), "ASYNC": kind[2] in ("C", "P")}
            cell.settings |= {name: f"1'b{int(bit)}" for name, bit in settings.items()}
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
