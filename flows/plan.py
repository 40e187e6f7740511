"""A model folded for a target: everything that is known before synthesis."""

import os
from functools import cached_property
from math import floor
from pathlib import Path
from typing import Any

from flows.config import BuildConfig
from hw import fifo, folding, model_file, timing
from hw.boards.targets import find_target
from hw.errors import BitfabricError
from hw.folding_search import Choice, Search, fits
from hw.graph import Graph
from hw.kernels.kernel import Resources
from hw.synth.devices import Device

FILL = {"lut": 0.8, "ff": 0.8, "bram": 0.9, "dsp": 0.9}
"""Shares of the device that a design may be estimated to take that is as fast as the device allows: routing needs some
room, the shell about 1,100 lookup tables and the frames' buffers, and the resource model is not exact."""
QUARTER = dict.fromkeys(FILL, 0.25)
"""Shares that a design may take where nothing else is asked for."""


class Plan:
    """The choices for a model on a target, each made when it is first asked for."""

    def __init__(self, model: Path, config: BuildConfig) -> None:
        self.target = find_target(config.target)
        self.device: Device = self.target.device
        self.model = model
        self.config = config
        self.clock_mhz = config.clock_mhz or self.device.clock_mhz

    @cached_property
    def graph(self) -> Graph:
        graph = model_file.graph(self.model)
        return graph.protected() if self.config.parity else graph

    @cached_property
    def search(self) -> Search:
        """All foldings."""
        return Search(self.graph, self.device.family, self.device.capacity)

    @cached_property
    def wanted_cycles(self) -> int | None:
        """Cycles per frame that ``fps`` allows."""
        if self.config.fps is None:
            return None
        cycles = floor(self.clock_mhz * 1e6 / self.config.fps)
        least, layer = self.search.fastest
        if cycles < least:
            best = floor(self.clock_mhz * 1e6 / least)
            raise BitfabricError(
                f"{self.config.fps:g} frames/s at {self.clock_mhz:g} MHz leave {cycles} cycles a frame; layer {layer} "
                f"needs {least}: at most {best} frames/s are possible; ask for no more, or for a higher --clock",
                status=2,
            )
        return cycles

    def choose(self) -> tuple[folding.FoldingTable, dict[str, int]]:
        """The folding (from the file, for the rate, as FINN's own graph has it, or for the area) and its FIFOs."""
        if self.config.folding is not None:
            table = folding.current(folding.apply(self.graph, folding.load(self.config.folding, self.graph)))
        elif self.wanted_cycles is not None:
            table = folding.for_rate(self.search, self.wanted_cycles).folding
        elif model_file.of_finn(self.model) and not self.config.fill:
            table = folding.current(self.graph)
        else:
            return self._filling(self.budget(FILL if self.config.fill else QUARTER))
        return table, self.folded(table)[1]

    def budget(self, shares: dict[str, float]) -> Resources:
        """These shares of the device."""
        return Resources(**{name: int(shares[name] * have) for name, have in vars(self.device.capacity).items()})

    def _filling(self, budget: Resources) -> tuple[folding.FoldingTable, dict[str, int]]:
        """The fastest folding that fits a budget with its FIFOs, whose depths come after it; or the smallest of all."""
        left = budget
        while True:
            choice = folding.for_budget(self.search, left)
            hardware, depths = self.folded(choice.folding)
            used = folding.estimate(hardware, self.device.family)
            if fits(used, budget) or not fits(choice.used, left):
                return choice.folding, depths
            left = Resources(**{
                name: min(have, vars(budget)[name] - vars(used)[name] + vars(choice.used)[name])
                for name, have in vars(left).items()
            })  # fmt: skip

    def folded(self, table: folding.FoldingTable, fifos: dict[str, int] | None = None) -> tuple[Graph, dict[str, int]]:
        """The hardware graph with this folding, and its FIFO depths (sized here unless given)."""
        connected = folding.connect(folding.apply(self.graph, table))
        depths = fifo.size(connected) if fifos is None else fifos
        return fifo.insert(connected, depths), depths

    def suggestion(self) -> str:
        """Which folding would fit, in words."""
        choice = self.search.quickest(self.budget(FILL))
        if choice is None:
            used = folding.for_budget(self.search, Resources()).used
            over = self.device.overflow(used) or f"{used.lut} LUT and {used.bram} BRAM, and routing needs room"
            return f"even the smallest folding does not fit ({over}); take a bigger device or a smaller network"
        rate, used = floor(self.clock_mhz * 1e6 / choice.interval), choice.used
        cycles = f"{choice.interval} cycles a frame"
        return f"--fps {rate} ({cycles}) is estimated to fit, with {used.lut} LUT and {used.bram} BRAM"

    def summary(self) -> dict[str, Any]:
        """Folding, FIFOs, cycles and resources as estimated; checks that the estimate is not far over the device."""
        table, depths = self.choose()
        hardware, _ = self.folded(table, depths)
        pace = timing.pace(hardware)
        family = self.device.family
        used = folding.estimate(hardware, family)
        # The model is not exact: only a clear excess ends the build before synthesis has counted.
        if over := self.device.overflow(Resources(*(int(v / 1.3) for v in vars(used).values()))):
            raise BitfabricError(
                f"{self.model.name} does not fit {self.config.target} as folded: the estimate is {used.lut} LUT and "
                f"{used.bram} BRAM, and 30 % less would still be {over}; {self.suggestion()}"
            )
        if self.config.parity and not any(node.kernel.checked(family) for node in hardware):
            raise BitfabricError(
                f"--parity protects memories in block RAM, and {self.model.name} has none as folded; ask for fewer "
                "frames/s, which makes memories deeper, or leave --parity out",
                status=2,
            )
        return {
            "folding": {name: f.attributes for name, f in table.items()},
            "fifos": depths,
            "interval": pace.interval,
            "latency": pace.latency,
            "fps": self.clock_mhz * 1e6 / pace.interval,
            "resources": vars(used),
            "layers": [
                {
                    "name": node.name,
                    "operator": node.kernel.op,
                    **node.kernel.folding.attributes,
                    "cycles": node.kernel.interval,
                    "parity": node.kernel.checked(family),
                    "estimated": vars(node.kernel.resources(family)),
                }
                for node in hardware
            ],
        }


