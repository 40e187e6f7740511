"""Lowering: a QONNX model to the integer dataflow graph that computes the same, exactly.

Every tensor of the model is an edge's integers and the chain of steps from them to the tensor's values.
Element-wise nodes only lengthen the chain. Where a layer needs integers again, the whole chain up to the
last quantizer is one function of one integer per element, evaluated with the model's own arithmetic: a
matrix product is exact and rounded to float32 once, what follows runs in float32 as it does in the model (so
that ties of scales like 0.1, which are ties only in float32, are ties here too). Threshold kernels take the
function's decision points; Requant kernels (more than 8 bits) compute it without rounding to float32.
What is left of a chain behind its last quantizer must be affine and goes into the weights of the next
layer and the scale behind it, or is done by the host if it ends in an output.

Layers are named ``fc0``, ``fc1``, ... in the model's order; ``fc0_threshold`` or ``fc0_requant`` is the
quantizer behind ``fc0``, ``input_threshold`` one that works on an integer input, ``arg_max`` the last node.
Edges have the names of the nodes that write them; the input's edge is ``input``.
"""

import os
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import onnx
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_node

from hw import constants, node_steps
from hw.affine import affine
from hw.constants import Constant
from hw.errors import BitfabricError
from hw.graph import Graph, Node, Port
from hw.host import HostStep, run, step
from hw.kernels.fifo import Fifo
from hw.kernels.kernel import Kernel
from hw.layers import HANDLERS, arg_max
from hw.operators import ELEMENTWISE, QUANTIZERS, RESHAPING
from hw.qonnx_file import integer_dtype, load
from hw.quantize import Quantizer, changes_nothing, on_a_grid, quantizer
from hw.rounding import Product
from hw.stream import Stream, container
from hw.wires import (
    AS_FLOAT32,
    HostTensor,
    Steps,
    Wire,
    binary,
    dtype_of,
    last_quantizer,
    moves_first,
    quantizer_range,
    wire,
)

__all__ = ["Lowering", "load", "lower"]

Source: TypeAlias = str | os.PathLike[str] | onnx.ModelProto | ModelWrapper


