"""The state of writing a graph in FINN's dialect, and the operations that the writers of kernels call on it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.datatype import BaseDataType, DataType

from hw.fabric.identifiers import identifiers
from hw.finn.dialect import BINARY, DOMAIN, RANGE, tensor_shape
from hw.finn.host_nodes import OPSET, HostNodes
from hw.host.errors import BitfabricError
from hw.host.operators import RESHAPING
from hw.host.steps import HostStep, step
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.stream import Stream
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.lowering.domains import QONNX_DOMAIN
from hw.lowering.module_names import set_module
from hw.passes.fold import plain

WriteKernel: TypeAlias = Callable[["Writer", Node], None]
"""A function that appends FINN's nodes for a node of the graph to a Writer."""


def _with_distinct_names(graph: Graph) -> Graph:
    """The graph with edges whose names differ from those of its ports, for both are tensors of the model; and with
    names of nodes that consist of an identifier's characters, for FINN makes names of files and modules of them."""
    nodes = identifiers((node.name for node in graph), prefixed=True)
    ports = {port.name for port in (*graph.inputs, *graph.outputs)}
    names = {edge: f"{edge}_stream" if edge in ports else edge for edge in graph.edges}

    def renamed(edges: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names[edge] for edge in edges)

    return Graph(
        tuple(
            replace(node, name=nodes[node.name], inputs=renamed(node.inputs), outputs=renamed(node.outputs))
            for node in graph
        ),
        tuple(replace(port, edge=names[port.edge]) for port in graph.inputs),
        tuple(replace(port, edge=names[port.edge]) for port in graph.outputs),
    )


