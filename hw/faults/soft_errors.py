"""Soft errors: emulation of a network with flipped bits in its memories (weights, thresholds, requant parameters).

The emulator computes what the hardware would compute, in the damaged layer and in all layers after it; the modules
``damage.py`` in the kernels' folders model that. Every bit of every memory file of the RTL can be flipped. A memory
that lanes share has several copies in hardware, and counts once here.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hw import kernels
from hw.families.ecp5 import ECP5
from hw.host.errors import UsageError
from hw.ir.graph import Graph
from hw.ir.kernel import Kernel


class SoftErrors:
    """A graph whose memories can be damaged.

    ``layers``: number of bits by layer, of the layers with memories. ``left_out``: the layers with memories whose bits
    cannot be flipped, because their kernels have no ``damage.py``. Raises UsageError for a graph without memories.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._bits = [_bits(node.kernel) for node in graph]
        counted = list(zip(graph, self._bits, strict=True))
        self.layers = {node.name: count for node, count in counted if count}
        self.left_out = [node.name for node, count in counted if not count and node.kernel.rtl(ECP5).memories]
        if not self.layers:
            raise UsageError("the network has no weight or threshold memory whose bits could be flipped")

    @property
    def bits(self) -> int:
        """Total bits of all memories."""
        return sum(self._bits)

    def damaged(self, flips: Sequence[int] | np.ndarray) -> Graph:
        """The graph with these bits flipped, counted from 0 through the layers in order."""
        nodes, first, some = list(self.graph.nodes), 0, False
        flips = np.asarray(flips, np.int64)
        for i, count in enumerate(self._bits):
            here = flips[(flips >= first) & (flips < first + count)] - first
            some = some or len(here) > 0
            if some:  # a damaged layer may output values outside the range that the layers after it expect
                nodes[i] = replace(nodes[i], kernel=_damaged(nodes[i].kernel, here))
            first += count
        return replace(self.graph, nodes=tuple(nodes))

    def random(self, count: int, rng: np.random.Generator) -> Graph:
        """The graph with ``count`` different bits flipped. Raises UsageError for more than it has."""
        if not 0 <= count <= self.bits:
            raise UsageError(f"{count} bits to flip; the memories have {self.bits}")
        return self.damaged(rng.choice(self.bits, count, replace=False))


def _bits(kernel: Kernel) -> int:
    """Bits of a kernel's memories that can be flipped."""
    module = kernels.damage(type(kernel))
    return module.bits(kernel) if module else 0


def _damaged(kernel: Kernel, flips: np.ndarray) -> Kernel:
    """The kernel with these memory bits flipped; the kernel itself where out-of-range inputs need no special model."""
    module = kernels.damage(type(kernel))
    return module.damaged(kernel, flips) if module else kernel
