"""A design point: the choices that turn a dataflow graph into hardware."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from flows.facts.network import Removed, RemovedFrom
from hw.folding.fmax import Fmax
from hw.ir.graph import Graph
from hw.ir.kernel import Folding
from hw.model import Model
from hw.passes import fold
from hw.passes.chains import fused
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import connected
from hw.passes.removal.remove import Removal, remove_channels


@dataclass(frozen=True, eq=False)
class DesignPoint:
    """A folding of a model's graph with the depths of its FIFOs (by edge) and its clock.

    ``granularity``: the channels that do nothing are removed from the graph, down to a multiple of this number in each
    layer (``hw.passes.removal``); 0: none is removed. ``parity``: the words of memories in block RAM have parity bits.
    ``fmax``: the estimated Fmax; None where there is no estimate for the device, and for a design point from a file.
    """

    model: Model
    parity: bool
    folding: fold.FoldingTable
    fifos: dict[str, int]
    clock_mhz: float
    fmax: Fmax | None = None
    granularity: int = 0

    @cached_property
    def removal(self) -> Removal:
        """The model's dataflow graph, and the one without channels that do nothing."""
        return remove_channels(self.model.graph, self.granularity)

    @cached_property
    def graph(self) -> Graph:
        """The dataflow graph that is folded; chains of lookup layers are one pipeline."""
        graph = fused(self.removal.graph)
        return graph.with_parity() if self.parity else graph

    @cached_property
    def hardware(self) -> Graph:
        """The graph with this folding, with width converters, and with FIFOs of these depths."""
        return insert_fifos(connected(apply_folding(self.graph, self.folding)), self.fifos)

    def with_fmax(self, fmax: Fmax | None) -> Self:
        """The same design point with its estimated Fmax."""
        return self._replaced(fmax=fmax)

    def with_clock(self, clock_mhz: float) -> Self:
        """The same design point with another clock."""
        return self._replaced(clock_mhz=clock_mhz)

    def _replaced(self, **changes: Any) -> Self:
        made = {name: value for name, value in vars(self).items() if name in ("removal", "graph", "hardware")}
        other = replace(self, **changes)
        vars(other).update(made)
        return other

    def to_json(self) -> dict[str, Any]:
        """``folding`` by node in FINN's attributes, ``fifos`` by edge, ``clock_mhz``; and ``removed``, what was removed
        and the granularity, where channels were."""
        folding = {name: each.attributes for name, each in self.folding.items()}
        content = {"folding": folding, "fifos": dict(self.fifos), "clock_mhz": self.clock_mhz}
        return content | ({"removed": self._removed().to_json()} if self.removal.layers else {})

    def _removed(self) -> Removed:
        layers = tuple(
            RemovedFrom(
                name=each.layer,
                channels=each.channels,
                constant=each.constant,
                equal=each.equal,
                unused=each.unused,
                weights=each.weights,
                summary=str(each),
                **({"table_bits": each.table_bits} if each.table_bits else {}),
            )
            for each in self.removal.layers
        )
        return Removed(granularity=self.granularity, weights=self.removal.weights, layers=layers)

    @classmethod
    def from_json(cls, model: Model, parity: bool, content: Mapping[str, Any]) -> Self:
        """The design point of ``model`` that ``to_json`` described; other keys are ignored."""
        folding = {name: Folding.of(attributes) for name, attributes in content["folding"].items()}
        granularity = (content.get("removed") or {"granularity": 0})["granularity"]
        return cls(model, parity, folding, dict(content["fifos"]), content["clock_mhz"], granularity=granularity)
