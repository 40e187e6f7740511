"""Reads QONNX files, and those with ONNX's own quantizers: checks the model, folds constants, infers shapes."""

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from qonnx.core.datatype import BaseDataType, DataType
from qonnx.core.modelwrapper import ModelWrapper

from hw.host.errors import BitfabricError, UsageError
from hw.lowering.domains import (
    CHANNELS_LAST_DOMAIN,
    LINEAR_OPS,
    ONNX_DOMAINS,
    ORT_DOMAIN,
    QONNX_DOMAIN,
    QUANTIZER_OPS,
    operator_key,
)
from hw.lowering.foreign import refusal
from hw.lowering.gate.boundary import boundary
from hw.lowering.gate.inference import Inference
from hw.lowering.gate.limits import MAX_BITS
from hw.lowering.gate.names import printable
from hw.lowering.gate.operators import check_operators
from hw.lowering.gate.reading import read_file
from hw.lowering.gate.site import Shape, Tensor
from hw.lowering.gate.structure import live_nodes, node_names
from hw.lowering.gate.tensors import (
    TYPES,
    Constant,
    check_annotated,
    check_annotation,
    check_port,
    check_shape,
    check_type,
    elem_type_of,
    type_name,
)
from hw.lowering.lookup_sites import table_nodes
from hw.lowering.versions import NEWEST_OPSET, OLDEST_OPSET, QONNX_NEWEST, VERSIONS, since_version

HALF_WAY = frozenset({"Im2Col", "MaxPoolNHWC", "QuantAvgPool2d", "XnorPopcountMatMul"})
"""Operators of the intermediate models between QONNX and FINN's dataflow graph."""


def load(
    model: str | os.PathLike[str] | onnx.ModelProto | ModelWrapper, name: str | os.PathLike[str] | None = None
) -> ModelWrapper:
    """A QONNX model from a file (or from memory; it is copied), ready to lower or to execute.

    ``name`` names the model in errors, by default the file.

    Dynamic and fixed batch sizes become 1. Nodes keep their names; a node without a name gets its operator's name
    and its number. Raises UsageError for a file that is missing, damaged or not QONNX, and BitfabricError, with the
    node's name, for a node that is not valid ONNX or QONNX, or beyond the limits of ``hw.lowering.gate``.
    """
    if name is None:
        name = model if isinstance(model, str | os.PathLike) else "the model"
    with boundary(str(name)):
        proto = read(model)
        _check(proto, str(name))
        wrapper = prepare(proto, 1)
        for what, values in (("input", wrapper.graph.input), ("output", wrapper.graph.output)):
            for value in values:
                check_port(elem_type_of(value), f"{what} {value.name}")
        return wrapper


def read(model: str | os.PathLike[str] | onnx.ModelProto | ModelWrapper) -> onnx.ModelProto:
    """The model as stored in the file, or a copy of one in memory. Raises UsageError for a file that cannot be read."""
    if not isinstance(model, ModelWrapper | onnx.ModelProto):
        return read_file(Path(model))[0]
    copy = onnx.ModelProto()
    copy.CopyFrom(model.model if isinstance(model, ModelWrapper) else model)
    return copy


def _check(proto: onnx.ModelProto, name: str) -> None:
    """Raise UsageError unless this is a QONNX model with an input and an output."""
    graph = proto.graph
    initializers = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initializers]
    if not graph.node or not inputs or not graph.output:
        raise UsageError(f"{name} is damaged or not an ONNX file (it holds no network); export it again")
    names = node_names(graph)
    for number, node in enumerate(graph.node):
        if node.op_type in HALF_WAY:
            raise UsageError(
                f"{names[number]}: {node.op_type} cannot be lowered: it is from FINN's front "
                "end, half way to its dataflow graph; give the QONNX file it started from, or the graph it ends in",
            )
        if (refused := refusal(node)) is not None:
            raise UsageError(f"{names[number]}: {node.op_type} cannot be lowered: {refused[0]}; {refused[1]}")
        if node.domain == ORT_DOMAIN and node.op_type in LINEAR_OPS and not is_linear(proto):
            raise UsageError(
                f"{names[number]}: {node.op_type} is ONNX Runtime's, and the model has QONNX's quantizers, too, which "
                "ONNX Runtime does not execute; export it in opset 21, where ONNX's own has 4 and 16 bits"
            )
    if not {node.op_type for node in graph.node}.intersection((*QUANTIZER_OPS, *LINEAR_OPS)) and not table_nodes(graph):
        _live_operators(proto)  # An operator that cannot be lowered is named first.
        raise UsageError(
            f"{name} is not a QONNX model: it has no quantizers ({', '.join((*QUANTIZER_OPS, *LINEAR_OPS))}), only "
            "floating point; train it with Brevitas layers and export it with brevitas.export.export_qonnx, or "
            "quantize it: bitfabric quantize FLOAT.onnx --calibration X.npy -o run/",
        )


