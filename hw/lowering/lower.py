"""Lowering: converts a QONNX model to an integer dataflow graph that computes exactly the same results.

Every tensor of the model is represented by the integers of an edge and a chain of steps from them to the tensor's
values (``hw.lowering.integer_tensor``). Element-wise nodes only extend the chain. Where a layer needs integers again,
the whole chain up to the last quantizer is one function of one integer per element. It is evaluated with the model's
own arithmetic: a matrix product is exact and rounded to float32 once, and what follows runs in float32 as it does in
the model, because scales such as 0.1 have ties in float32 that they do not have in exact arithmetic. Threshold
kernels store the function's decision points. Requant kernels (more than 8 bits; at least 5 bits where the scale is a
power of two, or where the thresholds of an ONNX QuantizeLinear would be large) compute it without rounding to float32.
The steps after the last quantizer must be affine: they are folded into the weights of the next layer and the scale of
its sums. At an output of the model the host computes them.

Streams have channels last. The model's Transpose and Reshape nodes, and its own order of channels, are layout
operators at the end of a chain (``hw.lowering.layout_ops``). They cost no hardware, since weights are permuted and
hosts transpose. A tensor with several readers is quantized once, and a fork copies the stream (``hw.passes.forks``).

Each operator that becomes a kernel has a handler in one of the tables composed here; ``hw.lowering.handlers`` defines
handlers, and describes how another package adds one.

Layers are named by kind in the model's order: ``fc0``, ``fc1``, ``conv0``, ``pool0``, ``add0``, ``concat0``,
``upsample0``, ``select0``, ``reorder0``, ``margin0``, ``exit0``, ``merge0``, ``gate0``, ``experts0``, ``thermometer0``,
``lookup0``, ``popcount0``; ``skip0`` is a lookup layer that also passes bits on, ``bits0`` makes bits of two other
values. ``conv0_window`` is the sliding window before ``conv0``, ``conv0_threshold`` or ``conv0_requant`` the quantizer
after it (``conv0_threshold_2`` the second one), ``conv0_threshold_fork`` the fork that copies its stream;
``input_threshold`` quantizes an integer input, ``arg_max`` is the last node. Edges have the names of the nodes that
write them; the input's edge is ``input``. The user's own names are each node's ``origin`` (``hw.lowering.module_names``
finds those of modules): a window belongs to its convolution, a fork to no node of the model.
"""

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper
from qonnx.core.modelwrapper import ModelWrapper

from hw.host.elementwise import COMBINERS
from hw.host.errors import BitfabricError, ToolError
from hw.host.operators import QUANTIZERS
from hw.host.steps import step
from hw.ir.graph import Graph, Port
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo
from hw.lowering import (
    arg_max,
    convolution,
    dense,
    early_exits,
    experts,
    joining,
    lookup_encoders,
    lookup_layers,
    moves,
    node_steps,
    pads,
    pooling,
    transposed,
)
from hw.lowering.call import FLOATS, Call
from hw.lowering.constant_operators.casts import cast_name
from hw.lowering.constants import Constant, folded
from hw.lowering.context import Decision, Lowering
from hw.lowering.domains import find_plugin, operator_key
from hw.lowering.early_exits import with_exits
from hw.lowering.exit_sites import decided
from hw.lowering.expert_sites import with_experts
from hw.lowering.form_search import EXACT
from hw.lowering.gate.boundary import boundary
from hw.lowering.gate.limits import MAX_CHAIN, MAX_MOVES
from hw.lowering.handlers import Handler, Handlers
from hw.lowering.images import image_tensors
from hw.lowering.indexing import with_gathers
from hw.lowering.input_types import InputTypes, with_input_types
from hw.lowering.integer_tensor import HostTensor, IntegerTensor, Steps, integer_tensor, last_quantizer
from hw.lowering.lookup_networks import recognised
from hw.lowering.one_integer import are_joinable, is_affine, one_integer
from hw.lowering.qonnx import integer_dtype, load, read
from hw.lowering.quantize import Join, is_redundant, renamed
from hw.lowering.refusal import lowering_error, unknown_operator
from hw.lowering.repeated_borders import with_selections
from hw.lowering.rounding import Product
from hw.passes.forks import forked
from hw.passes.removal.analysis import depends_on_inputs

Source: TypeAlias = str | os.PathLike[str] | onnx.ModelProto | ModelWrapper

