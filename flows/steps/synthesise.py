"""``synthesise``: the netlist of the image, or of the bare accelerator, and the resources of every layer."""

from pathlib import Path

from pydantic import Field

from flows import fit
from flows.facts.design import Counts, LutKinds
from flows.facts.fact import Facts
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
    the logic cells that its packer needs at least, where they are known; lookup tables by what they do (``luts``), also
    of the rest."""

    netlist: str
    resources: Counts
    logic_cells: int | None
    layers: dict[str, Counts]
    rest: Counts
    luts: dict[str, LutKinds] = Field(default_factory=dict)
    rest_luts: LutKinds | None = None


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
        names = {node.name: instance for node, instance in instances(made.hardware).items()}
        layers = {name: result.instances.get(instance, Resources()) for name, instance in names.items()}
        counts = {name: Counts(**vars(cost)) for name, cost in layers.items()}
        cells = fit.logic_cells(self.plan.target, result.resources)
        need = result.logic_cells
        if over := device.overflow(result.resources) or (cells and need and fit.overflow(cells, need)):
            raise self.plan.refuse(over, counts, need)
        rest = result.resources - sum(layers.values(), Resources())
        luts = {name: result.luts.get(instance, yosys.LutKinds()) for name, instance in names.items()}
        others = [kinds for instance, kinds in result.luts.items() if instance not in names.values()]
        return Synthesised(
            netlist=result.netlist.name,
            resources=Counts(**vars(result.resources)),
            logic_cells=need,
            layers=counts,
            rest=Counts(**vars(rest)),
            luts={name: LutKinds(**vars(kinds)) for name, kinds in luts.items()},
            rest_luts=LutKinds(**vars(sum(others, yosys.LutKinds()))),
        )
