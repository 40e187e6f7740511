"""``fold``: the folding in FINN's form (``folding.json``), FIFO depths, cycles and resources as estimated."""

from pathlib import Path

from flows.facts.design import Estimate
from flows.planner import Plan
from flows.steps.lower import GRAPH
from flows.steps.step import Step
from hw.folding import finn_json
from hw.host.files import sha256


class Fold(Step[Estimate]):
    """Chooses the design point."""

    name = "fold"
    result = Estimate

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def inputs(self) -> list[object]:
        plan, config = self.plan, self.plan.config
        table = None if config.folding is None else sha256(config.folding)
        asked: list[object] = [table, config.fps, config.fill, config.parity, config.clock_mhz]
        if config.exit_share != 1:
            asked.append(config.exit_share)
        if config.limits:
            asked.append(dict(sorted(config.limits.items())))
        return [plan.model.sha256, plan.model.kind, repr(plan.target), *asked]

    def reads(self) -> tuple[str, ...]:
        return GRAPH

    def run(self, out: Path) -> Estimate:
        estimate = self.plan.estimate()
        point = self.plan.point
        finn_json.save(point.folding, out / "folding.json", point.graph, point.granularity)
        return estimate
