"""Transitions that netlists of small networks have counted, by layer (``python -m benchmarks.energy``)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw.fabric.resources import Resources
from hw.folding.energy import Part
from hw.ir.kernel import Role

FILE = Path(__file__).parent / "energy" / "counts.json"


@dataclass(frozen=True)
class Layer:
    """A layer: the ``part`` with its estimated resources, what synthesis ``counted`` of these, the pins at the clock,
    and the transitions of a frame at all others."""

    name: str
    op: str
    part: Part
    counted: Resources
    clocked: int
    transitions: float


@dataclass(frozen=True)
class Network:
    """A network on a family: its interval in cycles, its layers; ``held_out``: the model was not fitted to it."""

    case: str
    family: str
    held_out: bool
    interval: int
    layers: tuple[Layer, ...]

    @property
    def counted(self) -> float:
        """Transitions of a frame at the full rate, those of the clock included, of all layers."""
        return sum(each.transitions + 2 * self.interval * each.clocked for each in self.layers)

    @property
    def estimated(self) -> float:
        """The same, as estimated."""
        return sum(each.part.transitions + 2 * self.interval * each.part.clocked for each in self.layers)


def read() -> list[dict[str, Any]]:
    """The content of the file; nothing where there is none."""
    return json.loads(FILE.read_text()) if FILE.is_file() else []


def networks() -> list[Network]:
    """All networks that were counted."""
    return [
        Network(
            each["case"],
            each["family"],
            each["held_out"],
            each["interval"],
            tuple(_layer(layer) for layer in each["layers"]),
        )
        for each in read()
    ]


def _layer(layer: dict[str, Any]) -> Layer:
    role: Role = layer["role"]
    part = Part(layer["name"], role, Resources(*layer["estimated"]), layer["cycles"])
    return Layer(layer["name"], layer["op"], part, Resources(*layer["counted"]), layer["clocked"], layer["transitions"])
