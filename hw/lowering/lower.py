"""Lowering: a QONNX model to the integer dataflow graph that computes the same, exactly.

Every tensor of the model is an edge's integers and the chain of steps from them to the tensor's values.
Element-wise nodes only lengthen the chain. Where a layer needs integers again, the whole chain up to the
last quantizer is one function of one integer per element, evaluated with the model's own arithmetic: a
matrix product is exact and rounded to float32 once, what follows runs in float32 as it does in the model (so
that ties of scales like 0.1, which are ties only in float32, are ties here too). Threshold kernels take the
function's decision points; Requant kernels (more than 8 bits, or 5 and more where a shift does) compute it without
rounding to float32. What is left of a chain behind its last quantizer must be affine and goes into the weights of
the next layer and the scale behind it, or is done by the host if it ends in an output.

Streams have channels last: the model's Transpose and Reshape nodes, and its own order of channels, are moves at
the end of a chain (``hw.lowering.wires``), which cost nothing, since weights are permuted and hosts transpose. Where a
tensor has several readers it is quantized once, and a fork copies the stream (``hw.passes.forks``). Each kind of layer
is a handler (``hw.lowering.handlers``): ``hw.lowering.dense``, ``hw.lowering.convolution``, ``hw.lowering.pooling``,
``hw.lowering.joining``.

Layers are named by kind in the model's order: ``fc0``, ``fc1``, ``conv0``, ``pool0``, ``add0``, ``concat0``,
``upsample0``. ``conv0_window`` is the sliding window before ``conv0``, ``conv0_threshold`` or ``conv0_requant`` the
quantizer behind it, ``conv0_threshold_fork`` what copies that; ``input_threshold`` works on an integer input,
``arg_max`` is the last node. Edges have the names of the nodes that write them; the input's edge is ``input``.
"""

import os
from collections import Counter
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

import numpy as np
import onnx
from qonnx.core.modelwrapper import ModelWrapper

from hw.host.errors import BitfabricError, UsageError
from hw.host.operators import QUANTIZERS
from hw.host.steps import step
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.stream import Stream, container
from hw.kernels.fifo.kernel import Fifo
from hw.lowering import convolution, dense, joining, node_steps, pooling  # noqa: F401  they register their handlers
from hw.lowering.arg_max import arg_max
from hw.lowering.constants import Constant, folded
from hw.lowering.handlers import FLAT, HANDLERS, JOINS, SPATIAL
from hw.lowering.moves import Moves, channel_last, moved_shape, simplified, through_moves, undone
from hw.lowering.qonnx import integer_dtype, load
from hw.lowering.quantize import Quantizer, changes_nothing, on_a_grid, quantizer
from hw.lowering.refusal import refuse
from hw.lowering.rounding import Product
from hw.lowering.wires import HostTensor, Steps, Wire, binary, content, dtype_of, last_quantizer, quantizer_range, wire
from hw.passes.forks import forked

__all__ = ["Lowering", "load", "lower"]

Source: TypeAlias = str | os.PathLike[str] | onnx.ModelProto | ModelWrapper


def lower(model: Source) -> Graph:
    """The dataflow graph of a QONNX model, all kernels folded to PE = SIMD = 1.

    Raises UsageError for files that cannot be read, and BitfabricError for anything that has no exact
    integer form, with the node's name, its operator, why, and what to do.
    """
    return Lowering(load(model)).graph


@dataclass(frozen=True, eq=False)
class Decision:
    """What a quantizing node was made from: ``steps`` lead from the integers of ``source`` to its codes."""

    source: Wire
    steps: Steps
    quantizer: Quantizer