def lower(model: Source) -> Graph:
    """The dataflow graph of a QONNX model, all kernels folded to PE = SIMD = 1.

    Raises BitfabricError for files that cannot be read (status 2) and for anything that has no exact
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
    ``decisions``, the quantizer that writes it; ``products``, the matrix product that it carries. By output:
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
        self._codes: dict[tuple, Wire] = {}
        self.layers = 0
        self._take_inputs()
        live = self._live_nodes()
        self._refuse_branches(live)
        for node in live:
            self._take_node(node)
        outputs = tuple(self._output(value) for value in model.graph.output)
        self.graph = Graph(tuple(self.nodes), tuple(self.inputs), outputs)

    # --- for the handlers of layers ---

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, with a batch of one."""
        shape = self.model.get_tensor_shape(name)
        if shape is None:
            raise BitfabricError(f"tensor {name} has no shape that can be inferred; export the model again", status=2)
        return tuple(shape)

    def append(self, name: str, kernel: Kernel, edge: str) -> str:
        """A new node that reads ``edge``; returns its name, which is also the edge that it writes."""
        names = {node.name for node in self.nodes}
        unique = next(n for n in (name, *(f"{name}_{i}" for i in range(2, len(names) + 3))) if n not in names)
        self.nodes.append(Node(unique, kernel, (edge,), (unique,)))
        return unique

    def stream(self, tensor: str, reader: onnx.NodeProto) -> Wire:
        """A tensor as integers, ready for a kernel: what is left of its steps is affine."""
        value = self.values[tensor]
        assert not isinstance(value, Constant)
        if regrid := on_a_grid(value.steps, value.origins, value.shape):
            value = value.then(regrid, next(node for node, output in self.written.items() if output == tensor))
        source = self._leave_host(value, reader.name) if isinstance(value, HostTensor) else value
        source = self._moves_on_host(source)
        for each, origin in zip(source.steps, source.origins, strict=True):
            if each.op not in ELEMENTWISE | RESHAPING:
                raise BitfabricError(
                    f"{origin}: {each.op} cannot be lowered: only the host computes it, after the last layer; "
                    f"but {reader.name} follows"
                )
        result = self._quantize(source)
        if isinstance(value, HostTensor):
            self.tensors[source.edge] = (tensor, source)
        if affine(result.steps, result.shape) is None:
            raise BitfabricError(
                f"{reader.name}: its input passes {', '.join(dict.fromkeys(result.origins))} after the last quantizer "
                "and is floating point; put a quantizer before it"
            )
        return result

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
            dtype = integer_dtype(self.model, value)
            if dtype is None:
                self.values[value.name] = HostTensor(value.name, shape[1:])
            else:
                edge = self._port(value.name, shape[1:], dtype.name, ())
                self.values[value.name] = wire(edge, shape[1:], dtype)

    def _live_nodes(self) -> list[onnx.NodeProto]:
        """The nodes that an output needs, in order."""
        needed = {value.name for value in self.model.graph.output}
        live = []
        for node in reversed(self.model.graph.node):
            if needed.intersection(node.output):
                needed.update(node.input)
                live.append(node)
        return live[::-1]

    def _refuse_branches(self, live: list[onnx.NodeProto]) -> None:
        constant = set(self.values) - {value.name for value in self.model.graph.input}
        readers: dict[str, list[str]] = {}
        for node in live:
            names = [name for name in node.input if name]
            if all(name in constant for name in names):
                constant.update(node.output)
                continue
            for name in names:
                if name not in constant:
                    readers.setdefault(name, []).append(node.name)
        for value in self.model.graph.output:
            readers.setdefault(value.name, []).append(f"output {value.name}")
        for name, nodes in readers.items():
            if len(nodes) > 1:
                raise BitfabricError(
                    f"tensor {name} feeds {' and '.join(nodes)}: branches cannot be lowered yet; use a chain of layers"
                )

    def _take_node(self, node: onnx.NodeProto) -> None:
        inputs = tuple(self.values.get(name) if name else None for name in node.input)
        given = [value for name, value in zip(node.input, inputs, strict=True) if name]
        if all(isinstance(value, Constant) for value in given):
            self._fold(node)
            return
        if node.op_type in HANDLERS:
            HANDLERS[node.op_type](self, node)
            return
        data = [value for value in given if isinstance(value, HostTensor | Wire)]
        if node.op_type not in node_steps.TRANSLATIONS or len(data) != 1:
            why = "there is no kernel for it" if len(data) == 1 else "it combines two data tensors"
            raise BitfabricError(
                f"{node.name}: {node.op_type} cannot be lowered: {why}; fully connected networks are built of MatMul, "
                "Gemm, quantizers and element-wise functions"
            )
        steps = node_steps.TRANSLATIONS[node.op_type](self.call(node, 0))
        self._extend(node, data[0], steps)

    def call(self, node: onnx.NodeProto, output: int) -> node_steps.Call:
        inputs = tuple(self.values.get(name) if name else None for name in node.input)
        index = node_steps.data_index(tuple(v if isinstance(v, Constant) else None for v in inputs), tuple(node.input))
        return node_steps.Call(
            node,
            tuple(v if isinstance(v, Constant) else None for v in inputs),
            self.shape(node.input[index]),
            self.shape(node.output[output]),
            self.version(node),
        )

    def _extend(self, node: onnx.NodeProto, value: HostTensor | Wire, steps: tuple[HostStep, ...]) -> None:
        unchanged = (
            isinstance(value, Wire) and any(each.op in QUANTIZERS for each in steps) and changes_nothing(value, steps)
        )
        self.values[node.output[0]] = value if unchanged else value.then(steps, node.name)

    def _fold(self, node: onnx.NodeProto) -> None:
        """A node of constants only."""
        given = [self.values[name] if name else None for name in node.input]
        inputs = [value for value in given if isinstance(value, Constant)]
        values = [value.value if isinstance(value, Constant) else None for value in given]
        first, out = inputs[0], node.output[0]
        match node.op_type:
            case "Quant" | "IntQuant":
                result = constants.quantized(first.value, constants.quant_parameters(node, values[1:4]))
            case "BipolarQuant":
                result = constants.bipolar(first.value, inputs[1].value)
            case "Transpose":
                axes = constants.attribute(node, "perm", tuple(reversed(range(first.value.ndim))))
                result = constants.moved(first, lambda array: np.transpose(array, axes))
            case "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze":
                result = constants.moved(first, lambda array: array.reshape(self.shape(out)))
            case "Identity" | "Dropout":
                result = first
            case _:
                context = dict(zip(node.input, values, strict=True))
                context.update({name: np.zeros(self.shape(name), np.float32) for name in node.output if name})
                execute_node(node, context, self.model.graph, self.version(node))
                self.values.update({name: Constant(context[name]) for name in node.output if name})
                result = Constant(context[out])
                if node.op_type == "Mul":
                    quantized, factor = inputs if first.integers is not None else inputs[::-1]
                    result = constants.scaled(quantized, factor.value, result.value)
        self.values[out] = result

    def version(self, node: onnx.NodeProto) -> int:
        """The version of the operator set that a node belongs to."""
        return {opset.domain: opset.version for opset in self.model.model.opset_import}.get(node.domain, 1)

    # --- making the graph ---

    def _port(self, name: str, shape: tuple[int, ...], dtype: str, steps: Steps) -> str:
        edge = f"input{len(self.inputs) or ''}"
        self.inputs.append(Port(name, edge, shape, dtype, steps))
        return edge

    def _leave_host(self, value: HostTensor, reader: str, first: bool = False) -> Wire:
        """The input port of a float tensor: the host goes as far as its last (or ``first``) quantizer."""
        at = [i for i, each in enumerate(value.steps) if each.op in QUANTIZERS]
        if not at:
            raise BitfabricError(
                f"input {value.port} reaches {reader} as floating point; quantize it first (a QuantIdentity in "
                "Brevitas), or annotate it as an integer input (UINT8)"
            )
        cut = (at[0] if first else at[-1]) + 1
        head = value.steps[:cut]
        low, high = quantizer_range(head[-1], value.origins[cut - 1])
        dtype = dtype_of(low, high, binary(head[-1]))
        shape = run(head, np.zeros((1, *value.shape), np.float32)).shape[1:]
        edge = self._port(value.port, value.shape, "float32", (*head, step("Cast", to=container(dtype).name)))
        source = wire(edge, shape, dtype, low, high)
        return replace(source, steps=source.steps + value.steps[cut:], origins=source.origins + value.origins[cut:])

    def _moves_on_host(self, source: Wire) -> Wire:
        """Let the host move the elements of an input, so that kernels get them in their order."""
        at = next((i for i, port in enumerate(self.inputs) if port.edge == source.edge), None)
        if at is None:
            return source
        moves, source = moves_first(source)
        self.inputs[at] = replace(self.inputs[at], steps=self.inputs[at].steps + moves)
        return source

    def _record(self, origin: str, source: Wire) -> None:
        """Remember which of the model's tensors a quantizer's codes stand for."""
        count = next((i for i, name in enumerate(source.origins) if name != origin), len(source.steps))
        done = replace(source, steps=source.steps[:count], origins=source.origins[:count])
        self.tensors[source.edge] = (self.written[origin], done)

    def _quantize(self, source: Wire, strict: bool = True) -> Wire:
        """The wire behind its last quantizer: a new node computes the codes, the steps after it are left.

        Where no kernel computes the whole chain, the quantizers before get nodes of their own. Not ``strict``: as
        far as there are kernels; else raises BitfabricError.
        """
        at = last_quantizer(source.steps)
        if at is None:
            return source
        head, origin = source.steps[: at + 1], source.origins[at]
        try:
            made = quantizer(source, head, f"{origin}: {head[-1].op}")
        except BitfabricError:
            if last_quantizer(head[:-1]) is not None:
                first = self._quantize(replace(source, steps=head[:-1], origins=source.origins[:at]), strict)
                if first.edge != source.edge:
                    rest = source.steps[at:], source.origins[at:]
                    longer = replace(first, steps=first.steps + rest[0], origins=first.origins + rest[1])
                    return self._quantize(longer, strict)
            if strict:
                raise
            return source
        edge = self.append(f"{source.edge}_{made.kernel.op}", made.kernel, source.edge)
        moves = tuple(each for each in head if each.op in RESHAPING)
        stream = made.kernel.outputs()[0]
        out = Wire(edge, stream.shape, stream.dtype, made.low, made.high).then((*moves, AS_FLOAT32), origin)
        out = replace(out, steps=out.steps + source.steps[at + 1 :], origins=out.origins + source.origins[at + 1 :])
        self.decisions[edge] = Decision(source, head, made)
        self._record(origin, out)
        return out

    def _output(self, value: onnx.ValueInfoProto) -> Port:
        """The port of a model output: integers in hardware as far as they go, the rest on the host."""
        tensor = self.values[value.name]
        if isinstance(tensor, Constant):
            raise BitfabricError(f"output {value.name} is constant; there is nothing to compute")
        name = f"output {value.name}"
        whole = self._leave_host(tensor, name, first=True) if isinstance(tensor, HostTensor) else tensor
        whole = self._moves_on_host(whole)
        others = (i for i, each in enumerate(whole.steps) if each.op not in ELEMENTWISE | RESHAPING)
        cut = next(others, len(whole.steps))
        tail = whole.steps[cut:]
        source = self._last_codes(replace(whole, steps=whole.steps[:cut], origins=whole.origins[:cut]))
        self.ends[value.name] = source, tail
        picked = arg_max(self, source, tail) if len(self.model.graph.output) == 1 else None
        source, tail = (source, tail) if picked is None else (picked, ())
        if any(source.edge == port.edge for port in self.inputs):
            # Nothing is left to compute, but hardware needs a kernel between its ports.
            passed = next((node.name for node in self.nodes if source.edge in node.inputs), None)
            stream = Stream(source.shape, source.dtype)
            source = replace(source, edge=passed or self.append("pass", Fifo(stream, 2), source.edge))
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        steps = (step("Cast", to="float64"), *source.steps, *tail, step("Cast", to=dtype.name))
        return Port(value.name, source.edge, self.shape(value.name)[1:], dtype.name, steps)

    def _last_codes(self, source: Wire) -> Wire:
        """The wire behind the last quantizer that has a kernel; the same nodes for outputs that share their steps."""
        key = source.edge, *map(id, source.steps)
        if key not in self._codes:
            self._codes[key] = self._quantize(source, strict=False)
        return self._codes[key]
