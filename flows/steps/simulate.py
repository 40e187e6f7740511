"""``simulate``: the RTL against the emulator to the integer, and against the cycle model to the cycle."""

from pathlib import Path

from flows import verify
from flows.facts.checks import Compared
from flows.implementation import Implementation
from flows.samples import Samples
from flows.steps.lower import GRAPH
from flows.steps.step import Step
from hw.simulation import verilator


class Simulated(Compared):
    """The counts of the comparison (``mismatches`` is 0), the simulated cycles, and the accuracy with labels."""

    latency: int
    interval: int
    accuracy: float | None


class Simulate(Step[Simulated]):
    """Simulates ``frames`` frames with Verilator."""

    name = "simulate"
    result = Simulated

    def __init__(self, made: Implementation, samples: Samples, frames: int) -> None:
        self.made = made
        self.samples = samples
        self.frames = frames

    def inputs(self) -> list[object]:
        return [*self.made.key(), self.samples.key, self.frames, verilator.version()]

    def reads(self) -> tuple[str, ...]:
        return *GRAPH, "fold", "rtl"

    def run(self, out: Path) -> Simulated:
        made = self.made
        ints = made.graph.encode(self.samples.first(self.frames))
        checked, got = verify.check_rtl(made.hardware, made.family, ints, made.rtl)
        accuracy = self.samples.score(made.graph.decode(got))
        return Simulated.model_validate({**checked, "accuracy": accuracy})
