"""The reduced graph, and what was removed from the original one."""

from dataclasses import dataclass, replace

import numpy as np

from hw.host.steps import step
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.thermometer.kernel import Thermometer
from hw.passes.removal.analysis import analysed
from hw.passes.removal.channels import Channels
from hw.passes.removal.state import State, as_read, mixed

WHAT: dict[type[Kernel], str] = {
    Depthwise: "channels",
    LookupLayer: "tables",
    MatrixVector: "channels",
    PopcountClass: "classes",
    Thermometer: "bits",
}
"""The kernels of layers from which something is removed, and what their channels are."""


@dataclass(frozen=True)
class RemovedChannels:
    """What was removed from a layer: of its ``channels``, those that are ``constant``, that are ``equal`` to another
    one (or its negative), and that are ``unused``; and its ``weights``, those of removed inputs included, or the bits
    of its tables, ``table_bits``.

    ``title`` is the layer's name with the user's own. The channels of a lookup layer are its ``tables``, without those
    that only pass a bit on, those of an encoder ``bits``: ``what`` says so.
    """

    layer: str
    title: str
    channels: int
    constant: int
    equal: int
    unused: int
    weights: int
    table_bits: int = 0
    what: str = "channels"

    @property
    def removed(self) -> int:
        """The number of removed channels."""
        return self.constant + self.equal + self.unused

    def __str__(self) -> str:
        found = ((self.weights, "weight"), (self.table_bits, "table bit"))
        counted = [f"{number:,} {unit}{'s' if number != 1 else ''}" for number, unit in found if number]
        saved = f"saves {counted[0]}" if counted else ""
        if not self.removed:
            return f"{self.title}: reads fewer channels, {saved}"
        parts: list[str] = []
        for number, one, several in (
            (self.constant, "is constant", "are constant"),
            (self.equal, "equals another", "equal others"),
            (self.unused, "is unused", "are unused"),
        ):
            if number:
                of = f"{number} of {self.channels:,} {self.what}" if not parts else str(number)
                parts.append(f"{of} {one if number == 1 else several}")
        return f"{self.title}: {', '.join(parts)}: removed{f'; {saved}' if saved else ''}"


@dataclass(frozen=True, eq=False)
class Removal:
    """A graph without the channels that do nothing.

    - ``original``, ``graph``: the graph, and the reduced one, which computes the same outputs; the same object where
      nothing is removed. Nodes and edges have the same names in both;
    - ``granularity``: layers keep a multiple of this many channels, or all of them; 0: nothing was looked for;
    - ``channels``, ``kept``: by edge, how the channels of the original follow from those that are kept (C,), bool;
    - ``layers``: what was removed, by layer, those only from which something was.
    """

    original: Graph
    graph: Graph
    granularity: int
    channels: dict[str, Channels]
    kept: dict[str, np.ndarray]
    layers: tuple[RemovedChannels, ...]

    @property
    def weights(self) -> int:
        """The number of weights that are saved."""
        return sum(layer.weights for layer in self.layers)

    def read(self, node: Node, number: int = 0) -> tuple[Channels, np.ndarray]:
        """The channels of an input of a node of the original graph, and which of them are kept, in the node's shape."""
        channels, kept = self.channels[node.inputs[number]], self.kept[node.inputs[number]]
        size = node.kernel.inputs()[number].shape[-1]
        if (seen := as_read(channels, node, number)) is None:
            return mixed(channels, node, number), np.full(size, True)
        return seen, np.resize(kept, size)


def remove_channels(graph: Graph, granularity: int = 1) -> Removal:
    """Remove the channels of a graph, not folded, that do nothing: constant ones, equal ones, unused ones.

    The outputs are the same for every input. Layers keep a multiple of ``granularity`` channels, or all of them; 0
    removes nothing.
    """
    state = analysed(graph, granularity) if granularity else None
    if state is None or all(kept.all() for kept in state.kept.values()):
        return Removal(graph, graph, granularity, {}, {}, ())
    reduced = _rebuilt(state)
    return Removal(graph, reduced, granularity, state.channels, state.kept, tuple(_layers(state, reduced)))


