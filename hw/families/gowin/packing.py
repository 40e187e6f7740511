"""The logic cells of Gowin's LittleBee: each holds a lookup table and a flip-flop, which it must drive.

A flip-flop without one gets a lookup table that passes its input. A cell of the carry chain is a lookup table, and a
chain takes one more at its start and at each exit. A RAM takes the eight lookup tables of a block.
"""

from hw.fabric.packing import Cells, Packing, chain_exits, chain_starts, lone_flip_flops

_OUTPUTS = {"LUT1": "F", "LUT2": "F", "LUT3": "F", "LUT4": "F", "ALU": "SUM"}
_RAM = 8
_CHAIN = "ALU", "CIN", "COUT"


def _count(cells: Cells) -> int:
    tables = sum(cell["type"] in _OUTPUTS for cell in cells.values())
    rams = sum(cell["type"] == "RAM16SDP4" for cell in cells.values())
    lone = lone_flip_flops(cells, _OUTPUTS.get, lambda kind: kind.startswith("DFF"))
    outside, _ = chain_exits(cells, *_CHAIN)
    return tables + chain_starts(cells, *_CHAIN) + outside + _RAM * rams + lone


PACKING = Packing("LUT4", lone_ff=0.60, extra=0.13, count=_count)
