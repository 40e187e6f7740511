"""The checks of a model in FINN's dialect before it is read: structure, types and annotations, as for a QONNX model."""

import re
from collections import Counter

import numpy as np
import onnx
from onnx import AttributeProto

from hw.host.errors import UsageError
from hw.lowering.gate.names import printable
from hw.lowering.gate.structure import check_node, live_nodes, node_names
from hw.lowering.gate.tensors import Constant, check_annotation, check_shape, check_type, elem_type_of

DATA_TYPE = re.compile(r"U?INT[0-9]|FIXED<|BIPOLAR|BINARY|TERNARY|FLOAT")


def check(proto: onnx.ModelProto) -> None:
    """Give every node its unique name. Raises UsageError, naming node or tensor, for a model that cannot be read."""
    graph = proto.graph
    names = node_names(graph)
    for node, name in zip(graph.node, names, strict=True):
        node.name = name
    live_nodes(graph, names)
    for node in graph.node:
        check_node(node, set())
        _check_data_types(node)
    infos = [*graph.input, *graph.output, *graph.value_info]
    counts = Counter(value.name for value in infos)
    for value in infos:
        what = f"tensor {printable(value.name)}"
        if counts[value.name] > 1:
            raise UsageError(f"{what} is described {counts[value.name]} times; give every tensor one name")
        check_type(elem_type_of(value), what)
        check_shape(tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim), what)
    for annotation in graph.quantization_annotation:
        for entry in annotation.quant_parameter_tensor_names:
            if entry.key == "finn_datatype":
                check_annotation(entry.value, f"tensor {printable(annotation.tensor_name)}")


def _check_data_types(node: onnx.NodeProto) -> None:
    """Raise UsageError for an attribute that is not UTF-8, or names a data type that QONNX does not have."""
    for attribute in node.attribute:
        texts = [attribute.s] if attribute.type == AttributeProto.STRING else [*attribute.strings]
        for text in texts:
            what = f"{node.name}: its attribute {attribute.name}"
            try:
                word = text.decode()
            except UnicodeDecodeError:
                raise UsageError(f"{what} is not UTF-8; export the model again") from None
            if DATA_TYPE.match(word):
                check_annotation(word, what)


def constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """The values of the initializers. Raises UsageError, with its name, for one that cannot be read."""
    return {each.name: Constant(each, f"initializer {each.name}").value for each in graph.initializer}
