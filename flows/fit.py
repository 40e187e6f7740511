"""Whether a design fits a target: its logic cells as the packer fills them, with the shell of a board."""

from flows.facts.design import LogicCells
from hw.boards.targets import Target
from hw.fabric.packing import Packing
from hw.fabric.resources import Resources
from hw.families import spec_of

SHELL = Resources(lut=1000, ff=700)
"""Lookup tables and flip-flops of a board's shell, about."""
CELL_SHARE = 0.92
"""Most of the logic cells that a design is folded for; the rest is for placement."""


def packing_of(target: Target) -> Packing | None:
    """The packer of the target's family; None where it is not known."""
    return spec_of(target.device.family).packing


def logic_cells(target: Target, used: Resources) -> LogicCells | None:
    """The logic cells of a design of these resources, with the shell of the board; None where they are not known."""
    packing = packing_of(target)
    if packing is None:
        return None
    return LogicCells(
        name=packing.cell,
        estimated=packing.estimate(used + SHELL if target.board else used),
        available=target.device.capacity.lut,
    )


def overflow(cells: LogicCells, need: int) -> str | None:
    """The excess of ``need`` logic cells, as in ``"ICESTORM_LC 5804 of 5280 (524 too many)"``; None if they fit."""
    if need <= cells.available:
        return None
    return f"{cells.name} {need} of {cells.available} ({need - cells.available} too many)"


def most_cells(target: Target) -> float:
    """The logic cells that kernels may take, without the shell; infinite where they are not known."""
    packing = packing_of(target)
    if packing is None:
        return float("inf")
    shell = packing.estimate(SHELL) if target.board else 0
    return CELL_SHARE * target.device.capacity.lut - shell
