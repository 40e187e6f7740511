"""``netlist``: the placed netlist of the whole image, through its host link, against the emulator.

Where a family's placed netlist cannot be simulated (Gowin) or there is none (7 series), it is the mapped one: that
after synthesis.
"""

from pathlib import Path

from flows import verify
from flows.engines.netlist import run_netlist
from flows.facts.checks import Compared
from flows.implementation import Implementation
from flows.samples import Samples
from flows.steps.lower import GRAPH
from flows.steps.place import Placed
from flows.steps.step import Step
from flows.steps.synthesise import Synthesised
from hw.simulation import verilator
from hw.synth import nextpnr


class NetlistSimulated(Compared):
    """The counts of the comparison (``mismatches`` is 0), the accuracy if there are labels, the ``stage`` of the
    netlist (placed or mapped), and its path in the build folder; ``unplaced`` says why there is no place and route,
    where tools are missing."""

    accuracy: float | None
    stage: str
    path: str
    unplaced: str | None = None


class Netlist(Step[NetlistSimulated]):
    """Simulates ``frames`` frames. The result holds for this placement and bitstream only; ``placed`` is None where
    there is no place and route, for the reason ``unplaced`` where it is for want of tools."""

    name = "netlist"
    result = NetlistSimulated

    def __init__(
        self,
        made: Implementation,
        samples: Samples,
        frames: int,
        synthesised: Synthesised,
        placed: Placed | None,
        unplaced: str | None = None,
    ) -> None:
        self.unplaced = unplaced
        if placed and nextpnr.toolchain(made.device).simulates:
            self.stage, self.path = "placed", f"place/{placed.netlist}"
        else:
            self.stage, self.path = "mapped", f"synthesise/{synthesised.netlist}"
        files = [f"place/{file}" for file in (placed.netlist, placed.bitstream) if file] if placed else []
        self.checked = tuple(dict.fromkeys([self.path, *files]))
        self.made = made
        self.samples = samples
        self.frames = frames

    def inputs(self) -> list[object]:
        unplaced = [self.unplaced] if self.unplaced else []
        return [*self.made.key(), self.samples.key, self.frames, verilator.version(), *unplaced]

    def reads(self) -> tuple[str, ...]:
        return *GRAPH, "fold", "rtl", *self.checked

    def run(self, out: Path) -> NetlistSimulated:
        graph = self.made.graph
        ints = graph.encode(self.samples.first(self.frames))
        got = run_netlist(self.made, self.made.folder / self.path, ints)
        checked = verify.check_netlist(got, graph.execute(ints), self.stage)
        facts: dict[str, object] = {"accuracy": self.samples.score(graph.decode(got))}
        facts |= {"stage": self.stage, "path": self.path}
        facts |= {"unplaced": self.unplaced} if self.unplaced else {}
        return NetlistSimulated.model_validate({**checked, **facts})
