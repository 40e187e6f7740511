"""The logic cells of ECP5: lookup tables, and two more at a connected start of a carry chain and at each of its exits.

Images of 900 to 21,000 lookup tables took 2 to 8 % more cells than tables.

Flip-flops have places of their own.
"""

from hw.fabric.packing import Cells, Packing, chain_exits, chain_starts

_TABLES = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
_CHAIN = "CCU2C", "CIN", "COUT"


def _count(cells: Cells) -> int:
    tables = sum(_TABLES.get(cell["type"], 0) for cell in cells.values())
    return tables + 2 * (chain_starts(cells, *_CHAIN) + sum(chain_exits(cells, *_CHAIN)))


PACKING = Packing("TRELLIS_COMB", lone_ff=0.0, extra=0.06, count=_count)
