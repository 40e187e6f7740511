"""Exact search for the cheapest and for the fastest folding of a graph under the resource model.

``hw.folding.solver`` finds the foldings of nodes; here are the questions that are asked of them.

Foldings whose cost takes long to compute have a bound of it at first (``Kernel.least_resources``). Where a result
contains some, the cost of one is computed, and the search begins again: what holds with lower bounds of what was not
chosen holds with the costs. The bound of a constant matrix is measured, not proven, so the search is exact but for
matrices that cost less than it: of these it may miss one.

Products in lookup tables instead of DSP blocks (``Kernel.saves_dsps``) are no matter of cost. A DSP block that nothing
else needs is worth nothing, but as a share of a device it costs as much as the lookup tables of five to ten products.
So they are left out, and where the folding without them has more DSP blocks than the budget, a second search has them:
its cost is without DSP blocks, which are used as far as the budget goes.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.folding.solver import ROUNDING, Solver
from hw.folding.tables import CLOCK_MHZ, Foldings, FoldingTables, may_save_dsps, vector
from hw.ir.graph import Graph
from hw.ir.kernel import Folding
from hw.ir.verdicts import branches, shares

UNLIMITED = 1 << 40
"""A resource of a budget that has no limit on it."""
DSP = 3
"""Place of the DSP blocks in an array of resources."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A folding of the graph.

    ``folding`` names the nodes that have several legal foldings, or settings. The other fields are the cycles per
    frame, the resources including width converters, the cost (the weighted sum of the resources), and by node the
    resources of its kernel and its cycles per frame.
    """

    folding: dict[str, Folding]
    interval: int
    used: Resources
    cost: float
    nodes: dict[str, Resources] = field(default_factory=dict)
    cycles: dict[str, int] = field(default_factory=dict)


def weights(available: Resources) -> np.ndarray:
    """The cost of one unit of each resource: its share of the device."""
    have = vector(available)
    return np.where(have, 1 / np.maximum(have, 1), 1e3)


class Search:
    """The foldings of a graph's nodes and their resources, computed once for all queries.

    The cost is the sum, over all resources, of the share of ``available`` that the kernels and the width converters
    use. FIFOs are not counted: their depths are sized after the folding. ``most_cells``: the limit of every budget on
    logic cells, as the family's packer is estimated to fill them. ``clock_mhz``: the clock that the settings of
    foldings are chosen for. ``plain``: layers keep their kernels, and other implementations are not tried. Without
    ``low_rates`` those for low rates are not (``Kernel.for_low_rates``), without ``saving_dsps`` those that save DSP
    blocks (``Kernel.saves_dsps``) not even where nothing else is within a budget. ``tables``: where the foldings of
    kernels are kept, made for these settings; searches that share them compute each kernel once.

    ``going_on`` is the share of frames that go on at each early exit. The cycles of a node, and so all intervals, are
    those that it takes for a frame of the network on average.
    """

    def __init__(
        self,
        graph: Graph,
        family: Family,
        available: Resources,
        most_cells: float = np.inf,
        clock_mhz: float = CLOCK_MHZ,
        plain: bool = False,
        low_rates: bool = True,
        tables: FoldingTables | None = None,
        going_on: float = 1.0,
        saving_dsps: bool = True,
    ) -> None:
        self.graph, self.going_on = graph, going_on
        self.family = family
        self.names = [node.name for node in graph]
        self.titles = [node.title for node in graph]
        self.available = available
        self.most_cells = most_cells
        if tables is None:
            tables = FoldingTables(family, clock_mhz, plain, low_rates, bool(np.isfinite(most_cells)))
        self.tables = tables
        self.nodes = self.tables.nodes(graph)
        self.edges = self.tables.edges(graph, self.nodes)
        reach = [shares(graph, going_on)[node.name] for node in graph] if going_on < 1 and branches(graph) else []
        for number, share in enumerate(reach):
            cycles = np.array([mean_cycles(int(interval), share) for interval in self.nodes[number].intervals])
            self.nodes[number] = replace(self.nodes[number], intervals=cycles)
        self.weights = weights(available)
        if self.tables.per_cell is not None:
            self.weights = np.append(self.weights, 0)
        # What is minimised: the cost, without DSP blocks where there are kernels that save them.
        second = self.tables.saving_dsps and family.dsp_bits is not None
        self.minimised = self.weights * (np.arange(len(self.weights)) != DSP) if second else self.weights
        self._solver = Solver(self.nodes, self.edges, self.minimised)
        self._may_save_dsps = saving_dsps and not second
        self._known: dict[tuple[int, Resources | None], Choice | None] = {}
        self._known_feasible: dict[tuple[int, Resources], bool] = {}

    @cached_property
    def _saving(self) -> "Search | None":
        """The search that also has the implementations that save DSP blocks; None where the graph has no such."""
        if self.tables.plain or not self._may_save_dsps or not any(may_save_dsps(node.kernel) for node in self.graph):
            return None
        return Search(
            self.graph, self.family, self.available, self.most_cells,
            tables=self.tables.with_saving_dsps, going_on=self.going_on,
        )  # fmt: skip

    @cached_property
    def min_interval(self) -> tuple[int, str]:
        """The minimum interval in cycles of any folding, and the layer that limits it, with the user's name."""
        return max((int(node.intervals.min()), title) for node, title in zip(self.nodes, self.titles, strict=True))

    def least(self, resource: str) -> dict[str, int]:
        """By node: the minimum of one resource ("dsp", for example) in any folding."""
        search = self._saving or self
        place = list(vars(Resources())).index(resource)
        return {name: int(node.used[:, place].min()) for name, node in zip(self.names, search.nodes, strict=True)}

    @cached_property
    def intervals(self) -> list[int]:
        """Every interval in cycles that some folding of the graph may have, in increasing order."""
        every = {int(value) for node in self.nodes for value in node.intervals}
        return sorted(value for value in every if value >= self.min_interval[0])

    def cheapest(self, cycles: int, budget: Resources | None = None) -> Choice | None:
        """The cheapest folding of at most ``cycles`` cycles per frame within ``budget``; None if there is none.

        Where the budget has too few DSP blocks for it, kernels may save them, and they are no part of the cost."""
        if (cycles, budget) not in self._known:
            saving = None if budget is None else self._saving
            if budget is None or saving is None:
                found = self._cheapest_known(cycles, budget)
            else:
                found = self._cheapest_known(cycles, replace(budget, dsp=UNLIMITED))
                if found is None or found.used.dsp > budget.dsp:
                    found = saving.cheapest(cycles, budget)
            self._known[cycles, budget] = found
        return self._known[cycles, budget]

    def _cheapest_known(self, cycles: int, budget: Resources | None) -> Choice | None:
        """The cheapest folding within ``budget`` of those of this search, its costs computed."""
        picked = self._cheapest(cycles, budget)
        while picked is not None and self._priced(picked):
            picked = self._cheapest(cycles, budget)
        return None if picked is None else self._choice(picked)

    def _bounded(self, picked: Sequence[int]) -> list[tuple[Foldings, int]]:
        """The foldings among these that have a lower bound in place of their resources."""
        return [(node, i) for node, i in zip(self.nodes, picked, strict=True) if i in node.bounded]

    def _priced(self, picked: Sequence[int]) -> bool:
        """Whether a folding among these had a lower bound in place of its resources. If so, it has them now; of
        several, the one with the smallest bound."""
        if not (bounded := self._bounded(picked)):
            return False
        node, i = min(bounded, key=lambda each: float(each[0].used[each[1]] @ self.minimised))
        for other, kernel in list(node.bounded.items()):
            if node.foldings[other].implementation == node.foldings[i].implementation:
                node.replaced(other, self.tables.with_cells(vector(kernel.resources(self.family))))
        return True

    def _cheapest(self, cycles: int, budget: Resources | None) -> list[int] | None:
        if cycles < self.min_interval[0]:
            return None
        return self._solver.cheapest(cycles, self._limit(budget))

    def fastest(self, budget: Resources, cycles: int = 0) -> Choice | None:
        """The folding with the minimum interval of at least ``cycles`` within ``budget``; the cheapest of several.

        None if no folding is within the budget.
        """
        low, high = bisect_left(self.intervals, cycles), len(self.intervals)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._feasible(self.intervals[middle], budget) else (middle + 1, high)
        return self.cheapest(self.intervals[high], budget) if high < len(self.intervals) else None

    def near_fastest(self, budget: Resources, slack: float, step: float = 1.05) -> Iterator[Choice]:
        """The fastest folding within ``budget``, then cheapest foldings of longer intervals.

        Intervals reach up to ``slack`` times the minimum; each is at least ``step`` times the one before.
        """
        if (choice := self.fastest(budget)) is None:
            return
        yield choice
        cycles, longest = choice.interval, slack * choice.interval
        while (at := bisect_left(self.intervals, step * cycles)) < len(self.intervals):
            cycles = self.intervals[at]
            if cycles > longest:
                return
            if choice := self.cheapest(cycles, budget):
                yield choice

    def pareto_front(self, budget: Resources) -> list[Choice]:
        """The Pareto front of rate and resources within ``budget``, the fastest first; empty if nothing fits.

        Every entry is the cheapest folding of its interval, and no faster entry is as good: it is cheaper than all of
        them, its fullest resource is no fuller than theirs, and each takes more logic, block RAM or DSPs. (The cost
        alone would keep a folding that saves flip-flops at the price of lookup tables.)
        """
        result: list[Choice] = []
        if (first := self.fastest(budget)) is None:
            return result
        for cycles in self.intervals[bisect_left(self.intervals, first.interval) :]:
            choice = self.cheapest(cycles, budget)
            if choice is not None and not any(self.dominates(faster, choice) for faster in result):
                result.append(choice)
        return result

    def dominates(self, faster: Choice, slower: Choice) -> bool:
        """Whether no cost of ``slower`` is a reason to prefer it: neither the total nor the share of any resource.

        Flip-flops lie in the same cells as lookup tables, so the larger share of the two counts as logic.
        """
        mine, its = (vector(each.used) / np.maximum(vector(self.available), 1) for each in (faster, slower))
        areas = [(max(lut, ff), bram, dsp) for lut, ff, bram, dsp in (mine, its)]
        no_more = all(a <= b for a, b in zip(*areas, strict=True))
        return bool(faster.cost <= slower.cost * (1 + ROUNDING) or max(areas[0]) < max(areas[1]) or no_more)

    def _feasible(self, cycles: int, budget: Resources) -> bool:
        """Whether a folding of at most ``cycles`` cycles per frame is within ``budget``."""
        if (cycles, budget) not in self._known_feasible:
            limit = self._limit(budget)
            if self._saving is None:
                fits = self._some_fits(cycles, limit)
            else:
                known = self._solver.fitting(cycles, limit, known=True)
                fits = known is not None or self._saving._feasible(cycles, budget)
            self._known_feasible[cycles, budget] = fits
        return self._known_feasible[cycles, budget]

    def _some_fits(self, cycles: int, limit: np.ndarray) -> bool:
        """Whether a folding of at most ``cycles`` cycles per frame is within ``limit``. Costs that are not known yet
        are computed only where no folding of known cost fits."""
        while (fitting := self._solver.fitting(cycles, limit)) is not None:
            if not self._bounded(fitting) or self._solver.fitting(cycles, limit, known=True) is not None:
                return True
            self._priced(fitting)
        return False

    def _limit(self, budget: Resources | None) -> np.ndarray:
        """A budget as an array, with the limit on logic cells where it has one on lookup tables; None: no limits."""
        limit = np.full(len(self.weights), np.inf)
        if budget is not None:
            limit[:4], limit[4:] = vector(budget), self.most_cells if budget.lut < UNLIMITED else np.inf
        return limit

    def _choice(self, picked: Sequence[int]) -> Choice:
        chosen = list(zip(self.nodes, picked, strict=True))
        used = self._solver.used(picked)
        named = zip(self.names, chosen, strict=True)
        return Choice(
            {name: node.foldings[i] for name, (node, i) in named if len(node.foldings) > 1 or node.foldings[i].tunable},
            max(int(node.intervals[i]) for node, i in chosen),
            Resources(*map(int, used[:4])),
            float(used @ self.weights),
            {name: Resources(*map(int, node.used[i][:4])) for name, (node, i) in zip(self.names, chosen, strict=True)},
            {name: int(node.intervals[i]) for name, (node, i) in zip(self.names, chosen, strict=True)},
        )


def mean_cycles(interval: int, share: float) -> int:
    """The cycles that a kernel takes for a frame of the network, rounded up, where a ``share`` of them reaches it."""
    return interval if share == 1 else max(1, ceil(share * interval))


def fits(used: Resources, budget: Resources) -> bool:
    """Whether no resource exceeds the budget."""
    return bool((vector(used) <= vector(budget)).all())
