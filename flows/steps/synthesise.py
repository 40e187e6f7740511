"""``synthesise``: the netlist of the image, or of the bare accelerator, and the resources of every layer."""

from pathlib import Path

from flows import fit
from flows.build_report import Counts, Facts
from flows.implementation import Implementation
from flows.planner import Plan
from flows.steps.lower import GRAPH
from flows.steps.step import Step
from flows.tools import tools
from hw.boards.image import SCOPE
from hw.fabric.resources import Resources
from hw.rtl.design import instances
from hw.synth import yosys


class Synthesised(Facts):
    """The file of the netlist; resources of the whole design, of every layer, and of the ``rest`` (shell and link);
    the logic cells that its packer needs at least, where they are known."""

    netlist: str
    resources: Counts
    logic_cells: int | None
    layers: dict[str, Counts]
    rest: Counts


class Synthesise(Step[Synthesised]):
    """Synthesises for the device. If the design does not fit, ``plan`` names a folding that would."""

    name = "synthesise"
    result = Synthesised

    def __init__(self, made: Implementation, plan: Plan) -> None:
        self.made = made
        self.plan = plan

    def inputs(self) -> list[object]:
        return [*self.made.key(), tools(self.made.family.name).get("yosys")]

    def reads(self) -> tuple[str, ...]:
        return *GRAPH, "fold", "rtl"

    def run(self, out: Path) -> Synthesised:
        made, device = self.made, self.made.device
        design, scope = (made.image.design, SCOPE) if made.image else (made.rtl, "")
        result = yosys.synthesise(design, made.device, out, scope)
        layers = {n.name: result.instances.get(name, Resources()) for n, name in instances(made.hardware).items()}
        counts = {name: Counts(**vars(cost)) for name, cost in layers.items()}
        cells = fit.logic_cells(self.plan.target, result.resources)
        need = result.logic_cells
        if over := device.overflow(result.resources) or (cells and need and fit.overflow(cells, need)):
            raise self.plan.refuse(over, counts, need)
        rest = result.resources - sum(layers.values(), Resources())
        return Synthesised(
            netlist=result.netlist.name,
            resources=Counts(**vars(result.resources)),
            logic_cells=need,
            layers=counts,
            rest=Counts(**vars(rest)),
        )
