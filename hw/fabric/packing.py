"""How the packer of an FPGA family fills logic cells, which decides whether a design fits."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from hw.fabric.resources import Resources

Cells = Mapping[str, Mapping[str, Any]]
"""The cells of a Yosys JSON module, by name."""
OPEN = "x"
"""The bit of an open pin there."""


@dataclass(frozen=True)
class Packing:
    """The logic cells of one family; a device has as many as it has lookup tables.

    Attributes:
        cell: nextpnr's name of the logic cell.
        lone_ff: share of flip-flops that take a logic cell of their own, because no lookup table of their own drives
            them; measured on networks.
        extra: logic cells that carry chains take beside the counted lookup tables, as a share of these; measured.
        count: the logic cells of a netlist; nextpnr needs at least as many.
    """

    cell: str
    lone_ff: float
    extra: float
    count: Callable[[Cells], int]

    def estimate(self, used: Resources) -> int:
        """The logic cells of a design of these resources, as estimated."""
        return ceil((1 + self.extra) * used.lut + self.lone_ff * used.ff)


def lone_flip_flops(
    cells: Cells, drives: Callable[[str], str | None], is_flip_flop: Callable[[str], bool], pin: str = "D"
) -> int:
    """Flip-flops that cannot share a logic cell with the lookup table that drives them.

    They can where its output has no other reader. ``drives``: the output pin of a cell type that shares its cell with a
    flip-flop; None for other types. ``pin``: the data input of a flip-flop.
    """
    readers: Counter[object] = Counter()
    outputs: set[object] = set()
    for cell in cells.values():
        own = drives(cell["type"])
        for port, bits in cell["connections"].items():
            if port == own:
                outputs.update(bits)
            elif cell["port_directions"].get(port) == "input":
                readers.update(bit for bit in bits if isinstance(bit, int))
    found = [cell["connections"][pin][0] for cell in cells.values() if is_flip_flop(cell["type"])]
    return sum(bit not in outputs or readers[bit] != 1 for bit in found)


def chain_starts(cells: Cells, kind: str, entry: str, end: str) -> int:
    """Carry chains whose beginning is connected: cells of type ``kind`` whose carry input ``entry`` is neither open nor
    driven by another such cell's output ``end``."""
    carries = [cell["connections"] for cell in cells.values() if cell["type"] == kind]
    driven = {bit for pins in carries for bit in pins.get(end, ())} | {OPEN}
    return sum(not driven & set(pins.get(entry, ())) for pins in carries)


def chain_exits(cells: Cells, kind: str, entry: str, end: str) -> tuple[int, int]:
    """Carry outputs ``end`` of cells of type ``kind`` with a reader outside the chain, and those that are connected but
    have no reader."""
    read = {
        (bit, (cell["type"], port) == (kind, entry))
        for cell in cells.values()
        for port, bits in cell["connections"].items()
        if cell["port_directions"].get(port) == "input"
        for bit in bits
        if bit != OPEN
    }
    carries = [cell["connections"].get(end, ()) for cell in cells.values() if cell["type"] == kind]
    ends = [bit for bits in carries for bit in bits if bit != OPEN]
    outside = sum((bit, False) in read for bit in ends)
    return outside, sum((bit, False) not in read and (bit, True) not in read for bit in ends)