def estimate(model: str | os.PathLike[str], target: str, **options: Any) -> dict[str, Any]:
    """Cycles and resources without synthesis; ``options`` are BuildConfig's ``fps``, ``folding``, ``fill``,
    ``clock_mhz`` and ``parity``."""
    plan = Plan(Path(model), BuildConfig(target=target, **options))
    summary = plan.summary()
    return {
        "model": str(model),
        "target": target,
        "clock_mhz": plan.clock_mhz,
        "fps": summary["fps"],
        "cycles": {"interval": summary["interval"], "latency": summary["latency"]},
        "resources": {
            name: {"estimated": used, "available": vars(plan.device.capacity)[name]}
            for name, used in summary["resources"].items()
        },
        "folding": summary["folding"],
        "fifos": summary["fifos"],
        "layers": summary["layers"],
    }


def pareto(model: str | os.PathLike[str], target: str, clock_mhz: float | None = None) -> dict[str, Any]:
    """The Pareto front of rate and cost on a target: every folding that fits it and is cheaper than all faster ones.

    Raises BitfabricError where none fits. FIFOs are not counted: their depths come after the folding.
    """
    plan = Plan(Path(model), BuildConfig(target=target, clock_mhz=clock_mhz))
    front = plan.search.front(plan.device.capacity)
    if not front:
        raise BitfabricError(f"{plan.model.name} does not fit {target}: {plan.suggestion()}")
    return {
        "model": str(model),
        "target": target,
        "clock_mhz": plan.clock_mhz,
        "available": vars(plan.device.capacity),
        "pareto": [_point(choice, plan.clock_mhz) for choice in front],
    }


def _point(choice: Choice, clock_mhz: float) -> dict[str, Any]:
    return {
        "fps": clock_mhz * 1e6 / choice.interval,
        "interval": choice.interval,
        "estimated": vars(choice.used),
        "folding": {name: f.attributes for name, f in choice.folding.items()},
    }
