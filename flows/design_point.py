"""A design point: the choices that turn a dataflow graph into hardware."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from hw.folding.fmax import Fmax
from hw.ir.graph import Graph
from hw.ir.kernel import Folding
from hw.model import Model
from hw.passes import fold
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters


@dataclass(frozen=True, eq=False)
class DesignPoint:
    """A folding of a model's graph with the depths of its FIFOs (by edge) and its clock.

    ``parity``: the words of memories in block RAM have parity bits. ``fmax``: the estimated Fmax; None where there is
    no estimate for the device, and for a design point from a file.
    """

    model: Model
    parity: bool
    folding: fold.FoldingTable
    fifos: dict[str, int]
    clock_mhz: float
    fmax: Fmax | None = None

    @cached_property
    def graph(self) -> Graph:
        """The model's dataflow graph, not folded."""
        return self.model.graph.with_parity() if self.parity else self.model.graph

    @cached_property
    def hardware(self) -> Graph:
        """The graph with this folding, with width converters, and with FIFOs of these depths."""
        return insert_fifos(insert_width_converters(apply_folding(self.graph, self.folding)), self.fifos)

    def with_fmax(self, fmax: Fmax | None) -> Self:
        """The same design point with its estimated Fmax."""
        return self._replaced(fmax=fmax)

    def with_clock(self, clock_mhz: float) -> Self:
        """The same design point with another clock."""
        return self._replaced(clock_mhz=clock_mhz)

    def _replaced(self, **changes: Any) -> Self:
        made = {name: value for name, value in vars(self).items() if name in ("graph", "hardware")}
        other = replace(self, **changes)
        vars(other).update(made)
        return other

    def to_json(self) -> dict[str, Any]:
        """``folding`` by node in FINN's attributes, ``fifos`` by edge, ``clock_mhz``."""
        folding = {name: each.attributes for name, each in self.folding.items()}
        return {"folding": folding, "fifos": dict(self.fifos), "clock_mhz": self.clock_mhz}

    @classmethod
    def from_json(cls, model: Model, parity: bool, content: Mapping[str, Any]) -> Self:
        """The design point of ``model`` that ``to_json`` described; other keys are ignored."""
        folding = {name: Folding.of(attributes) for name, attributes in content["folding"].items()}
        return cls(model, parity, folding, dict(content["fifos"]), content["clock_mhz"])
