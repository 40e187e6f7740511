"""Whether a design fits a target: its logic cells as the packer fills them, with the shell of a board."""

from flows.facts.design import LogicCells
from hw.boards.shell_cost import shell_resources
from hw.boards.targets import Target
from hw.fabric.packing import Packing
from hw.fabric.resources import Resources
from hw.families import spec_of
from hw.ir.graph import Graph

CELL_SHARE = 0.92
"""Most of the logic cells that a design is folded for; the rest is for placement."""


def packing_of(target: Target) -> Packing | None:
    """The packer of the target's family; None where it is not known."""
    return spec_of(target.device.family).packing


def shell(target: Target, graph: Graph, benchmark: int = 0) -> Resources:
    """The estimated resources of the board's shell around a graph, with the lanes of its folding; ``benchmark``: frames
    of each input that the image can replay. None of a bare device."""
    entries = [graph.edges[port.edge] for port in graph.inputs]
    return shell_resources(target, entries, [graph.edges[edge] for edge in graph.output_edges], benchmark)


def logic_cells(target: Target, used: Resources) -> LogicCells | None:
    """The logic cells of a design of these resources, those of a shell included; None where they are not known."""
    packing = packing_of(target)
    if packing is None:
        return None
    return LogicCells(
        name=packing.cell,
        estimated=packing.estimate(used),
        available=target.device.capacity.lut,
    )


def overflow(cells: LogicCells, need: int) -> str | None:
    """The excess of ``need`` logic cells, as in ``"ICESTORM_LC 5804 of 5280 (524 too many)"``; None if they fit."""
    if need <= cells.available:
        return None
    return f"{cells.name} {need} of {cells.available} ({need - cells.available} too many)"


def most_cells(target: Target, around: Resources) -> float:
    """The logic cells that kernels may take with a shell of these resources; infinite where they are not known."""
    packing = packing_of(target)
    if packing is None:
        return float("inf")
    return CELL_SHARE * target.device.capacity.lut - packing.estimate(around)
