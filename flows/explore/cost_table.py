"""The cost of many networks on one target: every kernel is costed once, whatever the number of networks with it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import floor
from typing import Any

from flows import fit
from flows.candidate import MAX_UTILISATION
from flows.cycle_budget import cycle_budget
from hw.boards.targets import find_target
from hw.fabric.resources import Resources
from hw.folding.energy import estimate_energy, parts_of_choice
from hw.folding.search import Choice, Search
from hw.folding.tables import FoldingTables
from hw.host.errors import UsageError
from hw.ir.graph import Graph
from hw.kernels.sliding_window.kernel import SlidingWindow


@dataclass(frozen=True)
class Cost:
    """The estimated cost of a network: resources of its kernels and width converters, without FIFOs.

    ``interval``: cycles per frame. ``fps``: frames per second at the clock. ``share``: the sum of the shares of the
    device. ``excess``: by how much the largest excess over a limit is above it, as a fraction; 0 where the network fits
    and is fast enough. ``why``: what exceeds. ``layers``: lookup tables by the user's name of the layer. ``energy``:
    the proxy of a frame (``hw.folding.energy``), at the rate that was asked for, or else at ``fps``.
    """

    lut: int
    ff: int
    bram: int
    dsp: int
    interval: int
    fps: float
    share: float
    excess: float
    why: str
    layers: Mapping[str, int]
    energy: float

    def to_json(self) -> dict[str, Any]:
        """The cost as values of JSON."""
        return asdict(self)


class CostTable:
    """Costs on a ``target`` at ``fps`` frames per second and a clock (default: the device's usual one).

    Without ``fps``, a network has the fastest folding within the limits. ``limits``: maximum resources by name ("lut",
    "ff", "bram", "dsp"); the others have the largest share of the device that ``bitfabric build --fill`` uses.

    The folding is the one that ``bitfabric estimate`` finds for a rate: the cheapest of all kernels and converters
    together. FIFOs, which depend on the timing of the whole design, and settings for a higher clock are not counted.

    Raises UsageError for unknown names, for limits below 0, and for rates that are not positive.
    """

    def __init__(
        self,
        target: str,
        fps: float | None = None,
        clock_mhz: float | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self.target = find_target(target)
        self.device = self.target.device
        self.clock_mhz = clock_mhz or self.device.clock_mhz
        self.fps = fps
        self.cycles = None if fps is None else cycle_budget(fps, self.clock_mhz)
        capacity = vars(self.device.capacity)
        for name, value in (limits or {}).items():
            if name not in capacity or value < 0:
                raise UsageError(f"a limit {name}={value} is no number, of 0 or more, of {', '.join(capacity)}")
        usual = {name: int(MAX_UTILISATION[name] * have) for name, have in capacity.items()}
        self.limits = Resources(**{name: (limits or {}).get(name, most) for name, most in usual.items()})
        self.tables = FoldingTables(
            self.device.family, self.clock_mhz, cells=fit.packing_of(self.target) is not None
        )  # fmt: skip

    def __len__(self) -> int:
        """The kernels whose cost is known."""
        return len(self.tables)

    def search(self, graph: Graph) -> Search:
        """The folding search of a graph, with the kernels that are known."""
        cells = fit.most_cells(self.target, fit.shell(self.target, graph))
        return Search(graph, self.device.family, self.device.capacity, cells, self.clock_mhz, tables=self.tables)

    def cost(self, graph: Graph) -> Cost:
        """The cost of a lowered graph."""
        search, limits = self.search(graph), self._room(graph)
        why, excess = "", 0.0
        cycles = self.cycles
        if cycles is not None:
            least, layer = search.min_interval
            if cycles < least:
                best = floor(self.clock_mhz * 1e6 / least)
                why = f"layer {layer} needs {least} cycles a frame: at most {best} frames/s"
                excess = least / cycles - 1
                cycles = least
            choice = search.cheapest(cycles, limits) or search.cheapest(cycles)
        else:
            choice = search.fastest(limits) or search.cheapest(search.intervals[-1])
        assert choice is not None, "an interval of the search has a folding"
        over, what = _over(choice.used, limits)
        if over > excess:
            excess, why = over, what
        return self._cost(graph, search, choice, excess, why)

    def _room(self, graph: Graph) -> Resources:
        """The limits of a graph: those of the table, as far as the shell of a board leaves room."""
        left = vars(self.device.capacity - fit.shell(self.target, graph))
        return Resources(**{name: max(0, min(most, left[name])) for name, most in vars(self.limits).items()})

    def _cost(self, graph: Graph, search: Search, choice: Choice, excess: float, why: str) -> Cost:
        used = choice.used
        return Cost(
            used.lut, used.ff, used.bram, used.dsp,
            interval=choice.interval,
            fps=self.clock_mhz * 1e6 / choice.interval,
            share=choice.cost,
            excess=excess,
            why=why,
            layers=_by_layer(graph, choice),
            energy=self._energy(graph, choice),
        )  # fmt: skip

    def _energy(self, graph: Graph, choice: Choice) -> float:
        """The energy of a frame, as estimated. A network that is too slow for the rate has that of its own."""
        full = self.clock_mhz * 1e6 / choice.interval
        rate = full if self.fps is None else min(self.fps, full)
        return estimate_energy(parts_of_choice(graph, choice), self.device.energy, self.clock_mhz, rate).value


def _over(used: Resources, limits: Resources) -> tuple[float, str]:
    """The largest excess of resources over the limits, as a fraction, and what exceeds."""
    excess = {name: (vars(used)[name] - most) / max(1, most) for name, most in vars(limits).items()}
    worst = max(excess, key=lambda name: excess[name])
    over = excess[worst]
    if over <= 0:
        return 0.0, ""
    return over, f"{vars(used)[worst]} {worst.upper()} of at most {vars(limits)[worst]}"


def _by_layer(graph: Graph, choice: Choice) -> dict[str, int]:
    """The lookup tables of kernels by layer: with its window, and all that follows until the next layer."""
    found: dict[str, int] = {}
    layer = ""
    for node in graph:
        if node.kernel.role == "compute" or isinstance(node.kernel, SlidingWindow):
            layer = node.origin.module or node.name
        found[layer or node.title] = found.get(layer or node.title, 0) + choice.nodes[node.name].lut
    return found
