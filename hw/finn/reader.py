"""The state of reading a model in FINN's dialect, and the operations that the readers of its operators call on it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper

from hw.finn import host_nodes
from hw.finn.checks import check, constants
from hw.finn.dialect import BINARY, BIPOLAR, attributes, of_finn, operator
from hw.finn.values import HardwareValue, HostInput, HostOutput, casts_to, output_steps, shape_after_steps
from hw.host.errors import BitfabricError
from hw.host.operators import RESHAPING
from hw.host.steps import HostStep, step
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.origin import Origin
from hw.ir.stream import Stream, container
from hw.lowering.constant_folding import evaluate
from hw.lowering.gate.boundary import boundary
from hw.lowering.module_names import module_names

ReadOperator: TypeAlias = Callable[["Reader", onnx.NodeProto, dict[str, Any]], None]
"""A function that appends the kernels of one of FINN's nodes to a Reader; its arguments include the attributes."""

FLOATING = {"ElementwiseAdd": "Add", "ElementwiseDiv": "Div", "ElementwiseMul": "Mul", "ElementwiseSub": "Sub"}
"""FINN's operators that also exist for floats -> the ONNX operators."""


class Reader:
    """The conversion of one model in FINN's dialect to a graph.

    ``operators`` returns the function that reads an operator (``hw.finn.operators``); the function finds the node's
    inputs here and appends nodes. ``values`` describes each tensor of the model, by name.
    """

    def __init__(self, proto: onnx.ModelProto, operators: Callable[[str], ReadOperator | None]) -> None:
        check(proto)
        self.proto = proto
        self.operators = operators
        self.constants = constants(proto.graph)
        self.wrapper = ModelWrapper(proto)
        self.values: dict[str, HostInput | HardwareValue | HostOutput] = {}
        self.nodes: list[Node] = []
        self.inputs: list[Port] = []
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        self.padded: dict[str, tuple[tuple[int, int], ...]] = {}
        """Tensors after an FMPadding that is merged into the window which reads them: the padding of each axis."""
        self.tiles: dict[str, tuple[int, ...]] = {}
        """Tensors of windows without overlap, which the pool that reads them forms itself: the windows' sizes."""
        for node in proto.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.modules = module_names(proto.graph)
        self.versions = {opset.domain: opset.version for opset in proto.opset_import}

    def graph(self) -> Graph:
        """Read the whole model. Raises BitfabricError, with its name, for a node without an exact equivalent."""
        for value in self.proto.graph.input:
            if value.name not in self.constants:
                self.values[value.name] = HostInput(value.name, tuple(self.shape(value.name)[1:]))
        for node in self.proto.graph.node:
            with boundary(f"{node.name}: {node.op_type}"):
                if of_finn(node):
                    self._hardware(node)
                else:
                    self._host(node)
        with boundary("the outputs of the model"):
            outputs = tuple(self._output(value) for value in self.proto.graph.output)
            return Graph(tuple(self.nodes), tuple(self.inputs), outputs)

    # --- the host's share ---

    def _host(self, node: onnx.NodeProto) -> None:
        """Append the steps of a node that is not FINN's to those of its input."""
        if node.op_type == "Constant":
            self.constants[node.output[0]] = evaluate(node, (), 1)[0]
            return
        data = [name for name in node.input if name and name not in self.constants]
        if len(data) != 1:
            raise BitfabricError(
                f"{node.name}: {node.op_type} of {len(data)} tensors is not done by the host; leave it to the hardware"
            )
        value = self.values[data[0]]
        if isinstance(value, HardwareValue):
            value = self._host_output(data[0], value)
        call = host_nodes.call_of(node, self.constants, (1, *value.shape), self.versions.get(node.domain, 1))
        for output in filter(None, node.output):
            steps = host_nodes.steps_of(call, output)
            shape = shape_after_steps(steps, value.shape)
            self.values[output] = replace(value, steps=(*value.steps, *steps), shape=shape)

    def _enter(self, name: str, node: onnx.NodeProto, stream: Stream) -> HardwareValue:
        """The integers of a new input port, through which the host feeds the tensor ``name`` to the hardware."""
        host = self.values[name]
        assert isinstance(host, HostInput)
        steps = list(host.steps)
        # FINN represents signals as images of one row, and integers as floats. The host forms a frame of the stream's
        # shape by itself.
        shapes = [shape_after_steps(some, self._port_shape(host)) for some in (steps, steps[:-1])]
        if steps and steps[-1].op == "Reshape" and stream.shape in shapes:
            steps.pop()
        if steps and casts_to(steps[-1], "float32"):
            steps.pop()
        annotated = self.wrapper.get_tensor_datatype(host.port)
        dtype = annotated.name if annotated is not None and annotated.is_integer() else "float32"
        if not steps and dtype == "float32":
            dtype = stream.dtype.name  # A dataflow partition of FINN's states the input's type only there.
        value = HardwareValue(name, stream)
        if stream.dtype == BINARY and self.xnor_only(name):
            stream = replace(stream, dtype=BIPOLAR)
            value = HardwareValue(name, stream, 1, 1)
            if dtype == "BINARY":
                steps.insert(0, step("Cast", to="float32"))
            steps += [step("Mul", np.array(2, np.float32)), step("Sub", np.array(1, np.float32))]
        if any(each.op not in RESHAPING for each in steps) and not casts_to(steps[-1], container(stream.dtype).name):
            steps.append(step("Cast", to=container(stream.dtype).name))
        self.inputs.append(Port(host.port, name, self._port_shape(host), dtype, tuple(steps)))
        self.values[name] = value
        return value

    def _port_shape(self, host: HostInput) -> tuple[int, ...]:
        return tuple(self.shape(host.port)[1:])

    def _host_output(self, name: str, value: HardwareValue) -> HostOutput:
        shape = self.wrapper.get_tensor_shape(name)
        seen = tuple(shape[1:]) if shape else value.stream.shape
        return HostOutput(value, seen, seen)

    def _output(self, info: onnx.ValueInfoProto) -> Port:
        value = self.values.get(info.name)
        if value is None or isinstance(value, HostInput):
            raise BitfabricError(f"output {info.name} does not come from a layer of FINN's")
        if isinstance(value, HardwareValue):
            value = self._host_output(info.name, value)
        shape = tuple(self.shape(info.name)[1:])
        dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type).name
        steps = output_steps(value)
        if value.shape != shape:
            steps = (*steps, step("Reshape", shape=shape))
        if not any(casts_to(each, dtype) for each in steps[-1:]):
            steps = (*steps, step("Cast", to=dtype))
        return Port(info.name, value.value.edge, shape, dtype, steps)

    # --- the hardware ---

    def _hardware(self, node: onnx.NodeProto) -> None:
        op = operator(node)
        if op in FLOATING and self._float_step(node, op):
            return
        read = self.operators(op)
        if read is None:
            raise BitfabricError(
                f"{node.name}: there is no kernel for FINN's {op}; keep it out of the dataflow graph, or build from "
                "the QONNX file"
            )
        for value in map(self.values.get, node.input):
            if isinstance(value, HostOutput):
                last = value.steps[-1].op if value.steps else "a node"
                raise BitfabricError(
                    f"{node.name}: {op} follows {last}, which is left to the host; map that to hardware first"
                )
        attribute = attributes(node)
        if op == "Thresholding" and attribute["inputDataType"].startswith("FLOAT"):
            self._float_quantizer(node, attribute)
            return
        try:
            read(self, node, attribute)
        except BitfabricError as error:
            text = str(error)
            raise type(error)(text if node.name in text else f"{node.name}: {text}") from None

    def _float_step(self, node: onnx.NodeProto, op: str) -> bool:
        """Whether a node is a floating-point scale or offset, which becomes a step of the host."""
        constant = next((name for name in node.input if name in self.constants), None)
        data = next((name for name in node.input if name not in self.constants), None)
        if constant is None or data is None or DataType[attributes(node)["out_dtype"]].is_integer():
            return False
        value, operand = self.values[data], self.constants[constant].astype(np.float32)
        first = node.input[0] == data
        if op == "ElementwiseDiv" and not first:
            return False
        if isinstance(value, HardwareValue):
            value = self._host_output(data, value)
        steps: tuple[HostStep, ...] = (step(FLOATING[op], operand),)
        if op == "ElementwiseSub" and not first:
            steps = (step("Neg"), step("Add", operand))
        self.values[node.output[0]] = replace(value, steps=(*value.steps, *steps))
        return True

    def _float_quantizer(self, node: onnx.NodeProto, attribute: dict[str, Any]) -> None:
        """Convert a Thresholding of floats to a host step. FINN can have such a node in hardware."""
        value = self.values[node.input[0]]
        if not isinstance(value, HostInput):
            raise BitfabricError(
                f"{node.name}: it quantizes floats in the middle of the network; only an input's can be"
            )
        bipolar = attribute["outputDataType"] == "BIPOLAR"
        table = self.constants[node.input[1]].T
        table = table.reshape(len(table), *(1,) * len(value.shape[:-1]), -1)
        least = -1 if bipolar else int(attribute.get("ActVal", 0))
        codes = step("MultiThreshold", table, least=least, unit=2 if bipolar else 1)
        self.values[node.output[0]] = replace(value, steps=(*value.steps, codes))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor. Raises BitfabricError unless it has a batch of one."""
        shape = self.wrapper.get_tensor_shape(name)
        if not shape or shape[0] != 1:
            raise BitfabricError(
                f"tensor {name} has shape {shape}; FINN's graphs hold one frame: give it a batch of one"
            )
        return tuple(shape)

    def value(self, node: onnx.NodeProto, stream: Stream, index: int = 0) -> HardwareValue:
        """An input of a layer, in the shape and type that the edge really has.

        ``stream`` is the input by FINN's attributes; it is used for an input port only. Raises BitfabricError if the
        input is constant or missing.
        """
        name = node.input[index]
        value = self.values.get(name)
        if value is None:
            raise BitfabricError(f"{node.name}: its input {name} is constant or missing; feed it with data")
        if isinstance(value, HostInput):
            return self._enter(name, node, stream)
        assert isinstance(value, HardwareValue)
        return value

    def integers(self, node: onnx.NodeProto, stream: Stream, index: int = 0) -> HardwareValue:
        """An input whose values in FINN are our integers.

        Raises BitfabricError if they are popcounts, or 1-bit values that represent -1 and +1 here.
        """
        value = self.value(node, stream, index)
        if not value.plain:
            raise BitfabricError(
                f"{node.name}: {operator(node)} takes popcounts, or 1-bit values that elsewhere stand for -1 and 1; "
                "build from the QONNX file"
            )
        return value

    def append(
        self,
        node: onnx.NodeProto,
        kernel: Kernel,
        *sources: HardwareValue,
        name: str = "",
        edges: tuple[str, ...] = (),
        factor: int = 2,
        offset: np.ndarray | int = 0,
    ) -> None:
        """Append one of our nodes for FINN's node, or for a part of it.

        ``name`` and ``edges`` default to those of FINN's node; ``factor`` and ``offset`` describe FINN's values of the
        outputs (see ``HardwareValue``).
        """
        edges = edges or tuple(node.output)
        origin = Origin(node.name, self.modules.get(node.name, ""))
        self.nodes.append(Node(name or node.name, kernel, tuple(source.edge for source in sources), edges, origin))
        for edge, stream in zip(edges, kernel.outputs(), strict=True):
            self.values[edge] = HardwareValue(edge, stream, factor, offset)

    def xnor_only(self, name: str) -> bool:
        """Whether a tensor of 0 and 1 is read by XNOR layers only, to which these represent -1 and +1."""
        readers = self.readers.get(name, [])
        through = {"ConvolutionInputGenerator", "StreamingFIFO", "StreamingDataWidthConverter", "DuplicateStreams"}
        return bool(readers) and all(
            of_finn(reader)
            and (
                bool(attributes(reader).get("binaryXnorMode"))
                or (
                    (operator(reader) in through or attributes(reader).get("Function") == "MaxPool")
                    and all(self.xnor_only(out) for out in reader.output)
                )
            )
            for reader in readers
        )

    def one_reader(self, name: str) -> onnx.NodeProto | None:
        """The node that reads a tensor; None if it has no reader or several."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 else None
