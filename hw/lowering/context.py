"""The state of a lowering while it processes the model's nodes, and the operations that handlers call on it."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx
from qonnx.core.modelwrapper import ModelWrapper

from hw.host.errors import BitfabricError, ToolError, UsageError
from hw.host.operators import QUANTIZERS
from hw.host.steps import step
from hw.ir.graph import Node, Port
from hw.ir.kernel import Kernel
from hw.ir.origin import Origin
from hw.ir.stream import container
from hw.lowering import exit_sites, expert_sites
from hw.lowering.call import FLOATS, Call, data_index
from hw.lowering.constants import Constant
from hw.lowering.input_types import EXAMPLE
from hw.lowering.integer_tensor import (
    HostTensor,
    IntegerTensor,
    Steps,
    binary,
    content,
    dtype_of,
    integer_tensor,
    last_quantizer,
    quantizer_range,
)
from hw.lowering.layout_ops import LayoutOps, channel_last, inverse, shape_after, simplified, through_layout_ops
from hw.lowering.lookup_sites import Site
from hw.lowering.module_names import module_names
from hw.lowering.pending_sum import PendingSum, Summation, summation
from hw.lowering.quantize import Join, Quantizer, quantizer, regridding_steps, summed_quantizer
from hw.lowering.rounding import Product

MAX_SPLITS = 32
"""Kernels into which a chain of quantizers is split at most, where one cannot compute it."""


@dataclass(frozen=True, eq=False)
class Decision:
    """The origin of a quantizing node: ``steps`` compute its codes from the integers of ``source``."""

    source: IntegerTensor
    steps: Steps
    quantizer: Quantizer


class Lowering:
    """The lowering of one loaded model.

    State that grows during the walk:

    - ``values``: what is known of each of the model's tensors, by name;
    - ``nodes``, ``inputs``: the nodes and input ports of the dataflow graph so far;
    - ``node``: the name of the model's node that is being lowered, "" at the outputs;
    - ``readers``: by edge, the nodes that read it;
    - ``tensors``: by edge, the model's tensor that its integers represent and the chain from them to its values;
    - ``computed``: the same as ``tensors`` for integer inputs, and for the outputs of handlers (sums, pools, ...);
    - ``decisions``: by edge, the quantizer that writes it;
    - ``products``: by edge, how float32 rounding propagates through the kernel that writes it;
    - ``joins``: by edge of a sum whose scales have no small ratio, what is known of it;
    - ``ends``: by model output, the integers with their element-wise steps, and the host steps after those;
    - ``functions``: by edge, its integers as a function of those of another edge, and the number of steps on the edge
      that the function replaces;
    - ``concatenations``: by edge, the tensors that it concatenates, and the number of steps on the edge that replace
      theirs.

    ``images`` names the model's tensors that spatial operators read, with the axis of their channels, which counts the
    batch: their streams have channels innermost. ``used`` names all tensors that are read. ``sites`` are the recognised
    parts of lookup networks, by the tensors that they compute, ``exits`` the decisions of early exits and ``experts``
    the products of experts likewise.
    """

    def __init__(
        self,
        model: ModelWrapper,
        images: Mapping[str, int],
        used: Collection[str],
        sites: Mapping[str, Site],
        exits: Mapping[str, exit_sites.Site],
        experts: Mapping[str, expert_sites.Site],
    ) -> None:
        self.model = model
        self.images = images
        self.used = used
        self.sites = sites
        self.exits = exits
        self.experts = experts
        self.values: dict[str, Constant | HostTensor | IntegerTensor] = {}
        self.nodes: list[Node] = []
        self.inputs: list[Port] = []
        self.node = ""
        self.tensors: dict[str, tuple[str, IntegerTensor]] = {}
        self.computed: dict[str, tuple[str, IntegerTensor]] = {}
        self.decisions: dict[str, Decision] = {}
        self.products: dict[str, Product] = {}
        self.joins: dict[str, Join] = {}
        self.ends: dict[str, tuple[IntegerTensor, Steps]] = {}
        self.concatenations: dict[str, tuple[int, tuple[IntegerTensor, ...]]] = {}
        self.functions: dict[str, tuple[int, IntegerTensor]] = {}
        self.first_outputs = {node.name: node.output[0] for node in model.graph.node}
        self.readers: dict[str, list[Node]] = {}
        self._entered: dict[Hashable, tuple[IntegerTensor, LayoutOps]] = {}
        self._quantized: dict[Hashable, IntegerTensor] = {}
        self._sums: dict[Hashable, str] = {}
        self._layers: Counter[str] = Counter()
        self._names: set[str] = set()
        self._copies: Counter[str] = Counter()
        self._modules = module_names(model.graph)
        self._quantized_layers: dict[str, str] = {}
        graph = model.graph
        self._shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        for value in (*graph.input, *graph.output, *graph.value_info):
            self._shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        self._versions = {opset.domain: opset.version for opset in model.model.opset_import}
        self._writers = {output: name for name, output in self.first_outputs.items()}

    # --- queries of handlers about their node ---

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a model's tensor, with a batch of one. Raises UsageError if it cannot be inferred."""
        shape = self._shapes.get(name)
        if shape is None:
            raise UsageError(f"tensor {name} has no shape that can be inferred; export the model again")
        return shape

    def element_type(self, name: str) -> str:
        """The type of a model's tensor, as NumPy names it."""
        return np.dtype(
            onnx.helper.tensor_dtype_to_np_dtype(self.model.get_tensor_valueinfo(name).type.tensor_type.elem_type)
        ).name

    def writer(self, name: str) -> str | None:
        """The node that computes a model's tensor; None for inputs and constants."""
        return self._writers.get(name)

    def version(self, node: onnx.NodeProto) -> int:
        """The version of the operator set that a node belongs to."""
        return self._versions.get(node.domain, 1)

    def call(self, node: onnx.NodeProto, output: int = 0) -> Call:
        """A node with its constant inputs, its shapes and its operator set's version."""
        inputs = tuple(self.values.get(name) if name else None for name in node.input)
        constants = tuple(value if isinstance(value, Constant) else None for value in inputs)
        index = data_index(constants, tuple(node.input))
        shapes = self.shape(node.input[index]), self.shape(node.output[output])
        data = inputs[index]
        number = data.number if isinstance(data, HostTensor | IntegerTensor) else None
        return Call(node, constants, *shapes, self.version(node), number)

    def integers(self, tensor: str, reader: onnx.NodeProto) -> IntegerTensor:
        """A model's tensor as integers on an edge, after its last quantizer; only element-wise steps remain.

        Appends the nodes that quantize it, if they do not exist yet. Raises BitfabricError, naming ``reader``, if the
        tensor is constant or cannot be quantized exactly.
        """
        return self.summed(self.summable(tensor, reader))

    def summable(self, tensor: str, reader: onnx.NodeProto) -> IntegerTensor:
        """The same, for a reader that adds: a sum whose scales have no small ratio may have no kernels yet."""
        value = self.values[tensor]
        if isinstance(value, Constant):
            raise BitfabricError(
                f"{reader.name}: {reader.op_type} cannot be lowered: its input {tensor} is constant; feed it with data"
            )
        if value.host_steps:
            raise BitfabricError(
                f"{value.host_origins[0]}: {value.host_steps[0].op} cannot be lowered: only the host computes it, "
                f"after the last layer; but {reader.name} follows"
            )
        return replace(self.quantize(self.on_edge(value, tensor, reader.name)), restore_ops=())

    def affine_integers(
        self, tensor: str, reader: onnx.NodeProto, sums: bool = False, codes: bool = False
    ) -> IntegerTensor:
        """The same as ``integers``, for a reader that computes in float32 and needs the remaining steps to be affine.

        With ``sums``, the same as ``summable``; with ``codes``, the reader takes integers, too, for example those
        between QuantizeLinear and DequantizeLinear. Raises BitfabricError if the steps are not affine, and for data of
        another type.
        """
        result = self.summable(tensor, reader) if sums else self.integers(tensor, reader)
        if result.number != "float32" and (not codes or result.number in FLOATS):
            raise BitfabricError(
                f"{reader.name}: {reader.op_type} cannot be lowered: its input {tensor} is {result.number}; cast it to "
                "float32 before it"
            )
        if result.affine is None:
            raise BitfabricError(
                f"{reader.name}: its input passes {result.not_affine} after the last quantizer and is floating point; "
                "put a quantizer before it"
            )
        return result

    # --- additions of handlers to the graph ---

    def name(self, kind: str) -> str:
        """The name of the next layer of a kind: ``conv0``, ``conv1``, ..."""
        self._layers[kind] += 1
        return f"{kind}{self._layers[kind] - 1}"

    def append(self, name: str, kernel: Kernel, *edges: str, origin: str | None = None) -> str:
        """Append a node that reads ``edges``; returns its unique name, which is also the edge that it writes.

        ``origin`` is the name of the model's node that it comes from, by default the one that is being lowered.
        """
        unique = name
        while unique in self._names:
            self._copies[name] += 1
            unique = f"{name}_{self._copies[name] + 1}"
        self._names.add(unique)
        node = self.node if origin is None else origin
        self.nodes.append(Node(unique, kernel, edges, (unique,), Origin(node, self._modules.get(node, ""))))
        for edge in edges:
            self.readers.setdefault(edge, []).append(self.nodes[-1])
        return unique

    def record(self, tensor: str) -> None:
        """Record the integers that a handler's kernels compute as those of the model's ``tensor``.

        Nothing is recorded for a tensor that has no kernel of its own, or whose values do not determine its integers.
        """
        value = self.values.get(tensor)
        if not isinstance(value, IntegerTensor) or isinstance(value, PendingSum) or value.host_steps:
            return
        if value.affine is None:
            return
        if value.edge not in self.tensors and all(value.edge != port.edge for port in self.inputs):
            self.computed.setdefault(value.edge, (tensor, value))

    def remove_unread(self, outputs: Iterable[str]) -> None:
        """Remove the nodes whose results nothing reads, ``outputs`` aside: functions that go back behind them."""
        read, kept = set(outputs), []
        for node in reversed(self.nodes):
            if read.isdisjoint(node.outputs):
                for edge in node.outputs:
                    for known in (self.tensors, self.computed, self.decisions, self.products, self.joins):
                        known.pop(edge, None)
            else:
                read.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]
        self.readers = {edge: [node for node in self.nodes if edge in node.inputs] for edge in self.readers}

    # --- from the model's tensors to integers on edges ---

    def on_edge(
        self, value: HostTensor | IntegerTensor, tensor: str, reader: str, first: bool = False
    ) -> IntegerTensor:
        """The tensor as integers of an edge, without its host steps.

        For a tensor that the host computes, this makes the input port. The host computes it up to its last quantizer,
        or, if ``first``, up to its first one.
        """
        value = value.truncated(len(value.steps))
        if not first and (steps := regridding_steps(value.steps, value.origins)):
            value = value.extended(steps, (self._writers[tensor],) * len(steps))
        return value if isinstance(value, IntegerTensor) else self._enter(value, tensor, reader, first)

    def _enter(self, value: HostTensor, tensor: str, reader: str, first: bool) -> IntegerTensor:
        """The integers of an input port. The host also rearranges the elements into the order of the streams."""
        at = [i for i, each in enumerate(value.steps) if each.op in QUANTIZERS]
        if value.dtype is None and not at:
            raise BitfabricError(
                f"input {value.port} reaches {reader} as floating point; say what it takes (--input-type "
                f"'{EXAMPLE}', or uint8), or quantize it first (a QuantIdentity in Brevitas)"
            )
        count = 0 if value.dtype is not None else (at[0] if first else at[-1]) + 1
        key = value.port, *map(content, (*value.prologue, *value.steps[:count]))
        new = key not in self._entered
        if new:
            self._entered[key] = self._port(value, count, tensor)
        start, layout_ops = self._entered[key]
        rest = tuple(
            each.with_constants(lambda operand: through_layout_ops(operand, layout_ops, value.shape))
            for each in value.steps[count:]
        )
        restore_ops = inverse(layout_ops, value.shape)
        remaining = simplified((*restore_ops, *value.layout_ops), start.shape)
        result = start.extended(rest, value.origins[count:])
        result = replace(result, layout_ops=remaining, restore_ops=restore_ops, number=value.number)
        if new and count:
            self._record(value.origins[count - 1], result)
        elif new:
            self.computed[start.edge] = value.port, replace(start, layout_ops=restore_ops)
        return result

    def _port(self, value: HostTensor, count: int, tensor: str) -> tuple[IntegerTensor, LayoutOps]:
        """A new port whose host computes ``count`` steps of ``value``: its integers, and the host's layout operators.

        The integers are in the order in which they leave the port.
        """
        if value.port in (port.name for port in self.inputs):
            raise BitfabricError(
                f"input {value.port} is quantized in several ways, the second time by {value.origins[count - 1]}; "
                "quantize it once (one QuantIdentity) and feed all its readers from that"
            )
        layout_ops = value.layout_ops
        rank = len(value.tensor_shape)
        axis = self.images.get(tensor, 0) % (rank + 1)
        if axis and rank > 1:
            layout_ops = simplified((*layout_ops, channel_last(rank, axis - 1)), value.shape)
        edge = f"input{len(self.inputs) or ''}"
        shape = shape_after(layout_ops, value.shape)
        if value.dtype is not None:
            self.inputs.append(Port(value.port, edge, value.shape, value.dtype.name, layout_ops))
            return integer_tensor(edge, shape, value.dtype), layout_ops
        head = value.steps[:count]
        low, high = quantizer_range(head[-1], value.origins[count - 1])
        dtype = dtype_of(low, high, binary(head[-1]))
        steps = (*value.prologue, *head, *layout_ops, step("Cast", to=container(dtype).name))
        self.inputs.append(Port(value.port, edge, value.port_shape, "float32", steps))
        return integer_tensor(edge, shape, dtype, low, high, value.origins[count - 1]), layout_ops

    def quantize(self, source: IntegerTensor, strict: bool = True, splits: int = MAX_SPLITS) -> IntegerTensor:
        """The tensor as codes of its last quantizer, which a new node computes; the steps after it remain.

        Equal chains share one node. If no single kernel computes the whole chain, the quantizers before the last get
        nodes of their own, in at most ``splits`` parts. If that fails, too, a ``strict`` call raises BitfabricError,
        and one that is not quantizes as far as there are kernels.
        """
        at = last_quantizer(source.steps)
        if at is None:
            return source
        if source.truncated(at + 1).varies_spatially:
            source = source.reshaped((prod(source.shape),))
        head, origin = source.steps[: at + 1], source.origins[at]
        key = source.edge, source.shape, *map(content, head)
        new = key not in self._quantized
        if new:
            try:
                origin_of = f"{origin}: {head[-1].op}"
                if isinstance(source, PendingSum):
                    sums, made, join = summed_quantizer(source, head, origin_of)
                else:
                    made = quantizer(source, head, origin_of)
            except ToolError:
                raise
            except BitfabricError:
                if splits and last_quantizer(head[:-1]) is not None:
                    before = replace(source, steps=head[:-1], origins=source.origins[:at])
                    first = self.quantize(before, strict, splits - 1)
                    if first.edge != source.edge:
                        return self.quantize(first.extended(source.steps[at:], source.origins[at:]), strict, splits - 1)
                if strict:
                    raise
                return source
            read = self._append_sum(sums, join) if isinstance(source, PendingSum) else source
            count = at + 1 + len(read.steps) - len(source.steps)
            # All quantizers behind a layer, one after another or beside each other, are numbered after the layer.
            layer = self._quantized_layers.get(read.edge, read.edge)
            edge = read.edge
            for kernel in made.kernels:
                edge = self.append(f"{layer}_{kernel.op}", kernel, edge, origin=origin)
                self._quantized_layers[edge] = layer
            stream = made.kernels[-1].outputs()[0]
            self._quantized[key] = integer_tensor(edge, stream.shape, stream.dtype, made.low, made.high, origin)
            self.decisions[edge] = Decision(read.truncated(count), read.steps[:count], made)
            # A Requant does not compute in float32, as the steps do, and they are not exact on a sum of unequal scales.
            if made.in_float32 and read is source:
                self.functions[edge] = 0, self.decisions[edge].source
        out = self._quantized[key].extended(source.steps[at + 1 :], source.origins[at + 1 :])
        out = replace(out, layout_ops=source.layout_ops, restore_ops=source.restore_ops, number=source.number)
        if new:
            self._record(origin, out)
        return out

    def summed(self, tensor: IntegerTensor) -> IntegerTensor:
        """The tensor on an edge; a sum without kernels gets those that are as precise as float32."""
        if not isinstance(tensor, PendingSum):
            return tensor
        return self._append_sum(summation(tensor, tensor.faithful), Join(0, 0))

    def _append_sum(self, sums: Summation, join: Join) -> IntegerTensor:
        """Append the kernels of a sum, unless they exist already."""
        key = sums.tensor.edge, sums.tensor.shape, *map(tuple, sums.coefficients)
        if key not in self._sums:
            edge = sums.append(self.append)
            self._sums[key], self.products[edge], self.joins[edge] = edge, sums.product, join
        return replace(sums.tensor, edge=self._sums[key])

    def _record(self, origin: str, source: IntegerTensor) -> None:
        """Record which of the model's tensors the codes of the quantizer ``origin`` represent."""
        count = next((i for i, name in enumerate(source.origins) if name != origin), len(source.steps))
        value = self.values[self.first_outputs[origin]]
        assert not isinstance(value, Constant)
        layout_ops = simplified((*source.restore_ops, *value.layout_ops), source.shape)
        recorded = replace(source.truncated(count), layout_ops=layout_ops)
        self.tensors[source.edge] = (self.first_outputs[origin], recorded)