HANDLERS: Handlers = {
    **convolution.HANDLERS,
    **transposed.HANDLERS,
    **dense.HANDLERS,
    **pads.HANDLERS,
    **pooling.HANDLERS,
    **joining.HANDLERS,
    **moves.HANDLERS,
    **arg_max.HANDLERS,
}
"""The built-in handlers of operators that become kernels."""
PARTS: Handlers = {**lookup_encoders.HANDLERS, **lookup_layers.HANDLERS, **early_exits.HANDLERS, **experts.HANDLERS}
"""Handlers of the nodes that stand for recognised parts of a model; no model file has such nodes."""
JOINS: Handlers = joining.JOINS
"""Handlers of operators that are element-wise steps, unless they have several data inputs."""


@dataclass(frozen=True, eq=False)
class LoweredModel:
    """A dataflow graph and how it was derived from the model.

    - ``tensors``: by edge, the model's tensor that its integers represent and the chain from them to its values;
    - ``computed``: the same for integer inputs, and for the outputs of layers before they are quantized (sums, pools);
    - ``decisions``: by edge, the quantizer that writes it;
    - ``products``: by edge, how float32 rounding propagates through the kernel that writes it;
    - ``joins``: by edge of a sum whose scales have no small ratio, what is known of it. The values that ``decisions``
      and ``ends`` compute from its integers are only close to the model's;
    - ``ends``: by model output, the integers with their element-wise steps, and the host steps after those.
    """

    graph: Graph
    tensors: dict[str, tuple[str, IntegerTensor]]
    computed: dict[str, tuple[str, IntegerTensor]]
    decisions: dict[str, Decision]
    products: dict[str, Product]
    joins: dict[str, Join]
    ends: dict[str, tuple[IntegerTensor, Steps]]


def lower(model: Source, input_type: InputTypes | None = None) -> Graph:
    """The dataflow graph of a QONNX model, with all kernels folded to PE = SIMD = 1.

    ``input_type`` are types of inputs that the model does not quantize (``hw.lowering.input_types``). Raises UsageError
    for files that cannot be read, and BitfabricError for every node that has no exact integer form, with the node's
    name, its operator, why, and what to do.
    """
    if not input_type:
        return lower_model(load(model)).graph
    return lower_model(load(with_input_types(read(model), input_type))).graph


def lower_model(model: ModelWrapper) -> LoweredModel:
    """The lowering of a model that ``hw.lowering.qonnx.load`` has prepared. Raises BitfabricError as ``lower`` does."""
    model, products = with_experts(with_gathers(with_selections(model)))
    found = recognised(model)
    model, exits = decided(found.model)
    live = _live_nodes(model)
    readers = _readers(model, live)
    encoded = {site.form.root for site in found.sites.values() if site.image}
    images = image_tensors(model, live, _is_spatial) | {
        name: 1 for name in encoded if len(model.get_tensor_shape(name) or ()) == 4
    }
    context = Lowering(model, images, readers, found.sites, exits, products)
    _read_inputs(context)
    branches = {name for name, count in readers.items() if count > 1}
    for value in model.graph.input:
        _quantize_before_branch(context, value.name, branches)
    for node in live:
        context.node = node.name
        with boundary(f"{node.name}: {node.op_type}"):
            _lower_node(context, node)
            for name in node.output:
                if name in readers and name not in context.values:
                    raise lowering_error(node, f"its output {name} is used", "use only its first output")
                _quantize_before_branch(context, name, branches)
    context.node = ""
    ends = []
    for value in model.graph.output:
        with boundary(f"output {value.name}"):
            ends.append(_end(context, value))
    context.remove_unread(source.edge for source, _ in ends)
    outputs = [_output(context, *each) for each in zip(model.graph.output, ends, strict=True)]
    nodes = with_exits(context, context.nodes, tuple(outputs))
    graph = Graph(*forked(nodes, context.inputs, tuple(outputs)))
    if found.sites and not depends_on_inputs(graph):
        last = next(node for node in reversed(graph.nodes) if node.kernel.op == "lookup_layer")
        raise BitfabricError(
            f"no output depends on any input: the tables of {last.title} are constant, or read bits that are; train it "
            "again, with levels within the range of the features"
        )
    return LoweredModel(
        graph, context.tensors, context.computed, context.decisions, context.products, context.joins, context.ends
    )