def is_linear(proto: onnx.ModelProto) -> bool:
    """Whether a model needs no QONNX: all of its quantizers are ONNX's own (QuantizeLinear, DequantizeLinear), or it
    has none, but lookup tables."""
    ops = {node.op_type for node in proto.graph.node}
    if ops.intersection(QUANTIZER_OPS):
        return False
    return bool(ops.intersection(LINEAR_OPS) or table_nodes(proto.graph))


def stored_batches(proto: onnx.ModelProto) -> set[int]:
    """The batch sizes of a model's inputs as stored, 0 for a dynamic one."""
    constants = {each.name for each in proto.graph.initializer}
    dims = [each.type.tensor_type.shape.dim for each in proto.graph.input if each.name not in constants]
    return {int(each[0].dim_value) for each in dims if each}


def prepare(proto: onnx.ModelProto, batch: int, former: Collection[int] = ()) -> ModelWrapper:
    """The model with ``batch`` frames in every input, shapes inferred and constants folded. Changes ``proto``.

    ``former`` are batch sizes that its constant shapes may have besides those of its inputs.
    Only the nodes, constants and inputs on which an output depends are left. Raises BitfabricError, with the name of
    the node, for what the gate refuses (``hw.lowering.gate``).
    """
    graph = proto.graph
    nodes = _live_operators(proto)
    versions = _versions(proto, nodes)
    for node in graph.node:
        node.domain = operator_key(node)[0]
    tensors: dict[str, Tensor] = {
        each.name: Tensor((), each.data_type, Constant(each, f"initializer {each.name}")) for each in graph.initializer
    }
    used = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    inputs = [value for value in graph.input if value.name not in tensors and value.name in used]
    tensors = {name: _constant(tensor) for name, tensor in tensors.items() if name in used}
    old = {_set_batch(value, batch) for value in inputs} | {1, *former}  # 1: a shape for one frame, of a dynamic batch
    for value in inputs:
        shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        tensors[value.name] = Tensor(shape, elem_type_of(value), data=True)
    _check_annotations(graph, tensors)
    inference = Inference(versions, tensors, _declared(graph, old, batch))
    for node in nodes:
        _drop_unused_outputs(node, used, inference.versions)
        _rebatch_shape(inference, node, old - {0, batch}, batch)
        inference.visit(node)
    return _assemble(proto, inference, inputs)


