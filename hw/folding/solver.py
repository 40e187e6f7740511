"""The cheapest combination of the foldings of nodes, and any one, within limits of resources.

Every node is a variable. Its values are the lanes of its ports in its legal foldings; a value has the cost of the
cheapest folding with these lanes, and every edge has the cost of the width converters between its ends. A convolution
may have several forms (``hw.passes.columns``), each of both of its kernels; they count as different lanes of the edge
between, and no converter leads from one to another. Variable elimination (``hw.folding.elimination``) finds the minimum
of the sum; a residual block needs tables over two nodes. If the result exceeds the limit of a resource, the resources
get prices (Lagrangian relaxation; Everett, 1963): no folding within the limits costs less than the cheapest one at any
prices, what the limits are worth at them left out. Mostly one is found that costs no more. Otherwise an integer program
(``hw.folding.program``) finds the minimum among the foldings that this bound does not exclude.
"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from hw.folding.elimination import Factor, minima, minimise
from hw.folding.program import PROHIBITIVE, Edge, Options, dearest, prices, solve
from hw.folding.tables import Foldings

PRICES = 24
"""Prices of resources that are tried before an integer program is solved."""
CROSSED, CROSSINGS = 8, 12
"""Foldings that are crossed before an integer program is solved, and how often."""
ROUNDING = 1e-9
"""Rounding error of costs as shares of a limit."""


class Solver:
    """The ``nodes`` with their foldings, and the ``edges`` between them.

    ``weights`` (RESOURCES,) are the costs of one unit of each resource, the sum of which is minimised; limits are
    arrays of this shape, infinite where there is none. A result is the number of a folding for each node.
    """

    def __init__(self, nodes: Sequence[Foldings], edges: Sequence[Edge], weights: np.ndarray) -> None:
        self.nodes, self.edges, self.weights = nodes, edges, weights

    def cheapest(self, cycles: int, limit: np.ndarray) -> list[int] | None:
        """The cheapest folding of at most ``cycles`` cycles per frame within ``limit``; None if there is none."""
        picked = self._eliminated(cycles, self.weights)
        if picked is None:
            return self.programmed(cycles, limit, self.weights)
        used = self.used(picked)
        if (used <= limit).all():
            return picked
        for scarce in np.flatnonzero(used > limit):
            # In most such cases no folding fits one of the resources, even with that resource alone as the cost.
            leanest = self._eliminated(cycles, np.eye(len(limit))[scarce])
            if leanest and self.used(leanest)[scarce] > limit[scarce]:
                return None
        return self._cheapest_within(cycles, limit)

    def _cheapest_within(self, cycles: int, limit: np.ndarray) -> list[int] | None:
        """The cheapest folding of at most ``cycles`` cycles per frame within ``limit``, by prices of the resources."""
        bounded = np.flatnonzero(np.isfinite(limit))
        worth = np.where(limit > 0, limit, 1)[bounded]
        found: list[list[int]] = []
        costs: list[float] = []
        excess: list[np.ndarray] = []
        best, least, bound = None, np.inf, -np.inf
        asked = at = np.zeros(len(bounded))
        for _ in range(PRICES):
            picked = self._eliminated(cycles, self._at(asked, bounded, worth))
            if picked is None:
                return self.programmed(cycles, limit, self.weights)
            used = self.used(picked)
            found.append(picked)
            costs.append(float(used @ self.weights))
            excess.append((used - limit)[bounded] / worth)
            if (used <= limit).all() and costs[-1] < least:
                best, least = picked, costs[-1]
            if (value := costs[-1] + float(asked @ excess[-1])) > bound:
                bound, at = value, asked
            if bound >= least * (1 - ROUNDING):
                return best
            asked, most = prices(np.array(costs), np.array(excess))
            if most <= bound * (1 + ROUNDING):
                break
        if best is None and (best := self._crossed(found, limit)) is None:
            return self.programmed(cycles, limit, self.weights)
        weights = self._at(at, bounded, worth)
        least = float(self.used(best) @ self.weights) + float(at @ (limit[bounded] / worth))
        return self.programmed(cycles, limit, self.weights, most=(weights, least * (1 + ROUNDING))) or best

    def _at(self, asked: np.ndarray, bounded: np.ndarray, worth: np.ndarray) -> np.ndarray:
        """The cost of one unit of each resource at the prices ``asked`` for the ``bounded`` ones."""
        weights = self.weights.astype(float)
        weights[bounded] += asked / worth
        return weights

    def fitting(self, cycles: int, limit: np.ndarray, known: bool = False) -> list[int] | None:
        """A folding of at most ``cycles`` cycles per frame within ``limit``, of ``known`` costs only if so asked.

        Prices of the resources give an answer where the folding that is cheapest at them is within the limit, or costs
        more than the limit. The next prices are those at which the foldings so far exceed the limit most. Where a
        mixture of these is within the limit, no prices give an answer: foldings that take some layers from one and the
        others from another are tried, and then an integer program looks for any folding.
        """
        bounded = np.flatnonzero(np.isfinite(limit))
        worth = np.where(limit > 0, limit, 1)[bounded]
        prices = np.full(len(bounded), 1 / len(bounded))
        found: list[list[int]] = []
        excess: list[np.ndarray] = []
        for _ in range(PRICES):
            weights = np.zeros(len(limit))
            weights[bounded] = prices / worth
            picked = self._eliminated(cycles, weights, known)
            if picked is None:
                break
            used = self.used(picked)
            if (used <= limit).all():
                return picked
            found.append(picked)
            excess.append((used - limit)[bounded] / worth)
            if prices @ excess[-1] > ROUNDING:
                return None
            prices, least = dearest(np.array(excess))
            if least <= ROUNDING:
                break
        return self._crossed(found, limit) or self.programmed(cycles, limit, np.zeros(len(limit)), known)

    def _crossed(self, found: Sequence[Sequence[int]], limit: np.ndarray) -> list[int] | None:
        """A folding within ``limit`` that takes its first layers from one of these foldings, and the others from
        another; or from the best of those, and so on for a few times."""
        worth = np.where(limit > 0, limit, 1)

        def excess(used: np.ndarray) -> np.ndarray:
            return np.max((used - limit) / worth, axis=-1)

        pool = sorted(map(list, found), key=lambda each: excess(self.used(each)))[:CROSSED]
        pairs = list(permutations(pool, 2))
        for _ in range(CROSSINGS if pairs else 0):
            tried = [excess(self._spliced(*pair)) for pair in pairs]
            best = min(range(len(pairs)), key=lambda i: tried[i].min())
            (first, second), at = pairs[best], int(tried[best].argmin())
            spliced = [*first[:at], *second[at:]]
            if tried[best].min() <= 0:
                return spliced
            if spliced in pool:
                return None
            pairs = [pair for each in pool for pair in ((each, spliced), (spliced, each))]
            pool.append(spliced)
        return None

    def _spliced(self, first: Sequence[int], second: Sequence[int]) -> np.ndarray:
        """By k (0 to the number of nodes) the resources of the folding that has the first k nodes of ``first`` and the
        others of ``second``."""
        total = np.zeros((len(self.nodes) + 1, len(self.weights)))
        for i, node in enumerate(self.nodes):
            total[: i + 1] += node.used[second[i]]
            total[i + 1 :] += node.used[first[i]]
        for e in self.edges:
            writer, reader = self.nodes[e.writer].group, self.nodes[e.reader].group
            before, after = e.produced[writer[first[e.writer]]], e.produced[writer[second[e.writer]]]
            new, old = e.consumed[reader[first[e.reader]]], e.consumed[reader[second[e.reader]]]
            total[: e.writer + 1] += e.used[after, old]
            total[e.writer + 1 : e.reader + 1] += e.used[before, old]
            total[e.reader + 1 :] += e.used[before, new]
        return total

    def _factors(self, best: Sequence[np.ndarray], weights: np.ndarray) -> tuple[list[Factor], list[int]]:
        """The costs of nodes by their row of lanes, which are the ``best`` ones, and of edges; and the rows of each."""
        factors: list[Factor] = [((i,), costs) for i, costs in enumerate(best)]
        factors += [((e.writer, e.reader), e.cost(weights)) for e in self.edges]
        return factors, [len(costs) for costs in best]

    def _eliminated(self, cycles: int, weights: np.ndarray, known: bool = False) -> list[int] | None:
        found = [node.cheapest(cycles, weights, known) for node in self.nodes]
        best = minimise(*self._factors([costs for costs, _ in found], weights))
        if best is None:
            return None
        picked = [int(of[value]) for (_, of), value in zip(found, best, strict=True)]
        return None if self.used(picked).max() >= PROHIBITIVE else picked

    def _promising(self, cycles: int, weights: np.ndarray, most: float) -> list[np.ndarray]:
        """By node, whether each of its foldings can be part of one of at most ``cycles`` cycles per frame that costs no
        more than ``most``."""
        best = [node.cheapest(cycles, weights)[0] for node in self.nodes]
        least = minima(*self._factors(best, weights))
        assert least is not None, "the tables were small enough for the bound"
        with np.errstate(invalid="ignore"):  # infinite costs of rows without an eligible folding
            return [
                node.used @ weights <= most - (whole - own)[node.group]
                for node, whole, own in zip(self.nodes, least, best, strict=True)
            ]

    def programmed(
        self, cycles: int, budget: np.ndarray, weights: np.ndarray, known: bool = False,
        most: tuple[np.ndarray, float] | None = None,
    ) -> list[int] | None:  # fmt: skip
        """The cheapest folding within ``budget``, by an integer program. ``most``: only foldings of nodes that can be
        part of one which costs at most so much at these weights."""
        fast = [np.flatnonzero(node.eligible(cycles, known)) for node in self.nodes]
        if most is not None:
            promising = self._promising(cycles, *most)
            fast = [of[which[of]] for of, which in zip(fast, promising, strict=True)]
        if not all(len(of) for of in fast):
            return None
        options = [Options(node.used[of], node.group[of]) for node, of in zip(self.nodes, fast, strict=True)]
        picked = solve(options, self.edges, weights, budget)
        return None if picked is None else [int(of[i]) for of, i in zip(fast, picked, strict=True)]

    def used(self, picked: Sequence[int]) -> np.ndarray:
        """The resources of these foldings, and their logic cells where they are limited."""
        chosen = list(zip(self.nodes, picked, strict=True))
        rows = [node.group[i] for node, i in chosen]
        between = (e.used[e.produced[rows[e.writer]], e.consumed[rows[e.reader]]] for e in self.edges)
        return np.asarray(sum(node.used[i] for node, i in chosen) + sum(between))