class Lowering:
    """The lowering of one loaded model: ``graph``, and how it came about.

    By edge: ``tensors``, the model's tensor that its integers stand for and the wire that says how;
    ``decisions``, the quantizer that writes it; ``products``, what it carries of a layer's sums. By output:
    ``ends``, the wire with its last element-wise steps, and the steps after those.
    """

    def __init__(self, model: ModelWrapper) -> None:
        self.model = model
        self.values: dict[str, Constant | HostTensor | Wire] = {}
        self.nodes: list[Node] = []
        self.inputs: list[Port] = []
        self.tensors: dict[str, tuple[str, Wire]] = {}
        self.decisions: dict[str, Decision] = {}
        self.ends: dict[str, tuple[Wire, Steps]] = {}
        self.written = {node.name: node.output[0] for node in model.graph.node}
        self.products: dict[str, Product] = {}
        self._entered: dict[tuple, tuple[Wire, Moves]] = {}
        self._quantized: dict[tuple, Wire] = {}
        self._layers: Counter[str] = Counter()
        live = self._live_nodes()
        self._images = _images(live)
        self._take_inputs()
        self._branching = self._branches(live)
        for value in model.graph.input:
            self._settle(value.name)
        for node in live:
            self._take_node(node)
            for name in node.output:
                self._settle(name)
        outputs = tuple(self._output(value) for value in model.graph.output)
        self.graph = Graph(*forked(self.nodes, self.inputs, outputs))

    # --- for the handlers of layers ---

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, with a batch of one."""
        shape = self.model.get_tensor_shape(name)
        if shape is None:
            raise UsageError(f"tensor {name} has no shape that can be inferred; export the model again")
        return tuple(shape)

    def name(self, kind: str) -> str:
        """The name of the next layer of a kind: conv0, conv1, ..."""
        self._layers[kind] += 1
        return f"{kind}{self._layers[kind] - 1}"

    def append(self, name: str, kernel: Kernel, *edges: str) -> str:
        """A new node that reads ``edges``; returns its name, which is also the edge that it writes."""
        names = {node.name for node in self.nodes}
        unique = next(n for n in (name, *(f"{name}_{i}" for i in range(2, len(names) + 3))) if n not in names)
        self.nodes.append(Node(unique, kernel, edges, (unique,)))
        return unique

    def codes(self, tensor: str, reader: onnx.NodeProto) -> Wire:
        """A tensor as the integers behind its last quantizer; what is left of its steps is element-wise."""
        value = self.values[tensor]
        if isinstance(value, Constant):
            raise BitfabricError(
                f"{reader.name}: {reader.op_type} cannot be lowered: its input {tensor} is constant; feed it with data"
            )
        if value.tail:
            raise BitfabricError(
                f"{value.tail_origins[0]}: {value.tail[0].op} cannot be lowered: only the host computes it, after the "
                f"last layer; but {reader.name} follows"
            )
        return replace(self._quantize(self._on_edge(value, tensor, reader.name)), back=())

    def stream(self, tensor: str, reader: onnx.NodeProto) -> Wire:
        """A tensor as ``codes``, of which what is left of its steps is affine."""
        result = self.codes(tensor, reader)
        if result.line is None:
            raise BitfabricError(
                f"{reader.name}: its input passes {', '.join(dict.fromkeys(filter(None, result.origins)))} after the "
                "last quantizer and is floating point; put a quantizer before it"
            )
        return result

    def call(self, node: onnx.NodeProto, output: int = 0) -> node_steps.Call:
        """A node with its constant inputs and shapes."""
        inputs = tuple(self.values.get(name) if name else None for name in node.input)
        index = node_steps.data_index(tuple(v if isinstance(v, Constant) else None for v in inputs), tuple(node.input))
        return node_steps.Call(
            node,
            tuple(v if isinstance(v, Constant) else None for v in inputs),
            self.shape(node.input[index]),
            self.shape(node.output[output]),
            self.version(node),
        )

    def version(self, node: onnx.NodeProto) -> int:
        """The version of the operator set that a node belongs to."""
        return {opset.domain: opset.version for opset in self.model.model.opset_import}.get(node.domain, 1)

    # --- reading the model ---

    def _take_inputs(self) -> None:
        graph = self.model.graph
        for tensor in graph.initializer:
            self.values[tensor.name] = Constant(self.model.get_initializer(tensor.name))
        for value in graph.input:
            if value.name in self.values:
                continue
            shape = tuple(self.model.get_tensor_shape(value.name))
            if len(shape) < 2:
                raise BitfabricError(
                    f"input {value.name} has shape {shape}; the first axis must be the batch: export it with one"
                )
            self.values[value.name] = HostTensor(shape[1:], port=value.name, dtype=integer_dtype(self.model, value))

    def _live_nodes(self) -> list[onnx.NodeProto]:
        """The nodes that an output needs, in order."""
        needed = {value.name for value in self.model.graph.output}
        live = []
        for node in reversed(self.model.graph.node):
            if needed.intersection(node.output):
                needed.update(node.input)
                live.append(node)
        return live[::-1]

    def _branches(self, live: list[onnx.NodeProto]) -> set[str]:
        """The tensors that several nodes or outputs read."""
        readers = Counter(name for node in live for name in node.input)
        readers.update(value.name for value in self.model.graph.output)
        return {name for name, count in readers.items() if count > 1}

    def _settle(self, name: str) -> None:
        """Where paths part, quantize before: the hardware copies few bits, and no path does it again."""
        value = self.values.get(name)
        if name not in self._branching or not isinstance(value, HostTensor | Wire) or value.tail:
            return
        if isinstance(value, Wire) or value.dtype is not None or last_quantizer(value.steps) is not None:
            settled = self._quantize(self._on_edge(value, name, name), strict=False)
            self.values[name] = replace(settled, back=())

    def _take_node(self, node: onnx.NodeProto) -> None:
        inputs = tuple(self.values.get(name) if name else None for name in node.input)
        constants = {name: v for name, v in zip(node.input, inputs, strict=True) if isinstance(v, Constant)}
        data = [value for value in inputs if isinstance(value, HostTensor | Wire)]
        if not data:
            self.values.update(folded(self.model, node, constants, self.version(node)))
            return
        handlers = HANDLERS | JOINS if len(data) > 1 else HANDLERS
        if node.op_type in handlers:
            try:
                handlers[node.op_type](self, node)
            except BitfabricError as error:
                if any(name in str(error) for name in self.written):
                    raise
                # A kernel's own error does not know the model's node.
                raise refuse(node, *str(error).split("; ", 1)) from None
            return
        if node.op_type not in node_steps.TRANSLATIONS or len(data) != 1:
            why = "there is no kernel for it" if len(data) == 1 else "it combines several data tensors"
            raise BitfabricError(
                f"{node.name}: {node.op_type} cannot be lowered: {why}; networks are built of Conv, MatMul, Gemm, "
                "pools, Add, Concat, Resize, quantizers and element-wise functions"
            )
        steps = node_steps.TRANSLATIONS[node.op_type](self.call(node))
        self.values[node.output[0]] = data[0] if self._idle(data[0], steps) else data[0].then(steps, node.name)

    def _idle(self, value: HostTensor | Wire, steps: Steps) -> bool:
        """Whether these steps quantize what already lies on their grid."""
        if not any(each.op in QUANTIZERS for each in steps) or value.tail:
            return False
        if isinstance(value, HostTensor):
            if value.dtype is None:
                return False
            value = replace(wire("", value.shape, value.dtype).extended(value.steps, value.origins), moves=value.moves)
        return changes_nothing(value, steps)

    # --- making the graph ---

    def _on_edge(self, value: HostTensor | Wire, tensor: str, reader: str, first: bool = False) -> Wire:
        """A tensor as a wire, without a tail: the host goes as far as its last (or ``first``) quantizer."""
        value = value.cut(len(value.steps))
        if not first and (regrid := on_a_grid(value.steps, value.origins)):
            value = value.extended(regrid, (self._writer(tensor),) * len(regrid))
        return value if isinstance(value, Wire) else self._enter(value, tensor, reader, first)

    def _writer(self, tensor: str) -> str:
        return next(node for node, output in self.written.items() if output == tensor)

    def _enter(self, value: HostTensor, tensor: str, reader: str, first: bool) -> Wire:
        """The wire behind an input port, whose host moves the elements into the order that kernels want."""
        at = [i for i, each in enumerate(value.steps) if each.op in QUANTIZERS]
        if value.dtype is None and not at:
            raise BitfabricError(
                f"input {value.port} reaches {reader} as floating point; quantize it first (a QuantIdentity in "
                "Brevitas), or annotate it as an integer input (UINT8)"
            )
        cut = 0 if value.dtype is not None else (at[0] if first else at[-1]) + 1
        key = value.port, *map(content, value.steps[:cut])
        new = key not in self._entered
        if new:
            self._entered[key] = self._port(value, cut, tensor)
        start, moves = self._entered[key]
        rest = tuple(
            replace(each, operands=tuple(through_moves(operand, moves, value.shape) for operand in each.operands))
            for each in value.steps[cut:]
        )
        back = undone(moves, value.shape)
        left = simplified((*back, *value.moves), start.shape)
        result = replace(start.extended(rest, value.origins[cut:]), moves=left, back=back)
        if new and cut:
            self._record(value.origins[cut - 1], result)
        return result

    def _port(self, value: HostTensor, cut: int, tensor: str) -> tuple[Wire, Moves]:
        """A new port that does ``cut`` steps of ``value``: its wire in the order of its elements, and its moves."""
        if value.port in (port.name for port in self.inputs):
            raise BitfabricError(
                f"input {value.port} is quantized in several ways, the second time by {value.origins[cut - 1]}; "
                "quantize it once (one QuantIdentity) and feed all its readers from that"
            )
        moves = value.moves
        if tensor in self._images and len(value.tensor_shape) > 1:
            moves = simplified((*moves, channel_last(len(value.tensor_shape))), value.shape)
        edge = f"input{len(self.inputs) or ''}"
        shape = moved_shape(moves, value.shape)
        if value.dtype is not None:
            self.inputs.append(Port(value.port, edge, value.shape, value.dtype.name, moves))
            return wire(edge, shape, value.dtype), moves
        head = value.steps[:cut]
        low, high = quantizer_range(head[-1], value.origins[cut - 1])
        dtype = dtype_of(low, high, binary(head[-1]))
        steps = (*head, *moves, step("Cast", to=container(dtype).name))
        self.inputs.append(Port(value.port, edge, value.shape, "float32", steps))
        return wire(edge, shape, dtype, low, high, value.origins[cut - 1]), moves

    def _record(self, origin: str, source: Wire) -> None:
        """Remember which of the model's tensors a quantizer's codes stand for."""
        count = next((i for i, name in enumerate(source.origins) if name != origin), len(source.steps))
        value = self.values[self.written[origin]]
        assert not isinstance(value, Constant)
        done = replace(source.cut(count), moves=simplified((*source.back, *value.moves), source.shape))
        self.tensors[source.edge] = (self.written[origin], done)

    def _quantize(self, source: Wire, strict: bool = True) -> Wire:
        """The wire behind its last quantizer: a new node computes the codes, the steps after it are left.

        Equal chains share their node. Where no kernel computes the whole chain, the quantizers before get nodes of
        their own. Not ``strict``: as far as there are kernels; else raises BitfabricError.
        """
        at = last_quantizer(source.steps)
        if at is None:
            return source
        if source.cut(at + 1).uneven:
            source = source.viewed((prod(source.shape),))
        head, origin = source.steps[: at + 1], source.origins[at]
        key = source.edge, source.shape, *map(content, head)
        new = key not in self._quantized
        if new:
            try:
                made = quantizer(source, head, f"{origin}: {head[-1].op}")
            except BitfabricError:
                if last_quantizer(head[:-1]) is not None:
                    first = self._quantize(replace(source, steps=head[:-1], origins=source.origins[:at]), strict)
                    if first.edge != source.edge:
                        return self._quantize(first.extended(source.steps[at:], source.origins[at:]), strict)
                if strict:
                    raise
                return source
            edge = self.append(f"{source.edge}_{made.kernel.op}", made.kernel, source.edge)
            stream = made.kernel.outputs()[0]
            self._quantized[key] = wire(edge, stream.shape, stream.dtype, made.low, made.high, origin)
            self.decisions[edge] = Decision(source.cut(at + 1), head, made)
        out = self._quantized[key].extended(source.steps[at + 1 :], source.origins[at + 1 :])
        out = replace(out, moves=source.moves, back=source.back)
        if new:
            self._record(origin, out)
        return out

    def _output(self, value: onnx.ValueInfoProto) -> Port:
        """The port of a model output: integers in hardware as far as they go, the rest on the host."""
        tensor = self.values[value.name]
        if isinstance(tensor, Constant):
            raise BitfabricError(f"output {value.name} is constant; there is nothing to compute")
        whole = self._on_edge(tensor, value.name, f"output {value.name}", first=True)
        source, tail = self._quantize(whole, strict=False), tensor.tail
        self.ends[value.name] = source, tail
        picked = arg_max(self, source, tail) if len(self.model.graph.output) == 1 else None
        source, tail = (source, tail) if picked is None else (picked, picked.tail)
        readers = [node for node in self.nodes if source.edge in node.inputs]
        if any(source.edge == port.edge for port in self.inputs) and all(node.kernel.op == "fifo" for node in readers):
            # Nothing is left to compute, but hardware needs a kernel between its ports.
            stream = Stream(source.shape, source.dtype)
            passed = readers[0].name if readers else self.append("pass", Fifo(stream, 2), source.edge)
            source = replace(source, edge=passed)
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        steps = (step("Cast", to="float64"), *source.steps, *source.moves, *tail, step("Cast", to=dtype.name))
        return Port(value.name, source.edge, self.shape(value.name)[1:], dtype.name, steps)


def _images(live: list[onnx.NodeProto]) -> set[str]:
    """The tensors that convolutions, pools and the like read, perhaps behind element-wise nodes."""
    images: set[str] = set()
    for node in reversed(live):
        if node.op_type in SPATIAL or (node.op_type not in FLAT and images.intersection(node.output)):
            images.update(node.input)
    return images
