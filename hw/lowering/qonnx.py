"""Reads QONNX files: checks the model, folds constants, infers shapes, and sets the batch size to one."""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from qonnx.core.datatype import BaseDataType, DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.general import RemoveStaticGraphInputs
from qonnx.transformation.infer_shapes import InferShapes

from hw.host.errors import BitfabricError, UsageError
from hw.lowering.domains import DOMAINS, OLD_DOMAINS, QONNX_DOMAIN, QUANTIZER_OPS, find_plugin, operator_key

HALF_WAY = frozenset({"Im2Col", "MaxPoolNHWC", "QuantAvgPool2d", "XnorPopcountMatMul"})
"""Operators of the intermediate models between QONNX and FINN's dataflow graph."""
FOREIGN = {
    "QuantizeLinear": "it is quantized in ONNX's QuantizeLinear style (QCDQ); export it as QONNX",
    "QLinearConv": "it is quantized in ONNX's QOperator style; export it as QONNX",
    "QLinearMatMul": "it is quantized in ONNX's QOperator style; export it as QONNX",
    "FloatQuant": "it holds minifloat quantizers (FloatQuant); train with integer quantizers",
}


def load(
    model: str | os.PathLike[str] | onnx.ModelProto | ModelWrapper, name: str | os.PathLike[str] | None = None
) -> ModelWrapper:
    """A QONNX model from a file (or from memory; it is copied), ready to lower or to execute.

    ``name`` names the model in errors, by default the file.

    Dynamic and fixed batch sizes become 1. Nodes keep their names; a node without a name gets its operator's name
    and its number. Raises UsageError for a file that is missing, damaged or not QONNX.
    """
    if name is None:
        name = model if isinstance(model, str | os.PathLike) else "the model"
    name = str(name)
    proto = read(model)
    _check(proto, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            return prepare(proto, 1)
        except BitfabricError:
            raise
        except Exception as error:
            raise UsageError(f"{name}: shapes cannot be inferred ({_line(error)}); export it again") from None
        finally:
            logging.disable(level)


def read(model: str | os.PathLike[str] | onnx.ModelProto | ModelWrapper) -> onnx.ModelProto:
    """The model as stored in the file, or a copy of one in memory. Raises UsageError for a file that cannot be read."""
    copy = onnx.ModelProto()
    if isinstance(model, ModelWrapper):
        copy.CopyFrom(model.model)
        return copy
    if isinstance(model, onnx.ModelProto):
        copy.CopyFrom(model)
        return copy
    path = Path(model)
    if not path.exists():
        raise UsageError(f"no file {path}; `bitfabric train` leaves a model.onnx")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name the .onnx file in it")
    try:
        return onnx.load(path)
    except (FileNotFoundError, onnx.checker.ValidationError) as error:
        raise UsageError(
            f"{path} keeps its weights in a second file that cannot be read ({_line(error)}); put it beside the model",
        ) from None
    except Exception as error:
        raise UsageError(f"{path} is damaged or not an ONNX file ({_line(error)}); export it again") from None


def _check(proto: onnx.ModelProto, name: str) -> None:
    """Raise UsageError unless this is a QONNX model with an input and an output."""
    initializers = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in initializers]
    if not proto.graph.node or not inputs or not proto.graph.output:
        raise UsageError(f"{name} is damaged or not an ONNX file (it holds no network); export it again")
    for number, node in enumerate(proto.graph.node):
        if node.op_type in HALF_WAY:
            raise UsageError(
                f"{node.name or f'{node.op_type}_{number}'}: {node.op_type} cannot be lowered: it is from FINN's front "
                "end, half way to its dataflow graph; give the QONNX file it started from, or the graph it ends in",
            )
    for number, node in _data_nodes(proto.graph):
        if node.domain not in DOMAINS and find_plugin(node) is None:
            raise UsageError(
                f"{node.name or f'{node.op_type}_{number}'}: {node.op_type} is from the domain {node.domain}, which is "
                f"not known here; export it in {' or '.join(filter(None, sorted(DOMAINS - {*OLD_DOMAINS})))}, or "
                f"install a package that provides a handler for {node.domain}::{node.op_type}"
            )
    ops = {node.op_type for node in proto.graph.node}
    for op, why in FOREIGN.items():
        if op in ops:
            raise UsageError(f"{name} is not a QONNX model: {why} (brevitas.export.export_qonnx)")
    if not ops.intersection(QUANTIZER_OPS):
        raise UsageError(
            f"{name} is not a QONNX model: it has no quantizers ({', '.join(QUANTIZER_OPS)}), only floating point; "
            "train it with Brevitas layers and export it with brevitas.export.export_qonnx",
        )


