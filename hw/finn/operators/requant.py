"""FINN's Requant: a multiplication, an addition and rounding."""

import numpy as np
import onnx
from qonnx.core.datatype import DataType

from hw.finn import requant
from hw.finn.adapted import bounds
from hw.finn.dialect import Attributes, stream_shape, tensor_shape
from hw.finn.reader import Reader
from hw.finn.table import FinnOperators
from hw.finn.values import prefix_of
from hw.finn.writer import Writer
from hw.ir.graph import Node
from hw.ir.stream import Stream
from hw.kernels.requant.kernel import Requant


def _read(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    channels = a["NumChannels"]
    given = Stream(stream_shape((*a.get("numInputVectors", (1,)), channels)), DataType[a["inputDataType"]])
    value = r.integers(node, given)
    scale, bias = (_parameter(r, node, *each, channels) for each in ((1, 1.0), (2, 0.0)))
    types = value.stream.dtype, DataType[a["outputDataType"]]
    kernel = requant.kernel_of(
        node.name,
        scale,
        bias,
        types,
        bool(a.get("narrow", 0)),
        prefix_of(value, given.shape),
        a.get("PE", 1),
        bounds(r.nodes, value.edge, given),
    )
    r.append(node, kernel, value)


def _parameter(r: Reader, node: onnx.NodeProto, index: int, default: float, channels: int) -> np.ndarray:
    """A constant input of a Requant, broadcast to (channels,); ``default`` if the node has no such input."""
    stored = r.constants.get(node.input[index]) if len(node.input) > index else None
    return np.broadcast_to(np.ravel(default if stored is None else stored), (channels,))


def _write(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Requant)
    w.require_sums(node)
    scale, bias, narrow = requant.parameters(kernel, node.name, bounds(w.graph, node.inputs[0], kernel.inputs()[0]))
    w.add_layer(
        node,
        "Requant",
        {
            "PE": kernel.pe,
            "NumChannels": len(kernel.multiplier),
            "inputDataType": kernel.input_dtype.name,
            "outputDataType": kernel.output_dtype.name,
            "numInputVectors": list(tensor_shape(kernel.outputs()[0].shape)[:-1]),
            "narrow": int(narrow),
        },
        (w.constant(f"{node.name}_scale", scale), w.constant(f"{node.name}_bias", bias)),
    )


OPERATORS = FinnOperators(
    reads={
        "Requant": _read,
    },
    writes={
        Requant: _write,
    },
)
