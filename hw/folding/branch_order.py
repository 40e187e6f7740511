"""The order of layers on parallel branches, which another tool may list in another order than our graph."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from hw.ir.graph import Graph, Node

MOST_TRIES = 20_000
"""Steps of the search for an order."""


def ancestors(graph: Graph) -> dict[str, frozenset[str]]:
    """By layer, the layers on which it depends."""
    of_edge: dict[str, frozenset[str]] = {port.edge: frozenset() for port in graph.inputs}
    found = {}
    for node in graph:
        before = frozenset().union(*(of_edge[edge] for edge in node.inputs))
        found[node.name] = before
        of_edge.update(dict.fromkeys(node.outputs, before | {node.name}))
    return found


def find_order(
    layers: Sequence[Node | None],
    before: Mapping[str, frozenset[str]],
    fits: Callable[[int, Node], bool],
) -> list[Node | None] | None:
    """An order of ``layers`` in which each fits its place and comes after those on which it depends.

    ``before`` are the layers on which each depends; ``fits`` says whether a layer fits a place. Of several orders the
    one nearest to the given one is returned. What is None stays where it is. None where there is no order.
    """
    names = {node.name for node in layers if node is not None}
    needed = {node.name: before[node.name] & names for node in layers if node is not None}
    chosen: list[Node | None] = []
    used: set[str] = set()
    tried = [0]
    for _ in range(MOST_TRIES):
        place = len(chosen)
        if place == len(layers):
            return chosen
        found = next(
            (i for i in range(tried[-1], len(layers)) if _possible(layers, i, place, used, needed, fits)), None
        )
        if found is not None:
            node = layers[found]
            tried[-1] = found + 1
            tried.append(0)
            chosen.append(node)
            used.update([node.name] if node else [])
            continue
        tried.pop()
        if not chosen:
            return None
        last = chosen.pop()
        used.difference_update([last.name] if last else [])
    return None


def _possible(
    layers: Sequence[Node | None],
    index: int,
    place: int,
    used: set[str],
    needed: Mapping[str, frozenset[str]],
    fits: Callable[[int, Node], bool],
) -> bool:
    node = layers[index]
    if layers[place] is None or node is None:
        return index == place
    return node.name not in used and needed[node.name] <= used and fits(place, node)


def first_doubt(
    layers: Sequence[Node | None], before: Mapping[str, frozenset[str]], fits: Callable[[int, Node], bool]
) -> tuple[int, Node, Node] | None:
    """The first two neighbours that could as well be in the other order: the place, and both layers."""
    for place, (one, other) in enumerate(pairwise(layers)):
        if one is None or other is None or one.name in before[other.name]:
            continue
        if fits(place, other) and fits(place + 1, one):
            return place, one, other
    return None
