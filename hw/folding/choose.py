"""Folding: the parallelism of every layer, chosen for a rate or for an area.

The search (``hw.folding.search``) is exact under the resource model, which includes the width converters between
neighbours. FINN's SetFolding is greedy, layer by layer, and does not consider the device.
"""

from dataclasses import replace

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.folding.search import Choice, Search, weights
from hw.folding.tables import CLOCK_MHZ, vector
from hw.host.errors import UsageError
from hw.ir.graph import Graph
from hw.ir.kernel import SETTINGS
from hw.passes.fold import FoldingTable, apply_folding


def for_rate(search: Search, cycles: int, limit: Resources | None = None) -> Choice:
    """The cheapest folding in which every layer needs at most ``cycles`` cycles per frame.

    A folding within ``limit`` (default: that fits the device) is preferred. If none fits, the cheapest is returned, and
    the caller must check it. Raises BitfabricError if no folding is that fast; the message states the minimum interval
    and the layer that limits it.
    """
    if choice := search.cheapest(cycles, limit or search.available) or search.cheapest(cycles):
        return choice
    minimum, layer = search.min_interval
    raise UsageError(
        f"no folding reaches an interval of {cycles} cycles: layer {layer} needs at least {minimum} cycles a frame; "
        f"ask for a lower rate or a higher clock",
    )


def for_budget(search: Search, budget: Resources, cycles: int = 0, limits: Resources | None = None) -> Choice:
    """The fastest folding within ``budget`` of at least ``cycles`` cycles per frame; the cheapest of equally fast ones.

    If even the smallest folding exceeds the budget, that one is returned, and the caller must check it: the smallest
    within ``limits`` if there is one.
    """
    slowest = search.intervals[-1]
    choice = search.fastest(budget, cycles) or search.cheapest(slowest, limits) or search.cheapest(slowest)
    assert choice is not None, "the slowest interval has a folding"
    return choice


def for_cycles(
    graph: Graph, cycles: int, family: Family, available: Resources, clock_mhz: float = CLOCK_MHZ, plain: bool = False
) -> FoldingTable:
    """The folding of ``for_rate`` on a device with the resources ``available``; for the other arguments see Search."""
    return for_rate(Search(graph, family, available, clock_mhz=clock_mhz, plain=plain), cycles).folding


def for_area(
    graph: Graph, share: float, family: Family, available: Resources, clock_mhz: float = CLOCK_MHZ, plain: bool = False
) -> FoldingTable:
    """The folding of ``for_budget`` for a share (0 to 1) of every resource ``available``; see ``for_cycles``."""
    budget = Resources(**{name: int(share * have) for name, have in vars(available).items()})
    return for_budget(Search(graph, family, available, clock_mhz=clock_mhz, plain=plain), budget).folding


def tuned(graph: Graph, table: FoldingTable, family: Family, clock_mhz: float) -> FoldingTable:
    """The folding ``table`` with the settings of its kernels (see Folding) for another clock."""
    folded = apply_folding(graph, table)
    made: FoldingTable = {}
    for name, folding in table.items():
        suited = folded.node(name).kernel.tuned(family, clock_mhz).folding
        made[name] = replace(folding, **{each: getattr(suited, each) for each in SETTINGS if getattr(folding, each)})
    return made


def cost(used: Resources, available: Resources) -> float:
    """The cost of resources on a device: the sum of their shares of what is ``available``, as in ``Search``."""
    return float(weights(available) @ vector(used))


def estimate_resources(graph: Graph, family: Family) -> Resources:
    """The resource model's sum over all kernels."""
    return sum((node.kernel.resources(family) for node in graph), Resources())