def _rebuilt(state: State) -> Graph:
    """The graph with the kept channels."""
    graph = state.graph
    dtypes = {port.edge: graph.edges[port.edge].dtype for port in graph.inputs}
    nodes: list[Node] = []
    for node in graph:
        given = [dtypes[edge] for edge in node.inputs]
        if not _is_unchanged(state, node) or given != [each.dtype for each in node.kernel.inputs()]:
            node = replace(node, kernel=state.rule_of(node.kernel).rebuild(state, node, given))
        nodes.append(node)
        dtypes.update(zip(node.outputs, (each.dtype for each in node.kernel.outputs()), strict=True))
    return Graph(tuple(nodes), graph.inputs, tuple(_with_offset(port, state) for port in graph.outputs))


def _is_unchanged(state: State, node: Node) -> bool:
    """Whether a node has the channels that it had, and its inputs the integers."""
    inputs = range(len(node.inputs))
    kept = [*(state.kept_at(node, number) for number in inputs), *(state.kept[edge] for edge in node.outputs)]
    return all(each.all() for each in kept) and all(state.read(node, number).unchanged for number in inputs)


def _with_offset(port: Port, state: State) -> Port:
    """An output whose first host steps add the constants that were removed from its sums."""
    offset = state.channels[port.edge].offset
    if not offset.any():
        return port
    exact = step("Cast", to="float64")
    rest = port.steps[1:] if port.steps and (port.steps[0].op, port.steps[0].attributes) == (
        exact.op, exact.attributes
    ) else port.steps  # fmt: skip
    return replace(port, steps=(exact, step("Add", offset.astype(np.float64)), *rest))


def _layers(state: State, reduced: Graph) -> list[RemovedChannels]:
    """What was removed from the products with weights, and from lookup layers and their encoders."""
    readers: dict[str, list[Node]] = {}
    for node in state.graph:
        for edge in node.inputs:
            readers.setdefault(edge, []).append(node)
    found = []
    for before, after in zip(state.graph, reduced, strict=True):
        old, new = before.kernel, after.kernel
        what = WHAT.get(type(old))
        if what is None or old is new:
            continue
        [edge] = before.outputs
        counts = ~old.passes if isinstance(old, LookupLayer) else np.full(len(state.kept[edge]), True)
        gone = np.flatnonzero(~state.kept[edge] & counts)
        reasons = [_reason(state, readers, edge, int(channel)) for channel in gone]
        constant, equal, unused = (reasons.count(each) for each in ("constant", "equal", "unused"))
        weights, table_bits = (size(old) - size(new) for size in (_weights, _table_bits))
        if weights or table_bits or len(gone):
            counted = int(counts.sum()), constant, equal, unused
            found.append(RemovedChannels(before.name, before.title, *counted, weights, table_bits, what))
    return found


def _weights(kernel: Kernel) -> int:
    """The weights of a kernel, 0 without any."""
    return int(getattr(kernel, "weights", np.empty(0)).size)


def _table_bits(kernel: Kernel) -> int:
    return kernel.table_bits if isinstance(kernel, LookupLayer) else 0


def _reason(state: State, readers: dict[str, list[Node]], edge: str, channel: int) -> str:
    """Why a channel of an edge was removed: it is, or the codes that are computed from it are, ``constant``, ``equal``
    to others, or ``unused``."""
    channels = state.channels[edge]
    if channels.constant[channel]:
        return "constant"
    if not channels.own[channel]:
        return "equal"
    found = {
        _reason(state, readers, output, channel)
        for node in readers.get(edge, ())
        for output in node.outputs
        if node.kernel.role in ("quantize", "join") and state.sizes[output] == len(channels)
    }
    return next((each for each in ("constant", "equal") if each in found), "unused")
