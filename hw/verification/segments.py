"""Segments: parts of a graph between two tensors of the model, each with the model's own nodes that it replaces.

The lowering knows of many edges which tensor of the model their integers represent: the codes of every quantizer, and
the sums and pools between them. A segment leads from such edges to the next one. So every layer can be compared with
the model at its own input, where a whole frame could not direct it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from qonnx.core.modelwrapper import ModelWrapper

from hw.host.errors import BitfabricError
from hw.host.steps import run
from hw.ir.graph import Graph, Node
from hw.lowering.integer_tensor import IntegerTensor, without_casts
from hw.lowering.lower import LoweredModel
from hw.lowering.qonnx import prepare, stored_batches
from hw.lowering.rounding import Interval, interval, through
from hw.passes.fold import plain
from hw.verification.execution import Execute

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Cut:
    """An edge of the lowering whose integers represent a tensor of the model: ``values`` leads from them to it.

    ``name`` is the edge's name in the lowering, which is that of the layer that writes it; ``edge`` is its name in the
    graph that is checked.
    """

    name: str
    edge: str
    tensor: str
    values: IntegerTensor

    def of(self, integers: np.ndarray) -> np.ndarray:
        """The model's tensor ``(N, *its shape)``, in its precision, for integers ``(N, *shape)``."""
        exact = integers.reshape(-1, *self.values.shape).astype(np.float64)
        return run(self.values.layout_ops, run(self.values.steps, exact))

    def unrounded(self, integers: np.ndarray) -> np.ndarray:
        """The same in float64, without the rounding to float32."""
        exact = integers.reshape(-1, *self.values.shape).astype(np.float64)
        return run(self.values.layout_ops, run(without_casts(self.values.steps), exact))


@dataclass(frozen=True, eq=False)
class Segment:
    """The nodes of a graph that compute ``target`` from ``sources``."""

    target: Cut
    sources: tuple[Cut, ...]
    nodes: tuple[Node, ...]

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self.target.name

    @property
    def elements(self) -> int:
        """The integers of its widest edge, in one frame."""
        streams = [stream for node in self.nodes for stream in (*node.kernel.inputs(), *node.kernel.outputs())]
        return max(stream.elements for stream in streams)

    def execute(self, graph: Graph, integers: Tensors) -> Tensors:
        """The integers of all edges, for those of the sources by edge; ``graph`` is the one that has the nodes."""
        values = dict(integers)
        for node in self.nodes:
            values.update(graph.step(node, values))
        return values

    def named(self, integers: Tensors) -> Tensors:
        """The ``integers`` of all edges by their names in the lowering."""
        names = {source.name: integers[source.edge] for source in self.sources}
        names |= {edge: integers[edge] for node in self.nodes for edge in node.outputs}
        return names | {node.name: integers[node.outputs[0]] for node in self.nodes}

    def bounds(self, lowering: LoweredModel, tensor: IntegerTensor, named: Tensors) -> Interval:
        """Bounds on the reference's values of a tensor within the segment, for the integers of all edges by name.

        The reference starts from the values of the sources in its own precision (``Cut.of``).
        """
        sources = {source.name: source for source in self.sources}
        if tensor.edge not in sources:
            return interval(tensor, named, {edge: p for edge, p in lowering.products.items() if edge not in sources})
        exact = named[tensor.edge].reshape(-1, *tensor.shape).astype(np.float64)
        count = len(sources[tensor.edge].values.steps)
        rounded = run(tensor.steps[:count], exact).astype(np.float64)
        unrounded = run(without_casts(tensor.steps[:count]), exact)
        ends = np.minimum(rounded, unrounded), np.maximum(rounded, unrounded)
        return through(tensor.steps[count:], ends, tensor.steps[:count])


def segments(graph: Graph, lowering: LoweredModel, model: ModelWrapper) -> tuple[list[Segment], list[str]]:
    """The segments of a graph, folded or not, and the layers that have none, because the model's tensors between which
    they lie are not those of the graph.

    ``model`` is the model that was lowered to ``lowering``. Raises BitfabricError for a graph that lacks a layer.
    """
    graph = plain(graph)
    cuts = _cuts(graph, lowering)
    writers = {edge: node for node in graph for edge in node.outputs}
    producers = {name: node for node in model.graph.node for name in node.output}
    inputs = {port.edge for port in lowering.graph.inputs}
    found, left_out = [], []
    for target in cuts:
        if target.name in inputs:
            continue
        segment = _segment(target, graph, cuts, writers, producers)
        if segment is None:
            left_out.append(target.name)
        else:
            found.append(segment)
    return found, left_out


