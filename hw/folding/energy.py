"""A proxy of the energy of a frame, from the resources and the cycles of every node, before synthesis.

Toggles are counted by simulating a netlist (``hw.synth.activity``), which a search cannot do for every network. Here
the transitions at the pins of a node are the cycles in which it works, times the transitions of each of its lookup
tables, flip-flops, block RAMs and multipliers in such a cycle: means by role of the node, fitted to netlists of small
networks.
``python -m benchmarks.energy`` compares the proxy with counted transitions. docs/power.md has the formulas.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from hw.fabric.devices import Device
from hw.fabric.energy import EnergyModel
from hw.fabric.resources import Resources
from hw.folding.search import Choice
from hw.ir.graph import Graph
from hw.ir.kernel import Role

Unit = Literal["uJ", "transitions"]
"""The unit of an energy: estimated microjoules, or transitions of pins, by which only designs on one device compare."""
CONVERTERS = "(width converters)"
"""The part of all width converters of a folding."""


RATES: Mapping[Role, float] = {"compute": 1.1, "quantize": 2.1, "window": 1.2, "join": 1.2, "plumbing": 1.4}
"""By role of a node: transitions at pins for each of its lookup tables and flip-flops in a cycle in which it works."""
BLOCK, MULTIPLIER = 40.0, 40.0
"""The same for each of its block RAMs and multipliers."""


@dataclass(frozen=True)
class Part:
    """A node, or several of one role, with their resources and the ``cycles`` of a frame in which they work."""

    name: str
    role: Role
    used: Resources
    cycles: float

    @property
    def transitions(self) -> float:
        """Transitions at pins in a frame, without those of the clock, as estimated."""
        used = self.used
        return self.cycles * (RATES[self.role] * (used.lut + used.ff) + BLOCK * used.bram + MULTIPLIER * used.dsp)

    @property
    def clocked(self) -> int:
        """Pins at the clock, as estimated: one of each flip-flop, block RAM and multiplier."""
        return self.used.ff + self.used.bram + self.used.dsp


@dataclass(frozen=True)
class EnergyProxy:
    """The energy of a frame, as estimated before synthesis.

    Attributes:
        unit: of ``layers`` and ``base``.
        fps: the rate, in frames per second, which the clock network and the static power are shared by.
        layers: by part.
        base: clock network and static power; 0 where they are not known.
    """

    unit: Unit
    fps: float
    layers: Mapping[str, float]
    base: float

    @property
    def value(self) -> float:
        """The sum."""
        return self.base + sum(self.layers.values())

    @property
    def milliwatts(self) -> float | None:
        """The estimated power at the rate; None where the device has no energy model."""
        return self.value * self.fps / 1000 if self.unit == "uJ" else None


def unit_of(device: Device) -> Unit:
    """The unit of energies on a device."""
    return "transitions" if device.energy is None else "uJ"


def estimate_energy(parts: Iterable[Part], energy: EnergyModel | None, clock_mhz: float, fps: float) -> EnergyProxy:
    """The energy of a frame of these parts, at a clock and a rate in frames per second.

    With ``energy``, the model of a device, it is in microjoules, else in transitions of pins, those of the clock
    included. Both are the formulas of a build with ``--power``, but for a rate that may be below the full one.
    """
    cycles = clock_mhz * 1e6 / fps
    if energy is None:
        layers = {each.name: each.transitions + 2 * cycles * each.clocked for each in parts}
        return EnergyProxy("transitions", fps, layers, 0.0)
    layers = {
        each.name: energy.dynamic_pj(cycles, each.clocked, each.transitions, each.used.dsp * each.cycles) / 1e6
        for each in parts
    }
    return EnergyProxy("uJ", fps, layers, energy.base_pj(cycles, clock_mhz) / 1e6)


def parts_of_choice(graph: Graph, choice: Choice) -> list[Part]:
    """The parts of a folding of a graph, without FIFOs, whose depths are not known yet."""
    parts = [Part(node.name, node.kernel.role, choice.nodes[node.name], choice.cycles[node.name]) for node in graph]
    rest = choice.used - sum(choice.nodes.values(), Resources())
    return [*parts, Part(CONVERTERS, "plumbing", rest, choice.interval)]


def parts_of_hardware(hardware: Graph, device: Device, shares: Mapping[str, float] | None = None) -> list[Part]:
    """The parts of a folded graph with width converters and FIFOs; ``shares``: by node the share of frames that reach
    it, where some leave early."""
    return [
        Part(
            node.name,
            node.kernel.role,
            node.kernel.resources(device.family),
            node.kernel.interval * (shares or {}).get(node.name, 1.0),
        )
        for node in hardware
    ]
