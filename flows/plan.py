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
from hw.graph import Graph
from hw.kernels.kernel import Resources
from hw.synth.devices import Device


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
        return model_file.graph(self.model)

    @cached_property
    def wanted_cycles(self) -> int | None:
        """Cycles per frame that ``fps`` allows."""
        if self.config.fps is None:
            return None
        cycles = floor(self.clock_mhz * 1e6 / self.config.fps)
        least, layer = folding.fastest(self.graph)
        if cycles < least:
            raise BitfabricError(
                f"{self.config.fps:g} frames/s at {self.clock_mhz:g} MHz leave {cycles} cycles a frame; layer {layer} "
                f"needs {least}: at most {self.clock_mhz * 1e6 / least:.0f} frames/s are possible",
                status=2,
            )
        return cycles

    def choose(self) -> folding.FoldingTable:
        """The folding: from the file, for the rate, as FINN's own graph has it, or for the area."""
        family, capacity = self.device.family, self.device.capacity
        if self.config.folding is not None:
            return folding.current(folding.apply(self.graph, folding.load(self.config.folding, self.graph)))
        if self.wanted_cycles is not None:
            return folding.for_cycles(self.graph, self.wanted_cycles, family, capacity)
        if model_file.of_finn(self.model):
            return folding.current(self.graph)
        return folding.for_area(self.graph, 0.25, family, capacity)

    def folded(self, table: folding.FoldingTable, fifos: dict[str, int] | None = None) -> tuple[Graph, dict[str, int]]:
        """The hardware graph with this folding, and its FIFO depths (sized here unless given)."""
        connected = folding.connect(folding.apply(self.graph, table))
        depths = fifo.size(connected) if fifos is None else fifos
        return fifo.insert(connected, depths), depths

    def suggestion(self) -> str:
        """Which folding would fit, in words."""
        table = folding.for_area(self.graph, 0.8, self.device.family, self.device.capacity)
        hardware, _ = self.folded(table, {})
        used = folding.estimate(hardware, self.device.family)
        if self.device.overflow(used):
            return "even the smallest folding does not fit; take a bigger device or a smaller network"
        interval = max(node.kernel.schedule().interval for node in hardware)
        rate = floor(self.clock_mhz * 1e6 / interval)
        return f"--fps {rate} ({interval} cycles a frame) is estimated to fit, with {used.lut} LUT and {used.bram} BRAM"

    def summary(self) -> dict[str, Any]:
        """Folding, FIFOs, cycles and resources as estimated; checks that the estimate is not far over the device."""
        table = self.choose()
        hardware, depths = self.folded(table)
        trace = timing.steady(hardware)
        used = folding.estimate(hardware, self.device.family)
        # The model is not exact: only a clear excess ends the build before synthesis has counted.
        if over := self.device.overflow(Resources(*(int(v / 1.3) for v in vars(used).values()))):
            raise BitfabricError(
                f"{self.model.name} does not fit {self.config.target} as folded: the estimate is {used.lut} LUT and "
                f"{used.bram} BRAM, even with 30 % off {over}; {self.suggestion()}"
            )
        return {
            "folding": {name: f.attributes for name, f in table.items()},
            "fifos": depths,
            "interval": trace.interval,
            "latency": trace.latency,
            "fps": self.clock_mhz * 1e6 / trace.interval,
            "resources": vars(used),
            "layers": [
                {
                    "name": node.name,
                    "operator": node.kernel.op,
                    **node.kernel.folding.attributes,
                    "cycles": node.kernel.schedule().interval,
                    "estimated": vars(node.kernel.resources(self.device.family)),
                }
                for node in hardware
            ],
        }


def estimate(model: str | os.PathLike[str], target: str, **options: Any) -> dict[str, Any]:
    """Cycles and resources without synthesis; ``options`` are BuildConfig's ``fps``, ``folding``, ``clock_mhz``."""
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
