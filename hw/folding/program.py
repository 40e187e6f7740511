"""The cheapest foldings within a budget of every resource, as an integer program that HiGHS solves to the optimum.

Every folding of every node is a binary variable, of which one per node is 1. Every edge has a flow variable for each
pair of lanes of its writer and its reader, which carries the cost of the width converters between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from hw.host.errors import BitfabricError

PROHIBITIVE = 1 << 40
"""The cost of an edge between two forms of a convolution: of more than any device has, so that it is never chosen."""
MOST = 100.0
"""The highest price of a resource: all of its limit costs as much as so many devices."""
KEPT = 16
"""Costs that are kept for an edge, and answers for a node."""
OPTIMAL, INFEASIBLE = 0, 2
"""Status codes of ``scipy.optimize.milp`` for solved problems: optimal and infeasible."""


@dataclass(frozen=True, eq=False)
class Options:
    """The foldings of a node: ``used`` (foldings, resources), and by folding ``rows``, its row of lanes."""

    used: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Edge:
    """An edge from node ``writer`` to node ``reader``.

    ``produced``: by row of the writer's lanes the index of the lanes of this edge; ``consumed``: the same for the
    reader. ``used``: the resources of the width converters between them, (produced, consumed, resources). ``costs``:
    what is known of ``cost``, shared by all graphs with such an edge.
    """

    writer: int
    reader: int
    produced: np.ndarray
    consumed: np.ndarray
    used: np.ndarray
    costs: dict[bytes, np.ndarray] = field(default_factory=dict)

    def cost(self, weights: np.ndarray) -> np.ndarray:
        """The weighted resources, by the rows of the writer's and of the reader's lanes."""
        key = weights.tobytes()
        if key not in self.costs:
            if len(self.costs) >= KEPT:
                self.costs.clear()
            self.costs[key] = (self.used @ weights)[self.produced][:, self.consumed]
        return self.costs[key]


def solve(
    options: Sequence[Options], edges: Sequence[Edge], weights: np.ndarray, budget: np.ndarray
) -> list[int] | None:
    """The index of each node's folding in the combination with the minimum weighted sum within ``budget``.

    A resource without a limit has an infinite budget. None if no combination is within the budget. Raises
    BitfabricError if the solver stops without a result.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    starts = np.cumsum([0, *(len(node.used) for node in options)])
    own = [np.arange(start, end) for start, end in pairwise(starts)]
    used = [node.used for node in options]
    count = int(starts[-1])
    rows: list[tuple[np.ndarray, np.ndarray, float, float]] = [(of, np.ones(len(of)), 1, 1) for of in own]
    for edge in edges:
        flow = count + np.arange(edge.used.shape[0] * edge.used.shape[1]).reshape(edge.used.shape[:2])
        count += flow.size
        used.append(edge.used.reshape(-1, edge.used.shape[2]))
        ends = ((edge.writer, edge.produced, flow), (edge.reader, edge.consumed, flow.T))
        for node, lanes, flows in ends:
            having = lanes[options[node].rows]
            for lane, through in enumerate(flows):
                here = own[node][having == lane]
                signs = np.concatenate((np.ones(len(through)), -np.ones(len(here))))
                rows.append((np.concatenate((through, here)), signs, 0, 0))
    costs = np.concatenate(used)
    possible = costs.max(axis=1) < PROHIBITIVE
    costs = costs * possible[:, None]
    scale = np.where(budget > 0, budget, 1)
    limited = np.flatnonzero(np.isfinite(budget))
    rows += [(np.arange(count), costs[:, r] / scale[r], -np.inf, budget[r] / scale[r]) for r in limited]
    weighed = costs @ weights
    while True:
        number = np.repeat(np.arange(len(rows)), [len(row[0]) for row in rows])
        entries = (np.concatenate([row[1] for row in rows]), (number, np.concatenate([row[0] for row in rows])))
        found = milp(
            weighed / weighed.max() if weighed.max() else weighed,
            constraints=LinearConstraint(
                coo_array(entries, shape=(len(rows), count)).tocsr(), [r[2] for r in rows], [r[3] for r in rows]
            ),
            integrality=np.arange(count) < starts[-1],
            bounds=Bounds(0, possible.astype(float)),
            options={"mip_rel_gap": 0},
        )
        if found.status == INFEASIBLE:
            return None
        if found.status != OPTIMAL:
            raise BitfabricError(f"the folding search found no answer: {found.message}")
        picked = [int(np.argmax(found.x[of])) for of in own]
        between = [
            edge.used[edge.produced[options[edge.writer].rows[picked[edge.writer]]],
                      edge.consumed[options[edge.reader].rows[picked[edge.reader]]]]
            for edge in edges
        ]  # fmt: skip
        total = sum([node.used[i] for node, i in zip(options, picked, strict=True)] + between)
        if (total <= budget).all():
            return picked
        # The solver computes in floating point: a solution that is over the budget by a rounding error is excluded.
        chosen = np.array([of[i] for of, i in zip(own, picked, strict=True)])
        rows.append((chosen, np.ones(len(chosen)), -np.inf, len(chosen) - 1))


def dearest(excess: np.ndarray) -> tuple[np.ndarray, float]:
    """The prices of resources, of sum 1, at which the cheapest of several combinations exceeds the limits most; and by
    how much it does: not at all where a mixture of the combinations is within the limits.

    ``excess``: by combination and resource, (used - limit) / limit.
    """
    from scipy.optimize import linprog

    count, resources = excess.shape
    found = linprog(
        [0] * resources + [-1],
        A_ub=np.hstack([-excess, np.ones((count, 1))]),
        b_ub=np.zeros(count),
        A_eq=[[1] * resources + [0]],
        b_eq=[1],
        bounds=[(0, None)] * resources + [(None, None)],
    )
    if found.status != OPTIMAL:
        raise BitfabricError(f"the folding search found no answer: {found.message}")
    return np.maximum(found.x[:-1], 0), float(found.x[-1])


def prices(costs: np.ndarray, excess: np.ndarray) -> tuple[np.ndarray, float]:
    """The prices of resources, from 0 to MOST, at which the cheapest of several combinations costs most, what it
    exceeds the limits by included; and that cost.

    ``costs``: of the combinations; ``excess``: by combination and resource, (used - limit) / limit.
    Raises BitfabricError if the solver stops without a result.
    """
    from scipy.optimize import linprog

    count, resources = excess.shape
    found = linprog(
        [0] * resources + [-1],
        A_ub=np.hstack([-excess, np.ones((count, 1))]),
        b_ub=costs,
        bounds=[(0, MOST)] * resources + [(None, None)],
    )
    if found.status != OPTIMAL:
        raise BitfabricError(f"the folding search found no answer: {found.message}")
    return np.maximum(found.x[:-1], 0), float(found.x[-1])
