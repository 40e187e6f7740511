"""``finn``: FINN's own estimate of the same model for the same interval."""

from pathlib import Path

from flows.facts.fact import Facts
from flows.facts.finn import FinnComparison, FinnLayerCost, FinnRefusal
from flows.steps.step import Step
from hw.host.errors import BitfabricError
from hw.model import Model


class FinnEstimated(Facts):
    """FINN's estimate, or why it has none."""

    estimate: FinnComparison | FinnRefusal


class CompareFinn(Step[FinnEstimated]):
    """Lets FINN estimate its own folding for at most ``interval`` cycles per frame."""

    name = "finn"
    result = FinnEstimated
    packages = ("finn-plus",)

    def __init__(self, model: Model, interval: int, clock_mhz: float) -> None:
        self.model = model
        self.interval = interval
        self.clock_mhz = clock_mhz

    def inputs(self) -> list[object]:
        return [self.model.sha256, self.interval, self.clock_mhz]

    def reads(self) -> tuple[str, ...]:
        return ("lower",)

    def run(self, out: Path) -> FinnEstimated:
        from flows.finn.estimate import estimate

        try:
            made = estimate(self.model, target_cycles=self.interval, clock_mhz=self.clock_mhz)
        except BitfabricError as error:
            return FinnEstimated(estimate=FinnRefusal(refused=str(error)))
        layers = [
            FinnLayerCost(name=n.name, operator=n.op, PE=n.pe, SIMD=n.simd, cycles=n.cycles,
                          lut=n.lut, bram=n.bram18, dsp=n.dsp)
            for n in made.layers
        ]  # fmt: skip
        return FinnEstimated(
            estimate=FinnComparison(part=made.part, clock_mhz=self.clock_mhz, cycles=made.max_cycles, lut=made.lut,
                                    bram=made.bram18, dsp=made.dsp, fps=made.fps, layers=tuple(layers))
        )  # fmt: skip