def _data_nodes(graph: onnx.GraphProto) -> list[tuple[int, onnx.NodeProto]]:
    """The nodes, with their numbers, that depend on an input and on which an output depends."""
    needed = {value.name for value in graph.output}
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
    data = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
    found = []
    for number, node in enumerate(graph.node):
        if data.intersection(node.input):
            data.update(node.output)
            if needed.intersection(node.output):
                found.append((number, node))
    return found


def _line(error: Exception) -> str:
    """An exception's text on one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."


def prepare(proto: onnx.ModelProto, batch: int) -> ModelWrapper:
    """The model with ``batch`` frames in every input, shapes inferred and constants folded. Changes ``proto``."""
    graph = proto.graph
    initializers = {tensor.name for tensor in graph.initializer}
    names: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in names:
            node.name = f"{node.name or node.op_type}_{number}"
        names.add(node.name)
        node.domain = operator_key(node)[0]
    _rename_onnx_domain(proto)
    if not any(opset.domain == QONNX_DOMAIN for opset in proto.opset_import):
        proto.opset_import.append(onnx.helper.make_opsetid(QONNX_DOMAIN, 1))
    old = {_set_batch(value, batch) for value in graph.input if value.name not in initializers}
    for value in graph.output:
        _set_batch(value, batch)
    del graph.value_info[:]
    wrapper = ModelWrapper(proto)
    _rebatch_reshapes(wrapper, {size for size in old if size}, batch)
    for transformation in (
        InferShapes(),
        FoldConstants(exclude_op_types=[*QUANTIZER_OPS]),
        RemoveStaticGraphInputs(),
    ):
        wrapper = wrapper.transform(transformation)
    return wrapper


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
    """Set the first dimension; returns its former value, 0 if dynamic. Raises UsageError for other dynamic sizes."""
    dims = value.type.tensor_type.shape.dim
    if not dims:
        return 0
    old = dims[0].dim_value
    dims[0].Clear()
    dims[0].dim_value = batch
    for dim in list(dims)[1:]:
        if not dim.dim_value:
            raise UsageError(
                f"{value.name} has a dynamic size {dim.dim_param or '?'} besides the batch; export it with fixed sizes",
            )
    return old


def _rebatch_reshapes(wrapper: ModelWrapper, old: set[int], batch: int) -> None:
    """Set the batch size in the constant shapes of Reshape nodes that start with an ``old`` batch size."""
    for node in wrapper.get_nodes_by_op_type("Reshape"):
        shape = constant(wrapper, node.input[1])
        if shape is not None and shape.size and int(shape[0]) in old and int(shape[0]) != batch:
            shape = shape.copy()
            shape[0] = batch
            name = f"{node.name}_shape_{batch}"
            wrapper.graph.initializer.append(numpy_helper.from_array(shape, name))
            node.input[1] = name


def integer_dtype(wrapper: ModelWrapper, value: onnx.ValueInfoProto) -> BaseDataType | None:
    """The integer type of an input, from its annotation or its ONNX type; None for floats.

    Raises BitfabricError for other types.
    """
    annotated = wrapper.get_tensor_datatype(value.name)
    if annotated is not None and annotated.is_integer():
        return annotated
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    if kind.kind in "iu" and kind.itemsize <= 4:
        return DataType[f"{'U' if kind.kind == 'u' else ''}INT{8 * kind.itemsize}"]
    if kind.kind != "f":
        raise BitfabricError(
            f"input {value.name} is of type {kind}; a network takes floats or integers of 8 to 32 bits"
        )
    return None


def constant(wrapper: ModelWrapper, name: str) -> np.ndarray | None:
    """The value of an initializer or of a Constant node's output; None for anything computed."""
    value = wrapper.get_initializer(name)
    if value is not None:
        return value
    node = wrapper.find_producer(name)
    if node is not None and node.op_type == "Constant":
        return constant_value(node)
    return None


def constant_value(node: onnx.NodeProto) -> np.ndarray:
    """The value of a Constant node."""
    values: dict[str, Any] = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if "value" in values:
        return numpy_helper.to_array(values["value"])
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64)):
        if name in values:
            return np.asarray(values[name], dtype)
    return np.asarray(values["value_ints"], np.int64)
