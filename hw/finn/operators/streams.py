"""FINN's operators that compute nothing: copies, concatenation, FIFOs, width converters and changes of shape."""

from dataclasses import replace

import onnx
from qonnx.core.datatype import DataType

from hw.finn.dialect import BIPOLAR, Attributes, stream_shape, tensor_shape
from hw.finn.reader import Reader
from hw.finn.table import FinnOperators
from hw.finn.values import HardwareValue
from hw.finn.writer import Writer
from hw.host.errors import BitfabricError
from hw.ir.graph import Node
from hw.ir.stream import Stream
from hw.kernels.concat.kernel import Concat
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.fork.kernel import Fork
from hw.kernels.width_converter.kernel import WidthConverter
from hw.passes.lanes import converters


def _read_fork(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    given = stream_shape((*a.get("numInputVectors", (1,)), a["NumChannels"]))
    value = r.value(node, Stream(given, DataType[a["inputDataType"]], a["PE"]))
    stream = value.stream
    kernel = Fork(stream.shape, stream.dtype, len(node.output), a["PE"])
    r.append(node, kernel, value, factor=value.factor, offset=value.offset)


def _write_fork(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Fork)
    dtype = w.pass_popcounts(node) or kernel.dtype
    w.add_layer(
        node,
        "DuplicateStreams",
        {
            "NumChannels": kernel.channels,
            "PE": kernel.pe,
            "NumOutputStreams": kernel.copies,
            "inputDataType": dtype.name,
            "numInputVectors": list(tensor_shape(kernel.shape)[:-1]),
            "outFIFODepths": [2] * kernel.copies,
        },
        dtype=dtype,
    )


def _read_concat(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    lead = a.get("numInputVectors", (1,))
    values = []
    for index, (channels, dtype) in enumerate(zip(a["ChannelsPerStream"], a["inputDataTypes"], strict=True)):
        stream = Stream(stream_shape((*lead, channels)), DataType[dtype])
        values.append(r.integers(node, stream, index))
    shapes, dtypes = (tuple(each) for each in zip(*((v.stream.shape, v.stream.dtype) for v in values), strict=True))
    r.append(node, Concat(shapes, dtypes, a["SIMD"]), *values)


def _write_concat(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Concat)
    w.require_sums(node)
    if BIPOLAR in kernel.dtypes:
        raise BitfabricError(
            f"{node.name}: FINN concatenates no 1-bit (BIPOLAR) values; use 2 bits there, or the open back end"
        )
    w.add_layer(
        node,
        "StreamingConcat",
        {
            "SIMD": kernel.pe,
            "ChannelsPerStream": [shape[-1] for shape in kernel.shapes],
            "inputDataTypes": [dtype.name for dtype in kernel.dtypes],
            "numInputVectors": list(tensor_shape(kernel.shapes[0])[:-1]),
            "inFIFODepths": [2] * len(kernel.shapes),
        },
    )


def _read_fifo(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    lanes = a["folded_shape"][-1]
    value = r.value(node, Stream(stream_shape(a["normal_shape"]), DataType[a["dataType"]], lanes))
    kernel = Fifo(value.stream.with_lanes(lanes), max(2, a["depth"]))
    r.append(node, kernel, value, factor=value.factor, offset=value.offset)


def _write_fifo(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Fifo)
    dtype = w.pass_popcounts(node) or kernel.stream.dtype
    normal = tensor_shape(kernel.stream.shape)
    w.add_layer(
        node,
        "StreamingFIFO",
        {
            "depth": kernel.depth,
            "folded_shape": [*normal[:-1], normal[-1] // kernel.stream.lanes, kernel.stream.lanes],
            "normal_shape": list(normal),
            "dataType": dtype.name,
        },
        dtype=dtype,
    )


def _read_width_converter(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    bits = DataType[a["dataType"]].bitwidth()
    lanes, out_lanes = a["inWidth"] // bits, a["outWidth"] // bits
    value = r.value(node, Stream(stream_shape(a["inShape"]), DataType[a["dataType"]], lanes))
    steps = converters(value.stream.with_lanes(lanes), value.stream.with_lanes(out_lanes))
    for count, kernel in enumerate(steps):
        last = count == len(steps) - 1
        edges = tuple(node.output) if last else (f"{node.output[0]}_x{kernel.out_lanes}",)
        name = node.name if last else f"{node.name}_x{kernel.out_lanes}"
        r.append(node, kernel, value, name=name, edges=edges, factor=value.factor, offset=value.offset)
        made = r.values[edges[0]]
        assert isinstance(made, HardwareValue)
        value = made
    if not steps:
        r.values[node.output[0]] = value


def _write_width_converter(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, WidthConverter)
    dtype = w.pass_popcounts(node) or kernel.stream.dtype
    shape = list(tensor_shape(kernel.stream.shape))
    w.add_layer(
        node,
        "StreamingDataWidthConverter",
        {
            "inShape": shape,
            "outShape": shape,
            "inWidth": kernel.stream.lanes * dtype.bitwidth(),
            "outWidth": kernel.out_lanes * dtype.bitwidth(),
            "dataType": dtype.name,
        },
        dtype=dtype,
    )


def _read_reshape(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    """The same elements in the same order."""
    dtype = DataType[a.get("dtype") or a.get("inp_dtype")]
    value = r.value(node, Stream(stream_shape(a["inp_shape"]), dtype))
    shape = stream_shape(a["out_shape"])
    r.values[node.output[0]] = replace(value, stream=replace(value.stream, shape=shape, lanes=1))


OPERATORS = FinnOperators(
    reads={
        "DuplicateStreams": _read_fork,
        "StreamingConcat": _read_concat,
        "StreamingFIFO": _read_fifo,
        "StreamingDataWidthConverter": _read_width_converter,
        "Reshape": _read_reshape,
        "Squeeze": _read_reshape,
        "Unsqueeze": _read_reshape,
    },
    writes={
        Fork: _write_fork,
        Concat: _write_concat,
        Fifo: _write_fifo,
        WidthConverter: _write_width_converter,
    },
)
