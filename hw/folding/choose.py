"""Folding: how parallel every layer is. Chooses it for a rate or an area, applies it, reads and writes FINN's JSON.

The search (``hw.folding.search``) is exact under the resource model, the width converters between neighbours
counted in. FINN's SetFolding is greedy layer by layer and does not see the device.
"""

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.folding.search import Choice, Search, choices
from hw.host.errors import UsageError
from hw.ir.graph import Graph
from hw.passes.fold import FoldingTable


def fastest(graph: Graph) -> tuple[int, str]:
    """The least interval in cycles that any folding reaches, and the layer that limits it."""
    return max((min(k.interval for k in choices(node.kernel).values()), node.name) for node in graph)


def for_rate(search: Search, cycles: int) -> Choice:
    """The cheapest folding whose every layer takes at most ``cycles`` cycles a frame.

    A folding that fits the device is preferred to one that does not; where none fits, the cheapest is returned, and
    the check is the caller's. Raises BitfabricError when no folding is that fast, with the best possible interval and
    the layer that limits it.
    """
    if choice := search.cheapest(cycles, search.available) or search.cheapest(cycles):
        return choice
    least, layer = search.fastest
    raise UsageError(
        f"no folding reaches an interval of {cycles} cycles: layer {layer} needs at least {least} cycles a frame; "
        f"ask for a lower rate or a higher clock",
    )


def for_budget(search: Search, budget: Resources, cycles: int = 0) -> Choice:
    """The fastest folding of at least ``cycles`` cycles that is estimated to take at most ``budget``, and of those the
    cheapest.

    Where even the smallest folding takes more, it is returned: whether it fits is the caller's check.
    """
    choice = search.quickest(budget, cycles) or search.cheapest(search.intervals[-1])
    assert choice is not None, "the slowest interval has a folding"
    return choice


def for_cycles(graph: Graph, cycles: int, family: Family, available: Resources) -> FoldingTable:
    """The folding of ``for_rate`` on a device with so much ``available``."""
    return for_rate(Search(graph, family, available), cycles).folding


def for_area(graph: Graph, share: float, family: Family, available: Resources) -> FoldingTable:
    """The folding of ``for_budget`` for a share of what is ``available``."""
    budget = Resources(**{name: int(share * have) for name, have in vars(available).items()})
    return for_budget(Search(graph, family, available), budget).folding


def pareto(graph: Graph, family: Family, available: Resources) -> list[Choice]:
    """The Pareto front of interval and cost among the foldings that fit, the fastest first; empty if none fits.

    Every point is the cheapest folding of its interval, and no faster one costs as little.
    """
    return Search(graph, family, available).front(available)


def estimate_resources(graph: Graph, family: Family) -> Resources:
    """The resource model's sum over all kernels."""
    return sum((node.kernel.resources(family) for node in graph), Resources())
