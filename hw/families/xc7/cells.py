"""The cells of Yosys for 7 series. An open input is 0.

Lookup tables, block RAMs and the clock buffer have models here (``models``). The other cells have Yosys's own,
``xilinx/cells_sim.v``, whose authors wrote them for UNISIM's cells; it states only the timing of block RAMs.
"""

import re
from typing import ClassVar

from hw.fabric.cells import Cell, CellDialect, concatenate
from hw.host.errors import BitfabricError


class Xc7Cells(CellDialect):
    """The dialect of 7 series."""

    vector = re.compile(r"(?!)()()")  # pins are vectors already
    contents: ClassVar = {"XC7_LUT": ("INIT",), "XC7_LUT6_2": ("INIT",)}
    ignored = re.compile(r"RDADDR_COLLISION_HWCONFIG|RSTREG_PRIORITY_[AB]|SIM_\w+|INIT_FILE")
    library = "xilinx/cells_sim.v"
    library_cells = frozenset({
        "FDRE", "FDSE", "FDCE", "FDPE", "FDRE_1", "FDSE_1", "FDCE_1", "FDPE_1",
        "CARRY4", "MUXF7", "MUXF8", "INV", "SRL16E", "SRLC32E", "RAM32X1S", "RAM64X1S",
        "RAM128X1S", "RAM256X1S", "RAM16X1D", "RAM32X1D", "RAM64X1D", "RAM128X1D", "RAM32M", "RAM64M", "DSP48E1",
    })  # fmt: skip
    _unused = ("REGCEAREGCE", "REGCEB", "RSTREGARSTREG", "RSTREGB", "INJECTDBITERR", "INJECTSBITERR",
               "DBITERR", "SBITERR", "ECCPARITY", "RDADDRECC")  # fmt: skip

    def adapt(self, cell: Cell) -> None:
        """See CellDialect."""
        if table := re.fullmatch(r"LUT([1-6])", cell.kind):
            cell.kind = "XC7_LUT"
            inputs = int(table[1])
            # The contents are repeated, so that the unused inputs have no effect.
            bits = cell.parameters.pop("INIT").zfill(1 << inputs)
            cell.parameters["INIT"] = bits * (64 >> inputs)
            cell.default({f"I{i}": "0" for i in range(inputs, 6)})
        elif cell.kind == "LUT6_2":
            cell.kind = "XC7_LUT6_2"
        elif cell.kind in ("RAMB18E1", "RAMB36E1"):
            self._block_ram(cell)
        elif cell.kind not in self.library_cells and cell.kind != "BUFG":
            raise BitfabricError(f"no model of {cell.kind}; synthesis for 7 series must not use it")

    def _block_ram(self, cell: Cell) -> None:
        for name in ("DOA_REG", "DOB_REG"):
            cell.require(name, 0)
        for name in ("EN_ECC_READ", "EN_ECC_WRITE"):
            cell.require(name, "FALSE")
        for name in [name for name in cell.parameters if re.fullmatch(r"IS_\w+_INVERTED", name)]:
            cell.require(name, 0)
            del cell.parameters[name]
        for name in ("DOA_REG", "DOB_REG", "EN_ECC_READ", "EN_ECC_WRITE"):
            cell.parameters.pop(name, None)
        kilobytes = 4 if cell.kind == "RAMB36E1" else 2
        cell.settings |= {
            "BYTES": str(1024 * kilobytes),
            "INIT": concatenate(cell, "INIT_{:02X}", 32 * kilobytes, 256),
            "INITP": concatenate(cell, "INITP_{:02X}", 4 * kilobytes, 256),
        }
        for name in ("INIT_A", "INIT_B", "SRVAL_A", "SRVAL_B"):
            if name in cell.parameters:  # as long as Yosys's function for them, of which the upper bits are 0
                cell.parameters[name] = cell.parameters[name][-36:]
        cell.drop(*self._unused)
        cell.kind = "XC7_BLOCK_RAM"