def _cuts(graph: Graph, lowering: LoweredModel) -> list[Cut]:
    """The cuts of a graph, in the order of the lowering."""
    ports = {port.name: port.edge for port in graph.inputs}
    edges = {port.edge: ports[port.name] for port in lowering.graph.inputs if port.name in ports}
    edges |= {node.name: node.outputs[0] for node in graph}
    known = {**lowering.tensors, **lowering.computed}
    if missing := sorted(set(known) - set(edges)):
        raise BitfabricError(f"the graph has no layer {', '.join(missing)}, but the model's lowering has")
    return [Cut(name, edges[name], *known[name]) for name in lowering.graph.edges if name in known]


def _segment(
    target: Cut, graph: Graph, cuts: list[Cut], writers: dict[str, Node], producers: dict[str, onnx.NodeProto]
) -> Segment | None:
    """The segment of one cut: from the nearest cuts that part both the graph and the model; None if there are none."""
    allowed = {cut.edge: cut for cut in cuts if cut is not target}
    while True:
        edges = _stops(target.edge, {edge: node.inputs for edge, node in writers.items()}, set(allowed))
        tensors = {cut.tensor: edge for edge, cut in allowed.items()}
        names = _stops(target.tensor, {name: node.input for name, node in producers.items()}, set(tensors))
        if edges is None or names is None:
            return None
        reached = {tensors[name] for name in names}
        if reached == edges:
            break
        for edge in edges - reached or reached - edges:
            del allowed[edge]
    nodes = _between(target.edge, edges, writers)
    return Segment(target, tuple(allowed[edge] for edge in edges), tuple(n for n in graph if n.name in nodes))


def _stops(start: str, before: dict[str, Iterable[str]], stops: set[str]) -> set[str] | None:
    """The ``stops`` that a walk from ``start`` towards the inputs ends at.

    Names without predecessors are constants if ``before`` is a model's; None if the walk meets nothing else.
    """
    seen, found, pending = {start}, set(), [start]
    while pending:
        for name in before.get(pending.pop(), ()):
            if name in stops:
                found.add(name)
            elif name not in seen:
                seen.add(name)
                pending.append(name)
    return found or None


def _between(target: str, sources: set[str], writers: dict[str, Node]) -> set[str]:
    """The names of the nodes that compute the edge ``target`` from the edges ``sources``."""
    nodes, pending = set(), [target]
    while pending:
        edge = pending.pop()
        if edge not in sources and writers[edge].name not in nodes:
            nodes.add(writers[edge].name)
            pending.extend(writers[edge].inputs)
    return nodes


class ModelPart:
    """The model's nodes between tensors, executed in float32 on batches of ``count`` frames.

    ``execute`` is what executes the model (qonnx or ONNX Runtime). ``proto`` is the model as stored in its file,
    ``model`` the same prepared for one frame. A smaller batch is filled up.
    """

    def __init__(
        self,
        proto: onnx.ModelProto,
        model: ModelWrapper,
        count: int,
        sources: list[str],
        target: str,
        execute: Execute,
    ) -> None:
        producers = {name: node for node in proto.graph.node for name in node.output if name}
        needed, pending = set(), [target]
        while pending:
            name = pending.pop()
            if name not in sources and name not in needed:
                needed.add(name)
                pending.extend(producers[name].input if name in producers else ())
        known = {value.name: value for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
        part = onnx.ModelProto(ir_version=proto.ir_version)
        part.opset_import.extend(proto.opset_import)
        part.functions.extend(proto.functions)
        part.graph.name = "part"
        part.graph.node.extend(node for node in proto.graph.node if needed.intersection(node.output))
        part.graph.initializer.extend(tensor for tensor in proto.graph.initializer if tensor.name in needed)
        part.graph.input.extend(known[name] for name in sources)
        part.graph.value_info.extend(known[name] for name in sorted(needed & known.keys() - {target}))
        part.graph.output.append(known[target])
        part.graph.quantization_annotation.extend(
            each for each in proto.graph.quantization_annotation if each.tensor_name in {*needed, *sources}
        )
        self.model, self.execute = prepare(part, count, stored_batches(proto)), execute
        self.count, self.target = count, target
        self.types = {
            name: onnx.helper.tensor_dtype_to_np_dtype(known[name].type.tensor_type.elem_type) for name in sources
        }

    def filled(self, given: Tensors) -> Tensors:
        """Batches of ``count`` frames."""
        return {
            name: np.concatenate([values, np.repeat(values[:1], self.count - len(values), axis=0)])
            for name, values in given.items()
        }

    def run(self, given: Tensors) -> np.ndarray:
        """The target for the values of the sources, at most ``count`` frames, by tensor."""
        used = len(next(iter(given.values())))
        filled = {name: values.astype(self.types[name]) for name, values in self.filled(given).items()}
        return self.execute(self.model, filled, [self.target])[self.target][:used]
