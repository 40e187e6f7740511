"""FINN's LabelSelect: the index of the largest value."""

import numpy as np
import onnx
from qonnx.core.datatype import DataType

from hw.finn.dialect import Attributes, stream_shape, tensor_shape
from hw.finn.reader import Reader
from hw.finn.table import FinnOperators
from hw.finn.values import prefix_of
from hw.finn.writer import Writer
from hw.host.errors import BitfabricError
from hw.ir.graph import Node
from hw.ir.stream import Stream
from hw.kernels.arg_max.kernel import ArgMax


def _read(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    if a["K"] != 1:
        raise BitfabricError(f"it selects the {a['K']} best labels; there is a kernel for one only")
    given = stream_shape((*a.get("numInputVectors", (1,)), a["Labels"]))
    value = r.value(node, Stream(given, DataType[a["inputDataType"]], a["PE"]))
    if isinstance(value.offset, np.ndarray) and np.any(value.offset != value.offset[0]):
        raise BitfabricError("it compares popcounts, each with another offset; build from the QONNX file")
    prefix = prefix_of(value, given)
    r.append(node, ArgMax(a["Labels"], value.stream.dtype, prefix, a["PE"]), value)


def _write(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, ArgMax)
    w.add_layer(
        node,
        "LabelSelect",
        {
            "Labels": kernel.classes,
            "PE": kernel.pe,
            "K": 1,
            "inputDataType": w.types[node.inputs[0]].name,
            "outputDataType": kernel.outputs()[0].dtype.name,
            "numInputVectors": list(tensor_shape(kernel.outputs()[0].shape)[:-1]),
        },
    )


OPERATORS = FinnOperators(
    reads={
        "LabelSelect": _read,
    },
    writes={
        ArgMax: _write,
    },
)
