"""``power``: toggles in the netlist of the accelerator at its full rate, by layer, and its estimated power."""

from pathlib import Path

from flows.facts.fact import Facts
from flows.facts.power import LayerActivity, Power, PowerEstimate
from flows.implementation import Implementation
from flows.samples import Samples
from flows.simulation import simulate
from flows.steps.lower import GRAPH
from flows.steps.step import Step
from flows.steps.synthesise import Synthesised
from flows.tools import tools
from flows.verify import check_netlist
from hw.rtl.design import instances
from hw.simulation import verilator
from hw.synth import activity, yosys

REST = "(rest)"
"""The row of ports and of cells that belong to no layer."""


class PowerCounted(Facts):
    """The activity and the estimate."""

    power: Power


class CountPower(Step[PowerCounted]):
    """Simulates ``frames`` frames through the streams of the accelerator, as fast as it takes them.

    It is the netlist of synthesis; for a board, whose image has the shell around the accelerator, that of the
    accelerator alone is made first. Raises BitfabricError where its integers differ from the emulator's.
    """

    name = "power"
    result = PowerCounted

    def __init__(self, made: Implementation, samples: Samples, frames: int, synthesised: Synthesised) -> None:
        self.made = made
        self.samples = samples
        self.frames = frames
        self.netlist = None if made.image else f"synthesise/{synthesised.netlist}"

    def inputs(self) -> list[object]:
        yosys_version = tools(self.made.family.name).get("yosys")
        return [*self.made.key(), self.samples.key, self.frames, verilator.version(), yosys_version]

    def reads(self) -> tuple[str, ...]:
        return *GRAPH, "fold", "rtl", *([self.netlist] if self.netlist else [])

    def run(self, out: Path) -> PowerCounted:
        made, graph = self.made, self.made.hardware
        design, family = made.rtl, made.family
        netlist = made.folder / self.netlist if self.netlist else yosys.synthesise(design, made.device, out).netlist
        counted, parts = activity.design(netlist, family, design.inputs, design.outputs)
        ints = made.graph.encode(self.samples.first(self.frames))
        got, result = simulate(graph, counted, ints)
        check_netlist(got, made.graph.execute(ints), "mapped")
        frames = len(next(iter(ints.values())))
        return PowerCounted(power=self._power(result.counters, parts, frames))

    def _power(self, counters: dict[str, int], parts: dict[str, activity.Part], frames: int) -> Power:
        made, energy = self.made, self.made.device.energy
        names = activity.names(parts)
        titles = {instance: node.name for node, instance in instances(made.hardware).items()}
        rows: dict[str, list[str]] = {title: [] for title in (*titles.values(), REST)}
        for part in parts:
            rows[titles.get(part, REST)].append(part)
        layers = []
        for title, members in rows.items():
            means = {what: sum(counters[names[part, what]] for part in members) / frames for what in activity.COUNTS}
            clocked = sum(parts[part].clocked for part in members)
            each = None
            if energy is not None:
                picojoules = energy.dynamic_pj(made.interval, clocked, means["transitions"], means["multiplications"])
                each = picojoules / 1e6
            layers.append(LayerActivity(name=title, clocked=clocked, microjoules=each, **means))
        transitions = sum(layer.transitions + 2 * made.interval * layer.clocked for layer in layers)
        return Power(frames=frames, transitions=transitions, layers=tuple(layers), estimate=self._estimate(layers))

    def _estimate(self, layers: list[LayerActivity]) -> PowerEstimate | None:
        made, energy = self.made, self.made.device.energy
        if energy is None:
            return None
        spent = sum(layer.microjoules or 0 for layer in layers)
        frame_us = made.interval / made.clock_mhz
        clock = energy.cycle_pj * made.clock_mhz / 1000
        total = energy.static_mw + clock + 1000 * spent / frame_us
        return PowerEstimate(
            static=energy.static_mw,
            clock_network=clock,
            layers=1000 * spent / frame_us,
            milliwatts=total,
            microjoules=total * frame_us / 1000,
            source=energy.source,
        )
