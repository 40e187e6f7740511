"""Widths of all layers together: the trade between predicted loss and cost, by dynamic programming."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.explore.cost_table import Cost, CostTable
from flows.explore.retype import Values, leaving
from flows.explore.variants import Variants
from hw.folding.elimination import Factor, minimise
from hw.host.errors import BitfabricError
from hw.ir.graph import Node

if TYPE_CHECKING:
    from quant.models.widths import Width

PRICES = 48
"""Prices of a unit of predicted loss, for each of which a point of the front is found."""
Loss = Mapping[tuple[str, "Width"], float]
"""The predicted growth of the loss by layer or activation and width."""


@dataclass(frozen=True)
class Point:
    """A choice of the widths of ``layers`` and ``activations``, its predicted growth of the loss, and its cost."""

    layers: Mapping[str, "Width"]
    activations: Mapping[str, int]
    loss: float
    cost: Cost

    def to_json(self) -> dict[str, Any]:
        """The point as values of JSON."""
        return {
            "layers": dict(self.layers),
            "activations": dict(self.activations),
            "loss": self.loss,
            "cost": self.cost.to_json(),
        }


def separable_costs(
    variants: Variants, table: CostTable, widths: Mapping[str, Sequence["Width"]]
) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """By node, the layers and activations that its cost depends on, and that cost: an array with an axis for each.

    ``widths``: the possible ones by layer and activation. The cost is the share of the device that the node's cheapest
    folding at the rate takes, by itself; infinite where none is fast enough. Width converters are not counted.
    """
    retyping, cycles = variants.retyping, table.cycles
    assert cycles is not None, "a cost by node is that at a rate"
    weights = table.search(retyping.graph).weights
    types: dict[str, tuple[tuple[str, ...], dict[tuple[Any, ...], Any]]] = {
        port.edge: ((), {(): Values.of(retyping.graph.edges[port.edge].dtype)}) for port in retyping.graph.inputs
    }
    found = []
    for node in retyping.graph:
        own = (node.origin.module,) if retyping.is_layer(node) or retyping.is_activation(node) else ()
        names = tuple(dict.fromkeys([name for edge in node.inputs for name in types[edge][0]] + list(own)))
        costs = np.empty([len(widths[name]) for name in names])
        made: dict[tuple[Any, ...], Any] = {}
        for values in product(*(range(size) for size in costs.shape)):
            chosen = {name: widths[name][i] for name, i in zip(names, values, strict=True)}
            entering = tuple(
                types[edge][1][tuple(chosen[name] for name in types[edge][0])] for edge in node.inputs
            )  # fmt: skip
            kernel = retyping.kernel(node, entering, _choice(variants, node, chosen))
            foldings = table.tables.of(kernel)
            costs[values] = foldings.cheapest(cycles, weights)[0].min()
            made[tuple(chosen.values())] = leaving(kernel, entering)
        found.append((names, costs))
        kept = own if retyping.is_activation(node) else names
        at = [names.index(name) for name in kept]
        for port, edge in enumerate(node.outputs):
            types[edge] = kept, {tuple(key[i] for i in at): each[port] for key, each in made.items()}
    return found


def _choice(variants: Variants, node: Node, chosen: Mapping[str, Any]) -> Any:
    if variants.retyping.is_layer(node):
        return variants.weights(node.origin.module, chosen[node.origin.module])
    if variants.retyping.is_activation(node):
        return chosen[node.origin.module]
    return None


def front(
    variants: Variants, table: CostTable, widths: Mapping[str, Sequence["Width"]], loss: Loss, prices: int = PRICES
) -> list[Point]:
    """The Pareto front of predicted loss and cost, the cheapest first.

    For each of several prices the sum of cost and price times loss is minimised over all combinations of widths, by
    variable elimination, under the costs of ``separable_costs``. Each result is then costed as a whole, with its width
    converters, and those that another one dominates are left out.

    Raises BitfabricError where no combination reaches the rate; the message names the fastest possible.
    """
    names = list(widths)
    costs = separable_costs(variants, table, widths)
    at = {name: i for i, name in enumerate(names)}
    sizes = [len(widths[name]) for name in names]
    hardware: list[Factor] = [
        (tuple(at[name] for name in scope), np.where(np.isfinite(cost), cost, 1e6)) for scope, cost in costs if scope
    ]
    losses = [np.array([max(0.0, loss[name, width]) for width in widths[name]]) for name in names]
    largest = sum(float(each.max()) for each in losses)
    points: dict[tuple[Any, ...], Point] = {}
    scale = sum(float(cost[np.isfinite(cost)].max(initial=0.0)) for _, cost in costs) / max(largest, 1e-12)
    for price in (0.0, *np.geomspace(scale * 1e-4, scale * 1e5, prices)):
        factors = [*hardware, *(((i,), price * each) for i, each in enumerate(losses))]
        values = minimise(factors, sizes)
        if values is None:
            raise BitfabricError("the network has too many parallel branches for this many widths: give fewer")
        picked = tuple(widths[name][i] for name, i in zip(names, values, strict=True))
        if picked not in points:
            chosen = dict(zip(names, picked, strict=True))
            layers = {name: chosen[name] for name in variants.layers}
            activations = {name: int(chosen[name]) for name in variants.activations}
            total = sum(float(each[i]) for each, i in zip(losses, values, strict=True))
            points[picked] = Point(layers, activations, total, table.cost(variants.graph(layers, activations)))
    fast = [point for point in points.values() if not point.cost.why.startswith("layer ")]
    if not fast:
        raise BitfabricError(f"no widths reach the rate: {next(iter(points.values())).cost.why}; ask for no more")
    return nondominated(fast)


def nondominated(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in loss and share of the device, the cheapest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda each: (each.cost.share, each.loss)):
        if not kept or point.loss < kept[-1].loss:
            kept.append(point)
    return kept
