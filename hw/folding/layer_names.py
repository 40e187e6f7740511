"""Look-up of layers by the names that users know: ours, or those of the model's nodes and modules."""

from collections.abc import Sequence
from difflib import get_close_matches

from hw.host.errors import UsageError
from hw.ir.graph import Graph, Node

MOST_LISTED = 12
"""Layers that an error lists at most."""


class LayerNames:
    """The names of a graph's layers.

    A name of the model's node, or of a module, means the kernel with weights that was made from it, or else the last
    one: the convolution, not the sliding window before it. Of several nodes of a module it means those with weights.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._layers = {node.name: node for node in graph}
        self._nodes: dict[str, list[Node]] = {}
        self._modules: dict[str, list[Node]] = {}
        for node in graph:
            self._nodes.setdefault(node.origin.node, []).append(node)
        self._nodes.pop("", None)
        for name, kernels in self._nodes.items():
            self._nodes[name] = meant = _weighted(kernels) or kernels[-1:]
            if module := meant[0].origin.module:
                self._modules.setdefault(module, []).extend(meant)

    def known(self, name: str) -> bool:
        """Whether a layer, a node or a module has this name."""
        return name in self._layers or name in self._nodes or name in self._modules

    def find(self, name: str, module: str | None = None) -> Node:
        """The layer of this name. ``module`` is the layer's module, where it is stated beside the name.

        Raises UsageError, with the nearest names, for one that does not exist, and for one that means several layers.
        """
        found = self._meant(name)
        if module is not None and len(found) > 1:
            found = [node for node in found if node.origin.module == module] or found
        if not found:
            raise UsageError(f"no layer {name}; {self._hint(name)}")
        if len(found) > 1:
            titles = " and ".join(node.title for node in found)
            nodes = [node.origin.node or node.name for node in found]
            if len({*nodes}) < len(nodes):
                raise UsageError(
                    f"{name} is the name of {titles}; give the layer, {' or '.join(n.name for n in found)}"
                )
            raise UsageError(f"{name} is the name of {titles}; give the name of the model's node, {' or '.join(nodes)}")
        return found[0]

    def _meant(self, name: str) -> list[Node]:
        layer = self._layers.get(name)
        if layer is not None and name in (layer.origin.node, layer.origin.module):
            return [layer]  # As in graphs of FINN's, whose names are ours.
        modules = self._modules.get(name, [])
        candidates = [layer, *self._nodes.get(name, []), *(_weighted(modules) or modules)]
        return list(dict.fromkeys(node for node in candidates if node is not None))

    def _hint(self, name: str) -> str:
        near = get_close_matches(name, [*self._layers, *self._nodes, *self._modules], 3)
        if near:
            return f"did you mean {' or '.join(near)}?"
        titles = [node.title for node in self.graph]
        rest = len(titles) - MOST_LISTED
        return f"there are {', '.join(titles[:MOST_LISTED])}" + (f" and {rest} more" if rest > 0 else "")


def _weighted(nodes: Sequence[Node]) -> list[Node]:
    """Those with weights."""
    return [node for node in nodes if node.kernel.role == "compute"]
