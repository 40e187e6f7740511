"""FINN's Thresholding: quantizers as tables of thresholds."""

import numpy as np
import onnx
from qonnx.core.datatype import DataType

from hw.finn.dialect import BINARY, BIPOLAR, Attributes, reached, stream_shape, tensor_shape
from hw.finn.reader import Reader
from hw.finn.table import FinnOperators
from hw.finn.values import HardwareValue, prefix_of
from hw.finn.writer import Writer
from hw.host.errors import BitfabricError
from hw.ir.graph import Node
from hw.ir.stream import Stream, smallest_dtype
from hw.kernels.threshold.kernel import Threshold


def _read(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    given = stream_shape((*a.get("numInputVectors", (1,)), a["NumChannels"]))
    value = r.value(node, Stream(given, DataType[a["inputDataType"]], a["PE"]))
    append_thresholds(r, node, a, value, 1, node.name, given)


def append_thresholds(
    r: Reader, node: onnx.NodeProto, a: Attributes, value: HardwareValue, index: int, name: str, given: tuple[int, ...]
) -> None:
    """Append a Threshold with the table in input ``index`` of FINN\'s node; ``given`` is its stream\'s shape."""
    table = r.constants.get(node.input[index])
    if table is None or np.isnan(table).any():
        raise BitfabricError("its thresholds are not in the file, or not numbers")
    channels, prefix, dtype = given[-1], prefix_of(value, given), value.stream.dtype
    table = np.sort(np.broadcast_to(table, (channels, table.shape[1])).astype(np.float64), axis=1)
    offset = np.broadcast_to(value.offset, (channels,))[:, None]
    bounds = reached((2 * table - offset) / value.factor, int(dtype.min()), int(dtype.max()))
    out, least = DataType[a["outputDataType"]], int(a.get("ActVal", 0))
    pm_one = out == BINARY and least == 0 and table.shape[1] == 1 and r.xnor_only(node.output[0])
    if pm_one:
        out = BIPOLAR
    kernel = Threshold(
        bounds, np.zeros(channels, bool), dtype, out, prefix, a["PE"], output_min=None if out == BIPOLAR else least
    )
    both = (1, 1) if pm_one else (2, 0)
    r.append(node, kernel, value, name=name, factor=both[0], offset=both[1])


def _write(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Threshold)
    if kernel.decreasing.any():
        raise BitfabricError(f"{node.name}: FINN's thresholds only rise; adapt the graph first (hw.finn.adapted)")
    given, table = w.types[node.inputs[0]], kernel.thresholds
    if products := w.popcounts.get(node.inputs[0]):
        # sum >= T is 2 p - n >= T for popcounts p of n products.
        table = reached((table + products) / 2, 0, products)
    signed = given.signed()
    low, high = min(0 if not signed else -1, int(table.min())), int(table.max())
    dtype = smallest_dtype(min(low, -high - 1) if signed else low, max(high, 1))
    bipolar = kernel.output_dtype == BIPOLAR
    least = int(kernel.output_dtype.min()) if kernel.output_min is None else kernel.output_min
    w.add_layer(
        node,
        "Thresholding",
        {
            "PE": kernel.pe,
            "NumChannels": kernel.channels,
            "numSteps": kernel.steps,
            "inputDataType": given.name,
            "weightDataType": dtype.name,
            "outputDataType": kernel.output_dtype.name,
            "numInputVectors": list(tensor_shape(kernel.outputs()[0].shape)[:-1]),
            "ActVal": 0 if bipolar else int(least),
        },
        (w.constant(f"{node.name}_thresholds", table, dtype),),
    )


OPERATORS = FinnOperators(
    reads={
        "Thresholding": _read,
    },
    writes={
        Threshold: _write,
    },
)