def _live_nodes(model: ModelWrapper) -> list[onnx.NodeProto]:
    """The nodes that an output of the model depends on, in order."""
    needed = {value.name for value in model.graph.output}
    live = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            live.append(node)
    return live[::-1]


def _is_spatial(node: onnx.NodeProto) -> bool:
    """Whether a node's operator works on images or signals."""
    handler = _handler(node)
    return handler is not None and handler.spatial


def _readers(model: ModelWrapper, live: list[onnx.NodeProto]) -> Counter[str]:
    """For each tensor that is read, the number of nodes and outputs that read it."""
    readers = Counter(name for node in live for name in node.input if name)
    readers.update(value.name for value in model.graph.output)
    return readers


def _read_inputs(context: Lowering) -> None:
    """Enter the model's constants and inputs. Raises BitfabricError for an input without a batch axis."""
    graph = context.model.graph
    for tensor in graph.initializer:
        context.values[tensor.name] = Constant(numpy_helper.to_array(tensor))
    for value in graph.input:
        if value.name in context.values:
            continue
        shape = context.shape(value.name)
        if len(shape) < 2:
            raise BitfabricError(
                f"input {value.name} has shape {shape}; the first axis must be the batch: export it with one"
            )
        dtype = integer_dtype(context.model, value)
        number = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name
        # The host reads floats as float32; a model whose input has another type computes in that.
        steps = (step("Cast", to=number),) if number in ("float16", "float64") else ()
        context.values[value.name] = HostTensor(
            shape[1:], steps, ("",) * len(steps), port=value.name, port_shape=shape[1:], dtype=dtype, number=number
        )


def _handler(node: onnx.NodeProto) -> Handler | None:
    """The handler of a node's operator: built in, or of another package; None for element-wise operators and others."""
    key = operator_key(node)
    if key in HANDLERS or key in PARTS:
        return {**HANDLERS, **PARTS}[key]
    if key in JOINS or key in node_steps.TRANSLATIONS:
        return None
    plugin = find_plugin(node)
    return plugin if plugin is None or isinstance(plugin, Handler) else Handler(plugin)


def _lower_node(context: Lowering, node: onnx.NodeProto) -> None:
    """Fold a node of constants, call a node's handler, or extend the chain of its input by its element-wise steps."""
    inputs = {name: context.values[name] for name in node.input if name in context.values}
    data = [value for name in node.input if isinstance(value := inputs.get(name), HostTensor | IntegerTensor)]
    if not data:
        constants = {name: value for name, value in inputs.items() if isinstance(value, Constant)}
        context.values.update(folded(node, constants, context.version(node)))
        return
    key = operator_key(node)
    function = _function(context, node) if len(data) > 1 else None
    if function is not None and (key not in JOINS or is_affine(function) or not are_joinable(data)):
        context.values[node.output[0]] = function
        return
    handler = JOINS[key] if key in JOINS and len(data) > 1 else _handler(node)
    if handler is not None:
        try:
            handler(context, node)
        except ToolError:
            raise
        except BitfabricError as error:
            if function is not None:
                context.values[node.output[0]] = function
                return
            if any(name in str(error) for name in context.first_outputs):
                raise
            # A kernel's own error does not know the model's node.
            raise lowering_error(node, *str(error).split("; ", 1)) from None
        for name in node.output:
            context.record(name)
        result = context.values.get(node.output[0])
        if isinstance(function, IntegerTensor) and isinstance(result, IntegerTensor):
            context.functions[result.edge] = len(result.steps), function
        return
    if key not in node_steps.TRANSLATIONS or len(data) != 1:
        why = "there is no kernel for it" if len(data) == 1 else "it combines several data tensors"
        raise unknown_operator(node, why)
    call = context.call(node)
    steps = _cast_integers(call, data[0]) if key == ("", "Cast") else None
    steps = node_steps.TRANSLATIONS[key](call) if steps is None else steps
    result = data[0] if _is_redundant_quantizer(data[0], steps) else renamed(data[0], steps, node.name)
    result = data[0].then(steps, node.name) if result is None else result
    if len(result.steps) + len(result.host_steps) > MAX_CHAIN or len(result.layout_ops) > MAX_MOVES:
        raise lowering_error(node, "too many operators follow each other without a layer between them", "fold them")
    context.values[node.output[0]] = replace(result, number=node_steps.number_after(call))


