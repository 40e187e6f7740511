"""FINN's layers as kernels: what reads each operator of the dialect."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import onnx
from qonnx.core.datatype import BaseDataType, DataType

from hw.finn import requant
from hw.finn.adapted import bounds
from hw.finn.dialect import RANGE, reached, stream_shape, tensor_shape
from hw.finn.reader import BINARY, BIPOLAR, Reader, Value, reads
from hw.host.errors import BitfabricError
from hw.ir.stream import Stream, smallest_dtype
from hw.kernels.add.kernel import Add
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.concat.kernel import Concat
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.fork.kernel import Fork
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.requant.kernel import Requant
from hw.kernels.threshold.kernel import Threshold
from hw.lowering.weights import weight_dtype
from hw.passes.lanes import converters

Attributes = dict[str, Any]
WIDEST_WEIGHT = 16
"""Bits from which on a weight type is FINN's placeholder for a width that it has not found out yet."""


# --- layers of weights ---


@reads("MVAU")
def _mvau(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    weights = _integers(r, node, 1)
    xnor = bool(a.get("binaryXnorMode", 0))
    given = Stream(stream_shape((*a.get("numInputVectors", (1,)), a["MW"])), DataType[a["inputDataType"]], a["SIMD"])
    value = r.value(node, given)
    zeros = (weights == 0).sum(axis=0)
    if xnor:
        weights = 2 * weights - 1
    dtype = BIPOLAR if xnor else _weight_type(weights, a)
    source = value.stream.dtype
    kernel = MatrixVector(
        np.ascontiguousarray(weights.T), dtype, source, prefix_of(value, given.shape), a["PE"], a["SIMD"],
        input_range(node),
    )  # fmt: skip
    factor, offset = _meaning(node, value, weights, a, a["MW"], zeros if xnor else None)
    _activated(r, node, a, kernel, value, factor, offset)


@reads("VVAU")
def _vvau(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    """``SIMD``, which takes several positions of a window at a time, has no counterpart and is left aside."""
    if a.get("binaryXnorMode", 0):
        raise BitfabricError("a depthwise layer in XNOR mode, which FINN itself executes otherwise; use the QONNX file")
    positions = prod(a["Kernel"])
    weights = _integers(r, node, 1).reshape(a["Channels"], positions)
    given = Stream(stream_shape((1, *a["Dim"], positions * a["Channels"])), DataType[a["inputDataType"]], a["PE"])
    value = r.value(node, given)
    prefix = prefix_of(value, given.shape)
    kernel = Depthwise(weights, _weight_type(weights, a), value.stream.dtype, prefix, a["PE"], input_range(node))
    factor, offset = _meaning(node, value, weights.T, a, positions, None)
    _activated(r, node, a, kernel, value, factor, offset)


def _integers(r: Reader, node: onnx.NodeProto, index: int) -> np.ndarray:
    """The weights of a layer, which FINN has as floats."""
    values = r.constants.get(node.input[index]) if len(node.input) > index else None
    if values is None:
        raise BitfabricError("its weights are not in the file; keep them inside the model")
    whole = np.rint(values)
    if not np.array_equal(whole, values):
        raise BitfabricError("its weights are not integers; FINN has not streamlined this model")
    return whole.astype(np.int64)


def _weight_type(weights: np.ndarray, a: Attributes) -> BaseDataType:
    dtype = DataType[a["weightDataType"]]
    ones = dtype.name == "UINT2" and weights.max() < 2  # FINN has no narrower unsigned ones
    return weight_dtype(weights) if ones or dtype.bitwidth() > WIDEST_WEIGHT else dtype


def input_range(node: onnx.NodeProto) -> tuple[int, int] | None:
    numbers = _ranges(node)
    return (numbers[0], numbers[1]) if numbers else None


def _ranges(node: onnx.NodeProto) -> list[int]:
    """Input ranges that we wrote down."""
    text = next((entry.value for entry in node.metadata_props if entry.key == RANGE), "")
    return [int(number) for number in text.split()]


def prefix_of(value: Value, given: tuple[int, ...]) -> tuple[int, ...]:
    """How a layer that takes a stream ``given``, by FINN's account, sees what really comes."""
    shape = value.stream.shape
    if value.stream.elements != prod(given):
        raise BitfabricError(f"it takes {given}, and its input is {shape}")
    # An image of one row may have come as one, or as a signal.
    same = tensor_shape(shape) == tensor_shape(given) or (len(shape) == 3 and shape[1:] == given)
    return shape[:-1] if same else given[:-1]


def _meaning(
    node: onnx.NodeProto, value: Value, weights: np.ndarray, a: Attributes, products: int, zeros: np.ndarray | None
) -> tuple[int, np.ndarray | int]:
    """What FINN's results are of our sums (see Value); ``weights`` are (inputs, outputs), ``zeros`` an XNOR layer's."""
    if isinstance(value.offset, np.ndarray):
        raise BitfabricError("its inputs are popcounts, each with another offset; build from the QONNX file")
    if zeros is not None:
        # Agreeing bits: of +-1 half of sum + n; of 0 and 1 the sum and the weights that are 0.
        return (1, products) if value.factor == 1 else (2, 2 * zeros)
    if value.plain and value.stream.dtype == BIPOLAR and a["weightDataType"] == "BIPOLAR":
        return 1, products
    if value.plain:
        return 2, 0
    return value.factor, value.offset * weights.sum(axis=0)


def _activated(
    r: Reader,
    node: onnx.NodeProto,
    a: Attributes,
    kernel: MatrixVector | Depthwise,
    value: Value,
    factor: int,
    offset: np.ndarray | int,
) -> None:
    """The kernel, and the thresholds that FINN may have in the same layer."""
    if a.get("noActivation", 0):
        r.append(node, kernel, value, factor=factor, offset=offset)
        return
    sums = f"{node.output[0]}_sums"
    r.append(node, kernel, value, edges=(sums,), factor=factor, offset=offset)
    between = r.values[sums]
    assert isinstance(between, Value)
    _thresholds(r, node, a, between, 2, f"{node.name}_threshold", between.stream.shape)


# --- quantizers ---


@reads("Thresholding")
def _thresholding(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    given = stream_shape((*a.get("numInputVectors", (1,)), a["NumChannels"]))
    value = r.value(node, Stream(given, DataType[a["inputDataType"]], a["PE"]))
    _thresholds(r, node, a, value, 1, node.name, given)


def _thresholds(
    r: Reader, node: onnx.NodeProto, a: Attributes, value: Value, index: int, name: str, given: tuple[int, ...]
) -> None:
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


@reads("Requant")
def _requant(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    channels = a["NumChannels"]
    given = Stream(stream_shape((*a.get("numInputVectors", (1,)), channels)), DataType[a["inputDataType"]])
    value = r.plain(node, given)
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
    """An input of a Requant for every channel; it may be left out."""
    stored = r.constants.get(node.input[index]) if len(node.input) > index else None
    return np.broadcast_to(np.ravel(default if stored is None else stored), (channels,))


# --- several streams ---


@reads("ElementwiseAdd", "ElementwiseSub")
def _add(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    constant = next((name for name in node.input if name in r.constants), None)
    if constant is not None:
        _offset(r, node, a, constant)
        return
    streams = [
        Stream(stream_shape(a[f"{side}_shape"]), DataType[a[f"{side}_dtype"]], a.get("PE", 1))
        for side in ("lhs", "rhs")
    ]
    values = [r.plain(node, stream, index) for index, stream in enumerate(streams)]
    shape = values[0].stream.shape
    if any(value.stream.elements != values[0].stream.elements for value in values):
        raise BitfabricError(f"it adds {values[1].stream.shape} to {shape}; only tensors of equal shape are added")
    sign = -1 if node.op_type.startswith("ElementwiseSub") else 1
    numbers = _ranges(node)
    ranges = ((numbers[0], numbers[1]), (numbers[2], numbers[3])) if numbers else None
    dtypes = values[0].stream.dtype, values[1].stream.dtype
    r.append(node, Add(shape, dtypes, (1, sign), a.get("PE", 1), ranges), *values)


def _offset(r: Reader, node: onnx.NodeProto, a: Attributes, constant: str) -> None:
    """A constant added: integers, one for each channel at most."""
    index = 1 - list(node.input).index(constant)
    side = ("lhs", "rhs")[index]
    stream = Stream(stream_shape(a[f"{side}_shape"]), DataType[a[f"{side}_dtype"]], a.get("PE", 1))
    value = r.plain(node, stream, index)
    channels, number = value.stream.shape[-1], r.constants[constant]
    if not np.array_equal(np.rint(number), number) or number.size not in (1, number.shape[-1]):
        raise BitfabricError("the constant that it adds is not one integer for each channel; build from the QONNX file")
    added = np.broadcast_to(np.ravel(number), (channels,)).astype(np.int64)
    ones = np.ones(channels, np.int64)
    if node.op_type.startswith("ElementwiseSub"):
        ones, added = (ones, -added) if index == 0 else (-ones, added)
    dtype = value.stream.dtype
    ends = [ones * int(end) + added for end in (dtype.min(), dtype.max())]
    low, high = int(np.min(ends)), int(np.max(ends))
    kernel = Requant(
        ones, added, 0, "FLOOR", dtype, smallest_dtype(low, high), low, high, value.stream.shape[:-1], a.get("PE", 1)
    )
    r.append(node, kernel, value)


@reads("DuplicateStreams")
def _fork(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    given = stream_shape((*a.get("numInputVectors", (1,)), a["NumChannels"]))
    value = r.value(node, Stream(given, DataType[a["inputDataType"]], a["PE"]))
    stream = value.stream
    kernel = Fork(stream.shape, stream.dtype, len(node.output), a["PE"])
    r.append(node, kernel, value, factor=value.factor, offset=value.offset)


@reads("StreamingConcat")
def _concat(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    lead = a.get("numInputVectors", (1,))
    values = []
    for index, (channels, dtype) in enumerate(zip(a["ChannelsPerStream"], a["inputDataTypes"], strict=True)):
        stream = Stream(stream_shape((*lead, channels)), DataType[dtype])
        values.append(r.plain(node, stream, index))
    shapes, dtypes = (tuple(each) for each in zip(*((v.stream.shape, v.stream.dtype) for v in values), strict=True))
    r.append(node, Concat(shapes, dtypes, a["SIMD"]), *values)


@reads("LabelSelect")
def _label_select(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    if a["K"] != 1:
        raise BitfabricError(f"it selects the {a['K']} best labels; there is a kernel for one only")
    given = stream_shape((*a.get("numInputVectors", (1,)), a["Labels"]))
    value = r.value(node, Stream(given, DataType[a["inputDataType"]], a["PE"]))
    if isinstance(value.offset, np.ndarray) and np.any(value.offset != value.offset[0]):
        raise BitfabricError("it compares popcounts, each with another offset; build from the QONNX file")
    prefix = prefix_of(value, given)
    r.append(node, ArgMax(a["Labels"], value.stream.dtype, prefix, a["PE"]), value)


# --- what only carries ---


@reads("StreamingFIFO")
def _fifo(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    lanes = a["folded_shape"][-1]
    value = r.value(node, Stream(stream_shape(a["normal_shape"]), DataType[a["dataType"]], lanes))
    kernel = Fifo(value.stream.with_lanes(lanes), max(2, a["depth"]))
    r.append(node, kernel, value, factor=value.factor, offset=value.offset)


@reads("StreamingDataWidthConverter")
def _width_converter(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
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
        assert isinstance(made, Value)
        value = made
    if not steps:
        r.values[node.output[0]] = value


@reads("Reshape", "Squeeze", "Unsqueeze")
def _reshape(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    """The same elements in the same order."""
    dtype = DataType[a.get("dtype") or a.get("inp_dtype")]
    value = r.value(node, Stream(stream_shape(a["inp_shape"]), dtype))
    shape = stream_shape(a["out_shape"])
    r.values[node.output[0]] = replace(value, stream=replace(value.stream, shape=shape, lanes=1))
