"""The minimum of a sum of costs that depend on one or two variables each, by variable elimination.

For all values of a variable's neighbours, a table holds the best value of the variable itself: dynamic programming,
generalised from chains to graphs (bucket elimination; Dechter, 1999). It is exact, and fast on graphs of small
treewidth, whose branches join again soon.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

LARGEST_TABLE = 1 << 24
"""Entries of the largest table; graphs that need a larger one are left to another method."""

Variables = tuple[int, ...]
Factor = tuple[Variables, np.ndarray]
"""Variables, and a cost that depends on them: an array with an axis for each."""


def minimise(factors: Sequence[Factor], sizes: Sequence[int]) -> list[int] | None:
    """The values (0 to ``sizes[i]`` - 1) of all variables that minimise the sum of the factors; None if that needs a
    table of more than LARGEST_TABLE entries."""
    if (tables := _tables(factors, sizes)) is None:
        return None
    values: dict[int, int] = {}
    for variable, scope, table in reversed(tables):
        values[variable] = int(np.argmin(table[tuple(values[v] for v in scope)]))
    return [values[i] for i in range(len(sizes))]


def minima(factors: Sequence[Factor], sizes: Sequence[int]) -> list[np.ndarray] | None:
    """By variable and its value, the minimum of the sum of the factors with that value; None as in ``minimise``."""
    if (tables := _tables(factors, sizes)) is None:
        return None
    total = sum(float(table.min()) for _, scope, table in tables if not scope)
    wholes: dict[int, tuple[Variables, np.ndarray]] = {}
    for variable, scope, table in reversed(tables):
        best = table.min(axis=-1)
        # What all other factors add, by the values of the scope: known of the first variable of it that is eliminated.
        rest = np.asarray(total - best)
        if scope:
            among, whole = next(wholes[v] for v, *_ in tables if v in scope)
            whole = whole.min(axis=tuple(i for i, v in enumerate(among) if v not in scope))
            around = _aligned((tuple(v for v in among if v in scope), whole), scope)
            rest = np.full(best.shape, np.inf)
            np.subtract(around, best, out=rest, where=np.isfinite(best))
        wholes[variable] = (*scope, variable), table + rest[..., None]
    found = (wholes[i] for i in range(len(sizes)))
    return [whole.min(axis=tuple(range(len(scope) - 1))) for scope, whole in found]


def _tables(factors: Sequence[Factor], sizes: Sequence[int]) -> list[tuple[int, Variables, np.ndarray]] | None:
    """The variables in the order of elimination, each with those on which its best value depends, and the sum of the
    factors and tables that have it, with its own axis last; None where one is too large."""
    order, largest = _order(tuple(scope for scope, _ in factors), tuple(sizes))
    if largest > LARGEST_TABLE:
        return None
    left = list(factors)
    tables: list[tuple[int, Variables, np.ndarray]] = []
    for variable, scope in order:
        table = np.asarray(sum(_aligned(each, (*scope, variable)) for each in left if variable in each[0]))
        left = [each for each in left if variable not in each[0]]
        left.append((scope, table.min(axis=-1)))
        tables.append((variable, scope, table))
    return tables


@lru_cache(maxsize=64)
def _order(scopes: tuple[Variables, ...], sizes: tuple[int, ...]) -> tuple[list[tuple[int, Variables]], int]:
    """The variables in the order of elimination, each with those on which its best value depends, and the entries of
    the largest table. The variable of the smallest table is next."""
    left, remaining = list(scopes), set(range(len(sizes)))
    order, largest = [], 0

    def around(variable: int) -> Variables:
        """The variables that share a factor with this one."""
        return tuple(sorted({v for scope in left if variable in scope for v in scope} - {variable}))

    def work(variable: int) -> int:
        return sizes[variable] * prod(sizes[v] for v in around(variable))

    while remaining:
        variable = min(remaining, key=lambda v: (work(v), v))
        scope = around(variable)
        largest = max(largest, work(variable))
        left = [*(each for each in left if variable not in each), scope]
        order.append((variable, scope))
        remaining.remove(variable)
    return order, largest


def _aligned(factor: Factor, scope: Variables) -> np.ndarray:
    """A factor's table with an axis for each variable of ``scope``."""
    variables, table = factor
    order = sorted(range(len(variables)), key=lambda i: scope.index(variables[i]))
    table = np.transpose(table, order)
    sizes = iter(table.shape)
    return table.reshape([next(sizes) if variable in variables else 1 for variable in scope])