class Writer:
    """The conversion of one graph to a model in FINN's dialect.

    ``operators`` returns the function that writes a kernel (``hw.finn.operators``); the function appends FINN's nodes
    here. Of several implementations of a layer the one that defines its function is written. ``shapes`` and ``types``
    are those of FINN's tensors, by name.
    """

    def __init__(self, graph: Graph, operators: Callable[[type[Kernel]], WriteKernel | None]) -> None:
        self.graph = graph = _with_distinct_names(plain(graph))
        self.operators = operators
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, BaseDataType] = {}
        self.popcounts: dict[str, int] = {}
        """The edges that carry popcounts in FINN, with the number of products in each sum."""
        self.readers = {edge: node for node in graph for edge in node.inputs}

    def model(self) -> onnx.ModelProto:
        """Write the whole graph. Raises BitfabricError, with its name, for a node that FINN has no operator for."""
        before, after = HostNodes("host_in_"), HostNodes("host_out_")
        for port in self.graph.inputs:
            self._enter(port, before)
        for node in self.graph:
            before_layer = len(self.nodes)
            try:
                self._layer(node)
            except BitfabricError as error:
                text = str(error)
                if not text.startswith(f"{node.name}:"):
                    raise
                raise type(error)(node.title + text.removeprefix(node.name)) from None
            for made in self.nodes[before_layer:]:
                set_module(made, node.origin.module)
        for port in self.graph.outputs:
            self._leave(port, after)
        return self._model([*before.nodes, *self.nodes, *after.nodes], before, after)

    def _layer(self, node: Node) -> None:
        if node.kernel.folding.pixels > 1:
            pixels = node.kernel.folding.pixels
            raise BitfabricError(f"{node.name}: it takes {pixels} pixels at a time and FINN one; fold it with M = 1")
        write = self.operators(type(node.kernel))
        if write is None:
            raise BitfabricError(f"{node.name}: FINN has no form for {node.kernel.op}; use the open back end")
        write(self, self._reshaped(node))

    def _model(self, nodes: list[onnx.NodeProto], before: HostNodes, after: HostNodes) -> onnx.ModelProto:
        ends = {port.name for port in (*self.graph.inputs, *self.graph.outputs)}
        infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in self.shapes.items()}
        for name, value in (before.values | after.values).items():
            elem = helper.np_dtype_to_tensor_dtype(value.dtype)
            infos.setdefault(name, helper.make_tensor_value_info(name, elem, value.shape))
        constants = [*before.constants, *self.constants, *after.constants]
        made = helper.make_graph(
            nodes,
            "bitfabric",
            [infos[port.name] for port in self.graph.inputs],
            [infos[port.name] for port in self.graph.outputs],
            constants,
            value_info=[info for name, info in infos.items() if name not in ends],
        )
        for name, dtype in self.types.items():
            entry = onnx.StringStringEntryProto(key="finn_datatype", value=dtype.name)
            made.quantization_annotation.append(
                onnx.TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[entry])
            )
        domains = sorted({node.domain for node in nodes} | {"", QONNX_DOMAIN, DOMAIN})
        versions = [helper.make_opsetid(domain, 1 if domain else OPSET) for domain in domains]
        return helper.make_model(made, opset_imports=versions, ir_version=9, producer_name="bitfabric")

    # --- the host's share ---

    def _enter(self, port: Port, host: HostNodes) -> None:
        stream = self.graph.edges[port.edge]
        if not port.dtype.startswith("float"):
            self.types[port.name] = DataType[port.dtype]
        self.edge(port.edge, stream)
        steps = list(port.steps)
        if steps and steps[-1].op not in RESHAPING:
            steps.append(step("Cast", to="float32"))
        self._host(host, port.name, np.zeros((1, *port.shape), np.float32), steps, port.edge, self.shapes[port.edge])

    def _leave(self, port: Port, host: HostNodes) -> None:
        stream = self.graph.edges[port.edge]
        steps = list(port.steps)
        if tensor_shape(stream.shape) != (1, *stream.shape):
            steps.insert(0, step("Reshape", shape=stream.shape))
        if count := self.popcounts.get(port.edge):
            # Convert popcounts to sums, on which the port's own steps operate.
            both = step("Mul", np.array(2, np.float32)), step("Sub", np.array(count, np.float32))
            steps = [*both, *steps]
        shape = (1, *port.shape)
        self._host(host, port.edge, np.zeros(self.shapes[port.edge], np.float32), steps, port.name, shape)

    def _host(
        self, host: HostNodes, source: str, frame: np.ndarray, steps: list[HostStep], last: str, shape: tuple[int, ...]
    ) -> None:
        try:
            host.write(source, frame, [*steps], last)
        except BitfabricError as error:
            raise BitfabricError(f"{source} to {last}: {error}") from None
        if host.values[last].shape != shape:
            *rest, end = host.nodes
            host.nodes = rest
            shaped = host.node("Reshape", end.input[0], np.array(shape, np.int64))
            host.values[shaped] = np.zeros(shape, host.values[last].dtype)
            host.node("Identity", shaped, output=last)
            host.values[last] = host.values[shaped]

    # --- the hardware ---

    def _reshaped(self, node: Node) -> Node:
        """The node with inputs in the shapes of its streams. In FINN a change of shape is a separate layer."""
        edges = []
        for edge, stream in zip(node.inputs, node.kernel.inputs(), strict=True):
            shape = self.shapes[edge]
            if shape != tensor_shape(stream.shape) and not isinstance(node.kernel, MatrixVector):
                view = f"{edge}_view"
                sizes = {"inp_shape": list(shape), "out_shape": list(tensor_shape(stream.shape))}
                dtype = self.types[edge]
                self.add_node(view, "Reshape", (edge,), (view,), {**sizes, "dtype": dtype.name, "PE": stream.lanes})
                self.edge(view, stream, dtype)
                if edge in self.popcounts:
                    self.popcounts[view] = self.popcounts[edge]
                edge = view
            edges.append(edge)
        return replace(node, inputs=tuple(edges))

    def edge(self, name: str, stream: Stream, dtype: BaseDataType | None = None) -> None:
        """Record the shape and type of an edge in FINN; ``dtype`` is given where it differs from the stream's."""
        self.shapes[name], self.types[name] = tensor_shape(stream.shape), dtype or stream.dtype

    def constant(self, name: str, values: np.ndarray, dtype: BaseDataType | None = None) -> str:
        """Append a constant of a type (default FLOAT32); returns its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        self.types[name] = dtype or DataType["FLOAT32"]
        return name

    def add_layer(
        self,
        node: Node,
        op: str,
        attributes: dict[str, Any],
        constants: tuple[str, ...] = (),
        dtype: BaseDataType | None = None,
        input_range: tuple[int, int] | None = None,
    ) -> None:
        """Append the only node for a kernel; ``dtype`` is the type of its outputs if it differs from the streams'."""
        self.add_node(node.name, op, (*node.inputs, *constants), node.outputs, attributes)
        if input_range is not None:
            self.record_ranges(input_range)
        for edge, stream in zip(node.outputs, node.kernel.outputs(), strict=True):
            self.edge(edge, stream, dtype)

    def add_node(
        self, name: str, op: str, inputs: tuple[str, ...], outputs: tuple[str, ...], attributes: dict[str, Any]
    ) -> None:
        """Append a node of FINN\'s domain."""
        self.nodes.append(
            helper.make_node(op, inputs, outputs, name=name, domain=DOMAIN, backend="fpgadataflow", **attributes)
        )

    def record_ranges(self, *ranges: tuple[int, int]) -> None:
        """Record the ranges of the newest node's inputs in its metadata, since FINN's attributes do not hold them."""
        text = " ".join(str(bound) for pair in ranges for bound in pair)
        self.nodes[-1].metadata_props.append(onnx.StringStringEntryProto(key=RANGE, value=text))

    def require_sums(self, node: Node) -> None:
        """Raise BitfabricError if an input of the node, which needs sums, carries popcounts."""
        if edge := next((edge for edge in node.inputs if edge in self.popcounts), None):
            raise BitfabricError(
                f"{node.name}: FINN's layer of 1-bit inputs and weights gives popcounts, which only thresholds, maxima "
                f"and the host take, but {edge} goes to {node.kernel.op}; quantize it to 8 bits or fewer before, or "
                "use the open back end"
            )

    def pass_popcounts(self, node: Node) -> BaseDataType | None:
        """Mark the node's outputs as popcounts if its input carries them; returns their type, else None."""
        count = self.popcounts.get(node.inputs[0])
        if count is None:
            return None
        self.popcounts.update(dict.fromkeys(node.outputs, count))
        return self.types[node.inputs[0]]

    def reject_binary(self, node: Node, dtype: BaseDataType) -> None:
        """Raise BitfabricError for unsigned 1-bit inputs."""
        if dtype == BINARY:
            raise BitfabricError(
                f"{node.name}: FINN has no layer for unsigned 1-bit inputs; train with BIPOLAR ones or 2 bits, or use "
                "the open back end"
            )
