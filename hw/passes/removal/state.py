"""The state of an analysis: what is known of every edge, what must not be removed, and what remains."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.ir.graph import Graph, Node
from hw.ir.kernel import Kernel
from hw.kernels.lookup_layer.support import Table
from hw.passes.removal.channels import Channels, refined


def stated_range(kernel: Kernel, number: int) -> tuple[int, int] | None:
    """The range of an input that a kernel states, where it is narrower than that of its type."""
    ranges = getattr(kernel, "input_ranges", None)
    found: tuple[int, int] | None = ranges[number] if ranges else getattr(kernel, "input_range", None)
    return found


def as_read(channels: Channels, node: Node, number: int) -> Channels | None:
    """The channels of an edge in the shape of its reader, within the range that the reader states.

    An image is read as a vector, for example. None where a channel of the reader is several of the writer.
    """
    size = node.kernel.inputs()[number].shape[-1]
    if size % len(channels):
        return None
    seen = channels if size == len(channels) else channels.tiled(size // len(channels))
    return seen.clipped(stated_range(node.kernel, number))


def mixed(channels: Channels, node: Node, number: int) -> Channels:
    """The channels of a reader each of which is several of the writer: nothing is removed from them."""
    size = node.kernel.inputs()[number].shape[-1]
    ends = (np.full(size, end) for end in (int(channels.low.min()), int(channels.high.max())))
    return Channels.independent(*ends).clipped(stated_range(node.kernel, number))


class State:
    """What is known of the channels of a graph's edges. All arrays have one entry for each channel of the edge's
    writer, (C,).

    - ``channels``: by edge, how its channels follow from those of the reduced graph;
    - ``parts``: by edge, a partition: channels follow only from channels of the same part. A channel of a part other
      than -1 is never a constant, but a part of one channel stays as it is;
    - ``level``: the edges whose integers must be those of the original graph, without an offset;
    - ``kept``: by edge, the channels that the reduced graph has; ``forced``: those that it has in any case;
    - ``changed``: whether ``parts``, ``level`` or ``forced`` have changed since it was last set to False;
    - ``matrices``: by node, the matrix of the reduced graph, with the rows and columns of all channels;
    - ``tables``: by node, the tables of a lookup layer in the reduced graph, of all its channels.
    """

    def __init__(self, graph: Graph, rule_of: "Callable[[Kernel], Rule]") -> None:
        self.graph = graph
        self.rule_of = rule_of
        self.writers = {edge: node for node in graph for edge in node.outputs}
        sizes = {port.edge: graph.edges[port.edge].shape[-1] for port in graph.inputs}
        for node in graph:
            sizes.update(zip(node.outputs, (each.shape[-1] for each in node.kernel.outputs()), strict=True))
        self.sizes = sizes
        self.parts = {edge: np.full(size, -1) for edge, size in sizes.items()}
        self.forced = {edge: np.zeros(size, bool) for edge, size in sizes.items()}
        self.kept: dict[str, np.ndarray] = {}
        self.channels: dict[str, Channels] = {}
        self.matrices: dict[str, np.ndarray] = {}
        self.tables: dict[str, list[Table]] = {}
        self.level: set[str] = set()
        self.changed = False

    def read(self, node: Node, number: int = 0) -> Channels:
        """The channels of a node's input, in the reader's shape."""
        edge = node.inputs[number]
        have = self.channels[edge]
        if (seen := as_read(have, node, number)) is not None:
            return seen
        self.refuse(edge, ~have.own)
        self.keep_level(edge)
        return mixed(have, node, number)

    def kept_at(self, node: Node, number: int = 0) -> np.ndarray:
        """The kept channels of a node's input, in the reader's shape."""
        kept, size = self.kept[node.inputs[number]], node.kernel.inputs()[number].shape[-1]
        return np.resize(kept, size) if size % len(kept) == 0 else np.ones(size, bool)

    def keep_at(self, node: Node, channels: np.ndarray, number: int = 0) -> None:
        """Keep channels of a node's input: bool, in the reader's shape."""
        edge = node.inputs[number]
        size = self.sizes[edge]
        if len(channels) % size == 0:
            self.keep(edge, np.any(channels.reshape(-1, size), axis=0))
        else:
            self.keep(edge, np.full(size, True))

    def keep(self, edge: str, channels: np.ndarray) -> None:
        """Keep channels of an edge, bool."""
        self.kept[edge] = self.kept[edge] | channels

    def refuse_at(self, node: Node, channels: np.ndarray, number: int = 0) -> None:
        """``refuse`` for a node's input, in the reader's shape."""
        edge = node.inputs[number]
        size = self.sizes[edge]
        if len(channels) % size:
            self.refuse(edge, np.full(size, True))
            return
        for each in channels.reshape(-1, size):
            self.refuse(edge, each)

    def refuse(self, edge: str, channels: np.ndarray) -> None:
        """State what must not be removed from an edge.

        ``channels`` (C,): bool, those that must not follow from others; or labels of a partition, -1 for channels that
        it does not concern. Kernels that pass channels on refuse it to their inputs.
        """
        labels = np.where(channels, np.arange(len(channels)), -1) if channels.dtype == bool else channels
        if not (labels >= 0).any() or edge not in self.writers:
            return
        writer = self.writers[edge]
        if not self.rule_of(writer.kernel).refuse(self, writer, labels):
            made = refined(self.parts[edge], labels)
            self.changed |= bool((made != self.parts[edge]).any())
            self.parts[edge] = made

    def follow(self, node: Node, channels: np.ndarray) -> None:
        """Keep channels (C,), bool, of a node's outputs because its inputs have them; those that are not their own
        sources are refused."""
        for edge in node.outputs:
            own = self.channels[edge].own
            self.keep(edge, channels & own)
            self.refuse(edge, channels & ~own)

    def keep_level(self, edge: str) -> None:
        """State that the integers of an edge must be those of the original graph."""
        writer = self.writers.get(edge)
        if writer is None or edge in self.level:
            return
        self.level.add(edge)
        self.changed = True
        if self.rule_of(writer.kernel).passes_offsets:
            for each in writer.inputs:
                self.keep_level(each)

    def force(self, edge: str, channels: np.ndarray) -> None:
        """Keep channels of an edge, bool, as they are in the original graph."""
        self.forced[edge] = self.forced[edge] | channels
        self.refuse(edge, channels)
        self.changed = True


class Rule(ABC):
    """How a kernel's outputs follow from its inputs, channel by channel, and the kernel with fewer channels."""

    passes_offsets = False
    """Whether an offset of its inputs is one of its outputs."""

    @abstractmethod
    def forward(self, state: State, node: Node) -> list[Channels]:
        """The channels of the outputs. It refuses what the reduced kernel could not compute."""

    def refuse(self, state: State, node: Node, labels: np.ndarray) -> bool:
        """Refuse a partition of the outputs' channels (``State.refuse``) to the inputs; False if this kernel can obey
        it itself."""
        return False

    @abstractmethod
    def need(self, state: State, node: Node) -> None:
        """Keep the channels of the inputs that the kept ones of the outputs need."""

    def follow(self, state: State, node: Node) -> None:
        """Keep the channels of the outputs that belong to kept ones of the inputs, where they cannot be parted."""
        return

    @abstractmethod
    def rebuild(self, state: State, node: Node, dtypes: list[BaseDataType]) -> Any:
        """The kernel with the kept channels, for inputs of these types; called only where one of them has changed."""