def _function(context: Lowering, node: onnx.NodeProto) -> HostTensor | IntegerTensor | None:
    """The chain of a node that combines functions of one tensor; None for a node that joins different tensors.

    A sum of quantized tensors is left to a kernel, unless it is affine: a layer can follow it without a quantizer.
    """
    domain, op = operator_key(node)
    return one_integer(context, node) if not domain and op in COMBINERS else None


def _cast_integers(call: Call, value: HostTensor | IntegerTensor) -> Steps | None:
    """The steps of a Cast of integers, among them bits, to a type of integers or from one; None for other Casts, and
    where the type does not hold all of them."""
    to = cast_name(int(call.get("to", 1)))
    if to is None or value.host_steps or (to in FLOATS and call.number in FLOATS):
        return None
    if isinstance(value, HostTensor):
        if value.dtype is None or value.steps:
            return None
        low, high = int(value.dtype.min()), int(value.dtype.max())
    else:
        if value.affine is None or any(each.denominator != 1 for part in value.affine for each in part.ravel()):
            return None
        slope, offset = value.affine
        ends = [bound * slope + offset for bound in value.bounds]
        low, high = int(np.minimum(*ends).min()), int(np.maximum(*ends).max())
    if to in FLOATS:
        held = max(-low, high) <= EXACT[to]
    elif to == "bool":
        held = low >= 0 and high <= 1
    else:
        held = np.iinfo(to).min <= low and high <= np.iinfo(to).max
    if not held:
        return None
    return (step("Cast", to=to),) if to in ("float16", "float64") else ()


def _is_redundant_quantizer(value: HostTensor | IntegerTensor, steps: Steps) -> bool:
    """Whether these steps contain a quantizer and map every value that the tensor can have to itself."""
    if not any(each.op in QUANTIZERS for each in steps) or value.host_steps:
        return False
    if isinstance(value, HostTensor):
        if value.dtype is None:
            return False
        integers = integer_tensor("", value.shape, value.dtype).extended(value.steps, value.origins)
        value = replace(integers, layout_ops=value.layout_ops)
    return is_redundant(value, steps)


def _quantize_before_branch(context: Lowering, name: str, branches: Collection[str]) -> None:
    """Quantize a tensor that several nodes read before its stream is copied.

    The hardware then copies codes, which have few bits, and quantizes only once.
    """
    value = context.values.get(name)
    if name not in branches or not isinstance(value, HostTensor | IntegerTensor) or value.host_steps:
        return
    if isinstance(value, IntegerTensor) or value.dtype is not None or last_quantizer(value.steps) is not None:
        quantized = context.quantize(context.on_edge(value, name, name), strict=False)
        context.values[name] = replace(quantized, restore_ops=())


def _end(context: Lowering, value: onnx.ValueInfoProto) -> tuple[IntegerTensor, Steps]:
    """The integers that leave the hardware for a model's output, and the host steps after their element-wise ones."""
    tensor = context.values[value.name]
    if isinstance(tensor, Constant):
        raise BitfabricError(f"output {value.name} is constant; there is nothing to compute")
    whole = context.on_edge(tensor, value.name, f"output {value.name}", first=True)
    source, host_steps = context.summed(context.quantize(whole, strict=False)), tensor.host_steps
    context.ends[value.name] = source, host_steps
    if len(context.model.graph.output) == 1:
        picked = arg_max.in_hardware(context, source, host_steps, tensor.host_origins)
        if picked is not None:
            source, host_steps = picked, picked.host_steps
    return source, host_steps


def _output(context: Lowering, value: onnx.ValueInfoProto, end: tuple[IntegerTensor, Steps]) -> Port:
    """The port of a model's output: the hardware computes the integer part, the host the remaining steps."""
    source, host_steps = end
    readers = context.readers.get(source.edge, [])
    if any(source.edge == port.edge for port in context.inputs) and all(node.kernel.op == "fifo" for node in readers):
        # The output needs no computation in hardware, but a design needs a kernel between its ports.
        stream = Stream(source.shape, source.dtype)
        passed = readers[0].name if readers else context.append("pass", Fifo(stream, 2), source.edge)
        source = replace(source, edge=passed)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    steps = (
        step("Cast", to="float64"),
        *source.steps,
        *source.layout_ops,
        *host_steps,
        step("Cast", to=dtype.name),
    )
    return Port(value.name, source.edge, context.shape(value.name)[1:], dtype.name, steps)
