"""The logic cells of iCE40: each holds a lookup table and a flip-flop, which it must drive.

A carry shares the cell of the lookup table that it feeds. Carries without one are not counted, so nextpnr needs a few
per cent more than ``count``.
"""

from hw.fabric.packing import Cells, Packing, lone_flip_flops


def _count(cells: Cells) -> int:
    tables = sum(cell["type"] == "SB_LUT4" for cell in cells.values())
    return tables + lone_flip_flops(
        cells, lambda kind: "O" if kind == "SB_LUT4" else None, lambda kind: kind.startswith("SB_DFF")
    )


PACKING = Packing("ICESTORM_LC", lone_ff=0.70, extra=0.05, count=_count)
