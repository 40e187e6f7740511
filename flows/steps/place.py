"""``place``: the placed and routed design, its clock and critical path; for a board, the bitstream."""

from pathlib import Path

from flows.build_report import Counts, Facts
from flows.implementation import Implementation
from flows.planner import Plan
from flows.steps.lower import GRAPH
from flows.steps.step import Step
from flows.steps.synthesise import Synthesised
from flows.tools import tools
from hw.boards.image import SCOPE
from hw.rtl.design import instances
from hw.synth import nextpnr


class Placed(Facts):
    """Fmax in MHz, the seed that reached it, a description of the critical path, the files, and the cells used."""

    fmax_mhz: float
    seed: int
    critical_path: str
    netlist: str
    bitstream: str | None
    cells: Counts


class Place(Step[Placed]):
    """Places and routes the synthesised netlist with the given seeds.

    Raises BitfabricError if it misses the clock, and where the device has no room: ``plan`` then names a rate that is
    estimated to fit.
    """

    name = "place"
    result = Placed

    def __init__(self, made: Implementation, plan: Plan, synthesised: Synthesised, seeds: tuple[int, ...]) -> None:
        self.made = made
        self.plan = plan
        self.synthesised = synthesised
        self.netlist = f"synthesise/{synthesised.netlist}"
        self.seeds = seeds

    def inputs(self) -> list[object]:
        tool = tools(self.made.family.name).get("nextpnr")
        return [*self.made.key(), self.seeds, tool]

    def reads(self) -> tuple[str, ...]:
        return *GRAPH, "fold", self.netlist

    def run(self, out: Path) -> Placed:
        made = self.made
        pins, clock = (made.image.pins, made.image.clock_mhz) if made.image else (None, made.clock_mhz)
        netlist = made.folder / self.netlist
        try:
            placed = nextpnr.place_and_route(netlist, made.device, out, clock, pins, self.seeds)
        except nextpnr.NoRoom as error:
            needed = max(error.needed or 0, self.synthesised.logic_cells or 0)
            raise self.plan.refuse(str(error), self.synthesised.layers, needed) from None
        layers = {instance: node.title for node, instance in instances(made.hardware).items()}
        path = placed.describe_path(SCOPE if made.image else "", layers)
        placed.check(path)
        bitstream = nextpnr.pack(placed) if made.image else None
        return Placed(
            fmax_mhz=placed.fmax_mhz,
            seed=placed.seed,
            critical_path=path,
            netlist=placed.netlist.name,
            bitstream=bitstream.name if bitstream else None,
            cells=Counts(**vars(placed.resources)),
        )
