"""The dataflow graph: kernels connected by streams, and ports that record what the host computes."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from hw.host.errors import BitfabricError, UsageError
from hw.host.steps import HostStep, run
from hw.ir import html
from hw.ir.frames import checked
from hw.ir.kernel import Kernel
from hw.ir.origin import Origin
from hw.ir.stream import Stream


@dataclass(frozen=True)
class Node:
    """One kernel and the edges that it reads and writes, by name.

    ``name`` identifies the node in its graph; ``origin`` holds the user's names of what it was made from.
    """

    name: str
    kernel: Kernel
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    origin: Origin = field(default_factory=Origin)

    @property
    def title(self) -> str:
        """The name, followed by the user's own in parentheses: ``conv0 (blocks.0.first.conv)``."""
        own = self.origin.name
        return f"{self.name} ({own})" if own and own != self.name else self.name


@dataclass(frozen=True)
class Port:
    """An input or output of the accelerator: a tensor of the model, the edge that carries it, and the host's steps.

    ``shape`` and ``dtype`` (a NumPy or QONNX name) are those of the model's tensor, without the batch. On an input,
    ``steps`` turn the model's tensor ``(N, *shape)`` into the integers of the edge; on an output, they turn the
    integers of the edge ``(N, *its shape)`` into the model's tensor.
    """

    name: str
    edge: str
    shape: tuple[int, ...]
    dtype: str
    steps: tuple[HostStep, ...] = ()

    def check(self, frames: np.ndarray) -> np.ndarray:
        """Frames ``(N, *shape)`` in the port's own type. Raises UsageError for a wrong shape or type,
        for numbers that are not finite and for integers out of range."""
        return checked(frames, f"input {self.name}", self.shape, self.dtype)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """The model's frames ``(N, *shape)`` as integers of the edge. Raises BitfabricError as ``check``."""
        return run(self.steps, self.check(frames))

    def decode(self, integers: np.ndarray) -> np.ndarray:
        """Integers of the edge ``(N, *its shape)`` as the model's output ``(N, *shape)``."""
        return run(self.steps, integers)


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order, with one or more input ports and output ports.

    Every edge has one writer (a node or an input port) and one reader. Only output ports may share an edge, from which
    the host computes several of the model's outputs. Writer and reader agree in data type and number of elements; the
    reader's shape may differ (an image read as one long vector, for example), but the order of the elements is the
    same. The constructor raises BitfabricError for a graph that breaks one of these rules.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    edges: dict[str, Stream] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        written: dict[str, Stream] = {}
        readers: dict[str, str] = {}
        pending = {port.edge for port in self.inputs}
        for node in self.nodes:
            for edge, stream in zip(node.inputs, node.kernel.inputs(), strict=True):
                if edge in readers:
                    raise BitfabricError(f"{node.name} and {readers[edge]} both read {edge}; put a fork between")
                readers[edge] = node.name
                if edge in pending:
                    pending.remove(edge)
                    written[edge] = stream
                elif edge not in written:
                    raise BitfabricError(f"{node.name} reads {edge}, which nothing before it writes")
                have = written[edge]
                if have.elements != stream.elements or have.dtype != stream.dtype:
                    raise BitfabricError(
                        f"{node.name} takes {stream.shape} {stream.dtype.name} but {edge} carries "
                        f"{have.shape} {have.dtype.name}"
                    )
            for edge, stream in zip(node.outputs, node.kernel.outputs(), strict=True):
                if edge in written or edge in pending:
                    raise BitfabricError(f"{edge} is written twice, the second time by {node.name}")
                written[edge] = stream
        if pending:
            raise BitfabricError(f"no node reads the input {', '.join(sorted(pending))}")
        for port in self.outputs:
            if port.edge not in written or port.edge in readers:
                raise BitfabricError(f"output {port.name} needs an edge {port.edge} that no node reads")
        readers.update({port.edge: port.name for port in self.outputs})
        if idle := sorted(set(written) - set(readers)):
            raise BitfabricError(f"nothing reads {', '.join(idle)}")
        object.__setattr__(self, "edges", written)

    @property
    def output_edges(self) -> list[str]:
        """The edges that leave the hardware, in the order of the ports, each once."""
        return list(dict.fromkeys(port.edge for port in self.outputs))

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __str__(self) -> str:
        lines = [f"{'layer':<24}{'kernel':<18}{'PE':>5}{'SIMD':>6}{'M':>4}{'cycles':>9}  output"]
        for node in self.nodes:
            fold, out = node.kernel.folding, node.kernel.outputs()[0]
            shape = "x".join(map(str, out.shape))
            lines.append(
                f"{node.name:<24}{node.kernel.op}{fold.pe:>{23 - len(node.kernel.op)}}{fold.simd:>6}{fold.pixels:>4}"
                f"{node.kernel.schedule().interval:>9}  {shape} {out.dtype.name}"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The graph in a notebook."""
        return f"<style>{html.STYLE}</style>{html.table(self)}"

    def node(self, name: str) -> Node:
        """The node of this name. Raises BitfabricError with the names there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise UsageError(f"no layer {name}; there are {', '.join(n.name for n in self.nodes)}")

    @property
    def titles(self) -> dict[str, str]:
        """By node, its name with the user's own (``Node.title``)."""
        return {node.name: node.title for node in self.nodes}

    def with_kernels(self, kernels: dict[str, Kernel]) -> "Graph":
        """The same graph with other kernels, by node name (with a new folding, for example)."""
        nodes = tuple(replace(n, kernel=kernels[n.name]) if n.name in kernels else n for n in self.nodes)
        return replace(self, nodes=nodes)

    def with_parity(self) -> "Graph":
        """The same graph with parity bits for the constants in block RAM (see Kernel.with_parity)."""
        return self.with_kernels({node.name: node.kernel.with_parity() for node in self})

    def lanes_agree(self) -> bool:
        """Whether both ends of every edge use the same number of lanes, as hardware needs."""
        given = {edge: s.lanes for n in self.nodes for edge, s in zip(n.outputs, n.kernel.outputs(), strict=True)}
        return all(
            given.get(edge, stream.lanes) == stream.lanes
            for n in self.nodes
            for edge, stream in zip(n.inputs, n.kernel.inputs(), strict=True)
        )

    def check(self, frames: np.ndarray | dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The model's frames by input name, each checked by its port. Raises UsageError."""
        given = frames if isinstance(frames, dict) else {self.inputs[0].name: frames}
        names = [port.name for port in self.inputs]
        if sorted(given) != sorted(names):
            raise UsageError(f"the model has the inputs {', '.join(names)}; given: {', '.join(given)}")
        checked_frames = {port.name: port.check(given[port.name]) for port in self.inputs}
        if len({len(values) for values in checked_frames.values()}) > 1:
            raise UsageError("the inputs hold different numbers of frames")
        return checked_frames

    def encode(self, frames: np.ndarray | dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The model's frames (by name if there are several) as integers by edge. Raises UsageError."""
        return self.enter(self.check(frames))

    def enter(self, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Frames by name that ``check`` has passed as integers by edge, in the shapes of the streams."""
        streams = {port: self.edges[port.edge] for port in self.inputs}
        return {
            port.edge: run(port.steps, given[port.name]).reshape(-1, *stream.shape) for port, stream in streams.items()
        }

    def decode(self, integers: dict[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
        """Convert integers by edge to the model's output, or to its outputs by name if there are several."""
        results = {port.name: port.decode(integers[port.edge]) for port in self.outputs}
        return results if len(results) > 1 else next(iter(results.values()))

    def execute(self, frames: dict[str, np.ndarray], keep: bool = False) -> dict[str, np.ndarray]:
        """Run the kernels on integers ``(N, *shape)`` by edge; returns the output edges, or all with ``keep``."""
        values = dict(frames)
        for node in self.nodes:
            values.update(self.step(node, values))
            if not keep:
                for edge in node.inputs:
                    del values[edge]
        return values

    def step(self, node: Node, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One node's results by edge, for integer batches by edge."""
        streams = zip(node.inputs, node.kernel.inputs(), strict=True)
        given = (values[edge].reshape(-1, *stream.shape) for edge, stream in streams)
        return dict(zip(node.outputs, node.kernel.execute(*given), strict=True))
