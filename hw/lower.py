"""Lowering: a QONNX model to the integer dataflow graph that computes the same, exactly.

Every tensor of the model is an edge's integers and the chain of steps from them to the tensor's values.
Element-wise nodes only lengthen the chain. Where a layer needs integers again, the whole chain up to the
last quantizer is one function of one integer per element, evaluated in float64 with the model's own
arithmetic: Threshold kernels take its decision points, Requant kernels (more than 8 bits) are checked
against all of them. What is left of a chain after the last quantizer must be affine and goes into the
weights, or is done by the host if it ends in an output.

Layers are named ``fc0``, ``fc1``, ... in the model's order; ``fc0_threshold`` or ``fc0_requant`` is the
quantizer behind ``fc0``, ``input_threshold`` one that works on an integer input, ``arg_max`` the last node.
Edges have the names of the nodes that write them; the input's edge is ``input``.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, replace

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
from hw.kernels.requant import Requant
from hw.layers import HANDLERS, arg_max
from hw.operators import ELEMENTWISE, QUANTIZERS, RESHAPING
from hw.qonnx_file import integer_dtype, load
from hw.quantize import Quantizer, changes_nothing, quantizer
from hw.rounding import Product
from hw.stream import Stream, container
from hw.wires import HostTensor, Steps, Wire, binary, dtype_of, last_quantizer, quantizer_range, wire

__all__ = ["Lowering", "load", "lower"]

Source = str | os.PathLike[str] | onnx.ModelProto | ModelWrapper


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
        source = self._leave_host(value, reader.name) if isinstance(value, HostTensor) else value
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
        data = [value for value in given if not isinstance(value, Constant)]
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
        versions = {opset.domain: opset.version for opset in self.model.model.opset_import}
        return node_steps.Call(
            node,
            tuple(v if isinstance(v, Constant) else None for v in inputs),
            self.shape(node.input[index]),
            self.shape(node.output[output]),
            versions.get(node.domain, 1),
        )

    def _extend(self, node: onnx.NodeProto, value: HostTensor | Wire, steps: tuple[HostStep, ...]) -> None:
        unchanged = (
            isinstance(value, Wire) and any(each.op in QUANTIZERS for each in steps) and changes_nothing(value, steps)
        )
        self.values[node.output[0]] = value if unchanged else value.then(steps, node.name)

    def _fold(self, node: onnx.NodeProto) -> None:
        """A node of constants only."""
        given = [self.values[name] if name else None for name in node.input]
        first = given[0]
        assert isinstance(first, Constant)
        values = [value.value if isinstance(value, Constant) else None for value in given]
        out = node.output[0]
        match node.op_type:
            case "Quant" | "IntQuant":
                self.values[out] = constants.quantized(first.value, constants.quant_parameters(node, values[1:4]))
            case "BipolarQuant":
                self.values[out] = constants.bipolar(first.value, values[1])
            case "Transpose":
                axes = constants.attribute(node, "perm", tuple(reversed(range(first.value.ndim))))
                self.values[out] = constants.moved(first, lambda a: np.transpose(a, axes))
            case "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze":
                self.values[out] = constants.moved(first, lambda a: a.reshape(self.shape(out)))
            case "Identity" | "Dropout":
                self.values[out] = first
            case _:
                context = {name: value for name, value in zip(node.input, values, strict=True) if name}
                context.update({name: np.zeros(self.shape(name), np.float32) for name in node.output if name})
                versions = {opset.domain: opset.version for opset in self.model.model.opset_import}
                execute_node(node, context, self.model.graph, versions.get(node.domain, 1))
                self.values.update({name: Constant(context[name]) for name in node.output if name})
                if node.op_type == "Mul":
                    quantized = first if first.integers is not None else given[1]
                    factor = values[1] if quantized is first else values[0]
                    self.values[out] = constants.scaled(quantized, factor, context[out])

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
        head, tail = list(value.steps[:cut]), list(zip(value.steps[cut:], value.origins[cut:], strict=True))
        if not first and all(operand.size == 1 for each, _ in tail for operand in each.operands):
            # Scales are the same for all elements, so the host may move elements before them, for nothing.
            head += [each for each, _ in tail if each.op in RESHAPING]
            tail = [(each, origin) for each, origin in tail if each.op not in RESHAPING]
        low, high = quantizer_range(value.steps[cut - 1], value.origins[cut - 1])
        dtype = dtype_of(low, high, binary(value.steps[cut - 1]))
        head.append(step("Cast", to=container(dtype).name))
        shape = run(head, np.zeros((1, *value.shape), np.float32)).shape[1:]
        edge = self._port(value.port, value.shape, "float32", tuple(head))
        steps, origins = tuple(each for each, _ in tail), tuple(origin for _, origin in tail)
        return replace(wire(edge, shape, dtype, low, high), steps=steps, origins=origins)

    def _record(self, origin: str, source: Wire) -> None:
        """Remember which of the model's tensors a quantizer's codes stand for."""
        count = next((i for i, name in enumerate(source.origins) if name != origin), len(source.steps))
        done = replace(source, steps=source.steps[:count], origins=source.origins[:count])
        self.tensors[source.edge] = (self.written[origin], done)

    def _quantize(self, source: Wire) -> Wire:
        """The wire behind its last quantizer: a new node computes the codes, the steps after it are left."""
        at = last_quantizer(source.steps)
        if at is None:
            return source
        head, origin = source.steps[: at + 1], source.origins[at]
        made = quantizer(source, head, f"{origin}: {head[-1].op}")
        suffix = "requant" if isinstance(made.kernel, Requant) else "threshold"
        edge = self.append(f"{source.edge}_{suffix}", made.kernel, source.edge)
        moves = tuple(each for each in head if each.op in RESHAPING)
        stream = made.kernel.outputs()[0]
        out = Wire(edge, stream.shape, stream.dtype, made.low, made.high)
        out = replace(
            out, steps=moves + source.steps[at + 1 :], origins=(origin,) * len(moves) + source.origins[at + 1 :]
        )
        self.decisions[edge] = Decision(source, head, made)
        self._record(origin, out)
        return out

    def _output(self, value: onnx.ValueInfoProto) -> Port:
        """The port of a model output: integers in hardware as far as they go, the rest on the host."""
        tensor = self.values[value.name]
        if isinstance(tensor, Constant):
            raise BitfabricError(f"output {value.name} is constant; there is nothing to compute")
        source = (
            self._leave_host(tensor, f"output {value.name}", first=True) if isinstance(tensor, HostTensor) else tensor
        )
        cut = next(
            (i for i, each in enumerate(source.steps) if each.op not in ELEMENTWISE | RESHAPING), len(source.steps)
        )
        tail, names = source.steps[cut:], source.origins[cut:]
        source = replace(source, steps=source.steps[:cut], origins=source.origins[:cut])
        # The host can compute what no kernel can, from the integers before it.
        with suppress(BitfabricError):
            source = self._quantize(source)
        self.ends[value.name] = source, tail
        picked = arg_max(self, source, tail)
        source, tail = (source, tail) if picked is None else (picked, ())
        if not any(source.edge == node.outputs[0] for node in self.nodes):
            edge = self.append("pass", Fifo(Stream(source.shape, source.dtype), 2), source.edge)
            source = replace(source, edge=edge)
        source = source.then(tail, names[-1] if names else "")
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        shape = self.shape(value.name)[1:]
        steps = (step("Cast", to="float64"), *source.steps, step("Cast", to=dtype.name))
        return Port(value.name, source.edge, shape, dtype.name, steps)
