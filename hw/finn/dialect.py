"""Names, shapes and attributes of FINN's dialect, for its reader and its writer."""

from typing import Any

import numpy as np
import onnx
from onnx import helper
from qonnx.core.datatype import DataType

Attributes = dict[str, Any]
"""A node's attributes by name."""

BIPOLAR, BINARY = DataType["BIPOLAR"], DataType["BINARY"]

DOMAIN = "finn.custom_op.fpgadataflow"
"""FINN's domain. Specialised nodes have it with ``.hls`` or ``.rtl``, and operators ending in ``_hls`` or ``_rtl``."""
RANGE = "bitfabric.input_range"
"""Key, in a node's metadata, of the range of a layer's inputs, which FINN's attributes do not hold."""


def is_finn(proto: onnx.ModelProto) -> bool:
    """Whether a model contains nodes of FINN's dataflow dialect."""
    return any(of_finn(node) for node in proto.graph.node)


def of_finn(node: onnx.NodeProto) -> bool:
    """Whether a node is one of FINN's hardware layers."""
    return node.domain.startswith(DOMAIN)


def operator(node: onnx.NodeProto) -> str:
    """The operator of a hardware layer, specialised or not."""
    return node.op_type.removesuffix("_hls").removesuffix("_rtl")


def tensor_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of FINN's tensor for a stream: with a batch of one, and signals as images of one row."""
    return (1, 1, *shape) if len(shape) == 2 else (1, *shape)


def stream_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the stream for FINN's tensor."""
    return shape[2:] if len(shape) == 4 and shape[1] == 1 else shape[1:]


def general(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with unspecialised layers, which FINN executes in Python, and without FIFOs and width converters.

    With a FIFO or width converter between a window and its depthwise layer, FINN would read the window's elements in
    another order.
    """
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    ends = {value.name for value in result.graph.output}
    sources: dict[str, str] = {}
    for node in list(result.graph.node):
        for index, name in enumerate(node.input):
            node.input[index] = sources.get(name, name)
        if not of_finn(node):
            continue
        carries = operator(node) in ("StreamingFIFO", "StreamingDataWidthConverter") and node.output[0] not in ends
        if carries:
            sources[node.output[0]] = node.input[0]
            result.graph.node.remove(node)
        else:
            node.op_type, node.domain = operator(node), DOMAIN
    return result


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes; strings decoded, lists as tuples."""
    found = {}
    for each in node.attribute:
        value = helper.get_attribute_value(each)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, list):
            value = tuple(part.decode() if isinstance(part, bytes) else part for part in value)
        found[each.name] = value
    return found


def image(shape: tuple[int, ...], lead: int = 1) -> list[int]:
    """Two spatial sizes; those of a signal are ``lead`` and its length."""
    return [lead, *shape] if len(shape) == 1 else list(shape)


def reached(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """Thresholds for integers from ``low`` to ``high``, rounded up to integers in ``low..high + 1``."""
    return np.clip(np.ceil(values), low, high + 1).astype(np.int64)


def input_ranges(node: onnx.NodeProto) -> list[int]:
    """The ranges of a layer's inputs, minimum and maximum of each, that ``write`` has recorded; empty if none."""
    text = next((entry.value for entry in node.metadata_props if entry.key == RANGE), "")
    return [int(number) for number in text.split()]


def first_range(node: onnx.NodeProto) -> tuple[int, int] | None:
    """The recorded range of a layer's first input; None if there is none."""
    numbers = input_ranges(node)
    return (numbers[0], numbers[1]) if numbers else None