def _live_operators(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes on which an output depends, in order; every node gets a name.

    Raises BitfabricError for those that cannot be lowered because of their operators.
    """
    graph = proto.graph
    for node, name in zip(graph.node, node_names(graph), strict=True):
        node.name = name
    nodes = [graph.node[number] for number in live_nodes(graph, [node.name for node in graph.node])]
    functions = {(each.domain, each.name) for each in proto.functions}
    constants = {each.name for each in graph.initializer}
    check_operators(nodes, {value.name for value in graph.input} - constants, functions)
    return nodes


def _declared(graph: onnx.GraphProto, old: set[int], batch: int) -> dict[str, tuple[Shape, int]]:
    """The shapes and types of tensors that the file states in full, but for the batch, whose ``old`` sizes change."""
    found = {}
    for value in (*graph.value_info, *graph.output):
        kind = value.type.tensor_type
        sizes = [dim.dim_value for dim in kind.shape.dim]
        if sizes and min(sizes[1:], default=1) > 0 and kind.elem_type in TYPES:
            found[value.name] = (batch if sizes[0] in {*old, 0} else sizes[0], *sizes[1:]), int(kind.elem_type)
    return found


def _constant(tensor: Tensor) -> Tensor:
    """An initializer with its shape. Raises UsageError for a type or shape that is not read."""
    assert isinstance(tensor.constant, Constant)
    return replace(tensor, shape=tensor.constant.shape)


def _check_annotations(graph: onnx.GraphProto, tensors: Mapping[str, Tensor]) -> None:
    """Raise UsageError for an annotation that names no data type or is not true of a constant, or a tensor with two."""
    seen: set[str] = set()
    for annotation in graph.quantization_annotation:
        what = f"tensor {printable(annotation.tensor_name)}"
        for entry in annotation.quant_parameter_tensor_names:
            if entry.key == "finn_datatype":
                check_annotation(entry.value, what)
                if annotation.tensor_name in seen:
                    raise UsageError(f"{what} is annotated twice; export the model again")
                seen.add(annotation.tensor_name)
                constant = tensors.get(annotation.tensor_name)
                if constant is not None and constant.value is not None:
                    check_annotated(constant.value, entry.value, what)


def _versions(proto: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> dict[str, int]:
    """The operator sets by domain, under their new names.

    Raises UsageError for a version that does not exist, and for operators of QONNX's in several versions.
    """
    _rename_onnx_domain(proto)
    imported = {opset.domain: opset.version for opset in proto.opset_import}
    versions = {**imported, QONNX_DOMAIN: _qonnx_version(imported, nodes)}
    # QONNX's operators with channels last are those of ONNX: files from before they had versions import only ONNX's.
    versions.setdefault(CHANNELS_LAST_DOMAIN, versions.get("", 0))
    domains = {operator_key(node)[0] for node in nodes}
    for domain, what, oldest in (
        ("", "ONNX's operators", OLDEST_OPSET),
        (CHANNELS_LAST_DOMAIN, "operators with channels last", 1),
    ):
        given = versions.get(domain, 0)
        if domain in domains and not oldest <= given <= NEWEST_OPSET:
            raise UsageError(
                f"the model uses {what} of opset {given if domain in versions else 'none'}; export it in an opset of "
                f"{oldest} to {NEWEST_OPSET}"
            )
    used = {domain: version for domain, version in versions.items() if domain in imported or domain in domains}
    del proto.opset_import[:]
    proto.opset_import.extend(onnx.helper.make_opsetid(*each) for each in used.items())
    return versions


def _qonnx_version(imported: Mapping[str, int], nodes: list[onnx.NodeProto]) -> int:
    """The operator set of QONNX's operators, which a model may import under several names of their domain."""
    keys = {(node.domain, operator_key(node)) for node in nodes if operator_key(node)[0] == QONNX_DOMAIN}
    own = {(domain, key): imported[domain] for domain, key in keys if domain in imported and domain not in ONNX_DOMAINS}
    version = max(own.values(), default=imported.get(QONNX_DOMAIN, 1))
    if not 1 <= version <= QONNX_NEWEST:
        raise UsageError(
            f"the model uses QONNX's operators of opset {version}; export it in an opset of 1 to {QONNX_NEWEST}"
        )
    for (domain, key), given in own.items():
        if key in VERSIONS and since_version(key, given) != since_version(key, version):
            raise UsageError(
                f"the model uses QONNX's operators of opset {given} ({domain}) and {version}, between which {key[1]} "
                "changed; export it in one"
            )
    return version


def _rename_onnx_domain(proto: onnx.ModelProto) -> None:
    """Give ONNX's operator set its empty name, where a model imports it as ``ai.onnx``."""
    domains = [opset.domain for opset in proto.opset_import]
    if "ai.onnx" in domains:
        long = proto.opset_import[domains.index("ai.onnx")]
        if "" in domains:
            proto.opset_import.remove(long)
        else:
            long.domain = ""


def _set_batch(value: onnx.ValueInfoProto, batch: int) -> int:
    """Set an input's first dimension; returns its former value, 0 if dynamic.

    Raises UsageError for other dynamic sizes, and for a shape or type that is not read.
    """
    what = f"input {value.name}"
    check_type(elem_type_of(value), what)
    if not value.type.tensor_type.HasField("shape"):
        raise UsageError(f"{what} has no shape; export the model with fixed sizes")
    dims = value.type.tensor_type.shape.dim
    old = dims[0].dim_value if dims else 0
    if dims:
        dims[0].Clear()
        dims[0].dim_value = batch
    for dim in list(dims)[1:]:
        if not dim.dim_value:
            raise UsageError(
                f"{value.name} has a dynamic size {printable(dim.dim_param or '?')} besides the batch; export it with "
                "fixed sizes",
            )
    check_shape(tuple(dim.dim_value for dim in dims), what)
    return int(old)


def _drop_unused_outputs(node: onnx.NodeProto, readers: set[str], versions: Mapping[str, int]) -> None:
    """Leave out the last outputs of a node that nothing reads, where its operator lets it.

    The number of a Split's outputs, of which there can be any number, says what they are.
    """
    if len(node.output) > 1 and onnx.defs.has(node.op_type, node.domain):
        schema = onnx.defs.get_schema(node.op_type, versions.get(node.domain, 1), node.domain)
        if schema.outputs[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic:
            return
        while len(node.output) > max(1, schema.min_output) and node.output[-1] not in readers:
            del node.output[-1]


SHAPES = {"Reshape": 1, "Expand": 1, "Resize": 3}
"""The input of an operator that is the shape of its output."""


def _rebatch_shape(inference: Inference, node: onnx.NodeProto, old: set[int], batch: int) -> None:
    """Set the batch size in the constant shape that a node brings data to, where it starts with an ``old`` one."""
    place = SHAPES.get(node.op_type, len(node.input))
    if place >= len(node.input) or not inference.tensors[node.input[0]].data:
        return
    shape = inference.tensors[node.input[place]].value if node.input[place] else None
    if shape is None or shape.ndim != 1 or not shape.size or int(shape[0]) not in old:
        return
    if node.op_type != "Reshape" and shape.size != len(inference.tensors[node.input[0]].shape):
        return  # without the batch, as those of some axes
    shape = shape.copy()
    shape[0] = batch
    name = f"{node.name}_shape_{batch}"
    node.input[place] = name
    inference.folded[name] = shape
    inference.tensors[name] = Tensor(shape.shape, onnx.TensorProto.INT64, shape)


def _assemble(proto: onnx.ModelProto, inference: Inference, inputs: list[onnx.ValueInfoProto]) -> ModelWrapper:
    """The model of the nodes that stay, their constants, and the shapes of all tensors."""
    graph, tensors = proto.graph, inference.tensors
    used = {name for node in inference.nodes for name in node.input} | {value.name for value in graph.output}
    outputs = [_output(value, tensors[value.name]) for value in graph.output]
    constants = [each for each in graph.initializer if each.name in used]
    constants += [numpy_helper.from_array(value, name) for name, value in inference.folded.items() if name in used]
    listed = {value.name for value in (*inputs, *outputs)}
    infos = [
        onnx.helper.make_tensor_value_info(name, tensor.elem_type, tensor.shape)
        for name, tensor in tensors.items()
        if name not in listed and (name in used or tensor.data or tensor.constant is None)
    ]
    made = onnx.helper.make_graph(inference.nodes, graph.name, inputs, outputs, constants, value_info=infos)
    # Annotations of computed tensors say nothing that lowering uses; qonnx would round these tensors to them.
    given = {value.name for value in inputs} | {each.name for each in constants}
    made.quantization_annotation.extend(each for each in graph.quantization_annotation if each.tensor_name in given)
    proto.graph.CopyFrom(made)
    return ModelWrapper(proto, fix_missing_initializer_valueinfo=False)


def _output(value: onnx.ValueInfoProto, tensor: Tensor) -> onnx.ValueInfoProto:
    """An output with its inferred shape. Raises UsageError for a declared type that is not the inferred one."""
    declared = elem_type_of(value) if value.type.WhichOneof("value") else onnx.TensorProto.UNDEFINED
    if declared not in (onnx.TensorProto.UNDEFINED, tensor.elem_type):
        raise UsageError(
            f"output {value.name} is declared as {type_name(declared)}, but is {type_name(tensor.elem_type)}; "
            "export the model again"
        )
    return onnx.helper.make_tensor_value_info(value.name, tensor.elem_type, tensor.shape)


def integer_dtype(wrapper: ModelWrapper, value: onnx.ValueInfoProto) -> BaseDataType | None:
    """The integer type of an input, from its annotation or its ONNX type; None for floats.

    Raises BitfabricError for other types, and for one of more than 16 bits.
    """
    annotated = wrapper.get_tensor_datatype(value.name)
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    if annotated is None or not annotated.is_integer():
        if kind.kind == "f":
            return None
        if kind.kind not in "iu":
            raise BitfabricError(f"input {value.name} is of type {kind}; a network takes floats or integers")
        annotated = DataType[f"{'U' if kind.kind == 'u' else ''}INT{8 * kind.itemsize}"]
    if annotated.bitwidth() > MAX_BITS:
        raise BitfabricError(
            f"input {value.name} is of type {annotated.name}; streams have up to {MAX_BITS} bits: annotate it with the "
            "type that it needs (UINT8, INT12, ...)"
        )
    return annotated
