"""Soft errors: what a network gives when bits of its memories are flipped: weights, thresholds, constants of requants.

The emulator computes what the hardware would (see ``hw.faults.damage``), in the damaged layer and in those behind it.
Every bit of every memory file of the RTL can be flipped, and counts once, where a memory that lanes share has copies
too.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hw.families.ecp5 import ECP5
from hw.faults.damage import bits, damaged
from hw.host.errors import UsageError
from hw.ir.graph import Graph


class SoftErrors:
    """A graph whose memories can be damaged. ``layers`` has the bits of every layer that has some; ``left_out`` the
    layers with memories whose bits cannot be flipped."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._bits = [bits(node.kernel) for node in graph]
        counted = list(zip(graph, self._bits, strict=True))
        self.layers = {node.name: count for node, count in counted if count}
        self.left_out = [node.name for node, count in counted if not count and node.kernel.rtl(ECP5).memories]
        if not self.layers:
            raise UsageError("the network has no weight or threshold memory whose bits could be flipped")

    @property
    def bits(self) -> int:
        """Bits of all the memories."""
        return sum(self._bits)

    def damaged(self, flips: Sequence[int] | np.ndarray) -> Graph:
        """The graph with these bits flipped, counted from 0 through the layers in order."""
        nodes, first, some = list(self.graph.nodes), 0, False
        flips = np.asarray(flips, np.int64)
        for i, count in enumerate(self._bits):
            here = flips[(flips >= first) & (flips < first + count)] - first
            some = some or len(here) > 0
            if some:  # what the damaged layer gives may be what those behind it never see otherwise
                nodes[i] = replace(nodes[i], kernel=damaged(nodes[i].kernel, here))
            first += count
        return replace(self.graph, nodes=tuple(nodes))

    def random(self, count: int, rng: np.random.Generator) -> Graph:
        """The graph with ``count`` different bits flipped. Raises UsageError for more than it has."""
        if not 0 <= count <= self.bits:
            raise UsageError(f"{count} bits to flip; the memories have {self.bits}")
        return self.damaged(rng.choice(self.bits, count, replace=False))
