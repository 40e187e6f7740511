"""``place``: the placed and routed design, its clock and slowest paths; for a board, the bitstream."""

from collections.abc import Callable
from pathlib import Path

from flows.facts.design import SHELL, TOP, Counts
from flows.facts.fact import Facts
from flows.facts.placed import LayerPath, LayerPaths, PinClock
from flows.implementation import Implementation
from flows.planner import Plan
from flows.steps.lower import GRAPH
from flows.steps.step import Step
from flows.steps.synthesise import Synthesised
from flows.tools import tools
from hw.boards.image import SCOPE
from hw.rtl.design import instances
from hw.synth import netlist, nextpnr, paths
from hw.synth.owners import finder
from hw.synth.paths import SlowestPaths, TimingPath

SAME_NS = 0.01
"""Largest difference of the delays of one path: both are whole picoseconds for each hop."""
MOST_PATHS = 10
"""Number of paths that the report has."""


class Placed(Facts):
    """Fmax in MHz, the seed that reached it, a description of the critical path, the slowest paths by layer, the clocks
    that enter beside the design's own, the files, and the cells used."""

    fmax_mhz: float
    seed: int
    critical_path: str
    timing_paths: LayerPaths | None = None
    pin_clocks: tuple[PinClock, ...] = ()
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
        source = made.folder / self.netlist
        try:
            placed = nextpnr.place_and_route(source, made.device, out, clock, pins, self.seeds, delays=True)
        except nextpnr.NoRoom as error:
            needed = max(error.needed or 0, self.synthesised.logic_cells or 0)
            raise self.plan.refuse(str(error), self.synthesised.layers, needed) from None
        nodes = {instance: node for node, instance in instances(made.hardware).items()}
        instance_of = finder(netlist.load(source)[1], SCOPE if made.image else "")

        def layer(cell: str) -> str:
            own = nodes.get(instance_of(cell))
            return own.name if own else SHELL if made.image else TOP

        timing = _timing_paths(placed, layer)
        titles = {node.name: node.title for node in nodes.values()}
        path = placed.describe_path(lambda cell: titles.get(name := layer(cell), name))
        placed.check(path)
        bitstream = nextpnr.pack(placed) if made.image else None
        return Placed(
            fmax_mhz=placed.fmax_mhz,
            seed=placed.seed,
            critical_path=path,
            timing_paths=timing,
            pin_clocks=tuple(PinClock(**vars(each)) for each in placed.pin_clocks),
            netlist=placed.netlist.name,
            bitstream=bitstream.name if bitstream else None,
            cells=Counts(**vars(placed.resources)),
        )


def _timing_paths(placed: nextpnr.Placement, layer: Callable[[str], str]) -> LayerPaths:
    """The slowest paths between layers. Removes the file of the delays, which is large.

    If the slowest of them is not nextpnr's critical path, it is that path alone, with a remark.
    """
    assert placed.delays is not None
    others = [each.port for each in placed.pin_clocks]
    found, remark = paths.slowest(placed.delays, layer, MOST_PATHS, others), None
    placed.delays.unlink()
    critical = placed.critical_path
    if not found.paths or abs(found.paths[0].delay_ns - critical.delay_ns) > SAME_NS:
        found = SlowestPaths((critical,), 1)
        remark = "the delays that nextpnr wrote do not make its critical path, so only that path is stated"
    slowest = tuple(_stated(path, layer, 1000 / placed.clock_mhz) for path in found.paths if path.hops)
    return LayerPaths(clock_mhz=placed.clock_mhz, pairs=found.pairs, slowest=slowest, remark=remark)


def _stated(path: TimingPath, layer: Callable[[str], str], period_ns: float) -> LayerPath:
    stops = path.stops(layer)
    return LayerPath(
        start=layer(path.hops[0].cell),
        end=layer(path.hops[-1].cell),
        layers=tuple(stops),
        levels=path.levels,
        delay_ns=round(path.delay_ns, 3),
        logic_ns=round(path.logic_ns, 3),
        routing_ns=round(path.routing_ns, 3),
        slack_ns=round(period_ns - path.delay_ns, 3),
    )
