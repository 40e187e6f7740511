"""Kernels as FINN's nodes: what writes each of them."""

import onnx
from qonnx.core.datatype import BaseDataType, DataType

from hw.finn import requant
from hw.finn.adapted import bounds
from hw.finn.dialect import RANGE, image, reached, tensor_shape
from hw.finn.writer import BINARY, BIPOLAR, Writer, writes
from hw.host.errors import BitfabricError
from hw.ir.graph import Node
from hw.ir.stream import smallest_dtype
from hw.kernels.add.kernel import Add
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.concat.kernel import Concat
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.fork.kernel import Fork
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.requant.kernel import Requant
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.width_converter.kernel import WidthConverter


@writes(MatrixVector)
def _matrix_vector(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, MatrixVector)
    w.sums(node)
    w.refuse_binary(node, kernel.input_dtype)
    dtype, weights = _accumulator(w, node, kernel, kernel.mw)
    w.node(
        node,
        "MVAU",
        {
            "MW": kernel.mw,
            "MH": kernel.mh,
            "SIMD": kernel.simd,
            "PE": kernel.pe,
            "inputDataType": kernel.input_dtype.name,
            "weightDataType": weights.name,
            "outputDataType": dtype.name,
            "accDataType": dtype.name,
            "noActivation": 1,
            "numInputVectors": list(tensor_shape(kernel.outputs()[0].shape)[:-1]),
        },
        (w.constant(f"{node.name}_weights", kernel.weights.T, weights),),
        dtype,
        kernel.input_range,
    )


def _accumulator(
    w: Writer, node: Node, kernel: MatrixVector | Depthwise, products: int
) -> tuple[BaseDataType, BaseDataType]:
    """The type of a layer's results in FINN, and of its weights there (its codes know no BINARY ones)."""
    weights = DataType["UINT2"] if kernel.weight_dtype == BINARY else kernel.weight_dtype
    if kernel.input_dtype == BIPOLAR and weights == BIPOLAR:
        w.counted[node.outputs[0]] = products
        return smallest_dtype(0, products), weights
    return kernel.outputs()[0].dtype, weights


@writes(Depthwise)
def _depthwise(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Depthwise)
    w.sums(node)
    w.refuse_binary(node, kernel.input_dtype)
    dtype, weights = _accumulator(w, node, kernel, kernel.k)
    window = next((n.kernel for n in w.graph if n.outputs[0] == node.inputs[0]), None)
    sides = image(window.kernel) if isinstance(window, SlidingWindow) else [1, kernel.k]
    if len(kernel.prefix) not in (1, 2):
        raise BitfabricError(f"{node.name}: FINN's depthwise layers work on images, not on {kernel.prefix}")
    w.node(
        node,
        "VVAU",
        {
            "PE": kernel.pe,
            "SIMD": 1,
            "Dim": image(kernel.prefix),
            "Channels": kernel.channels,
            "Kernel": sides,
            "inputDataType": kernel.input_dtype.name,
            "weightDataType": weights.name,
            "outputDataType": dtype.name,
            "accDataType": dtype.name,
            "noActivation": 1,
        },
        (w.constant(f"{node.name}_weights", kernel.weights.reshape(kernel.channels, 1, *sides), weights),),
        dtype,
        kernel.input_range,
    )


@writes(Threshold)
def _threshold(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Threshold)
    if kernel.decreasing.any():
        raise BitfabricError(f"{node.name}: FINN's thresholds only rise; adapt the graph first (hw.finn.adapted)")
    given, table = w.types[node.inputs[0]], kernel.thresholds
    if products := w.counted.get(node.inputs[0]):
        # 2 p - n >= T for popcounts p of n
        table = reached((table + products) / 2, 0, products)
    signed = given.signed()
    low, high = min(0 if not signed else -1, int(table.min())), int(table.max())
    dtype = smallest_dtype(min(low, -high - 1) if signed else low, max(high, 1))
    bipolar = kernel.output_dtype == BIPOLAR
    least = int(kernel.output_dtype.min()) if kernel.output_min is None else kernel.output_min
    w.node(
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


@writes(Requant)
def _requant(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Requant)
    w.sums(node)
    scale, bias, narrow = requant.parameters(kernel, node.name, bounds(w.graph, node.inputs[0], kernel.inputs()[0]))
    w.node(
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


@writes(Add)
def _add(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Add)
    w.sums(node)
    operations = {(1, 1): ("ElementwiseAdd", 1), (1, -1): ("ElementwiseSub", 1), (-1, 1): ("ElementwiseSub", -1)}
    if kernel.coefficients not in operations:
        raise BitfabricError(
            f"{node.name}: it adds {kernel.coefficients[0]} a + {kernel.coefficients[1]} b, since its inputs have "
            "different scales; FINN adds integers as they are: quantize both inputs with one shared quantizer, or use "
            "the open back end"
        )
    op, order = operations[kernel.coefficients]
    shape = list(tensor_shape(kernel.shape))
    left, right = kernel.dtypes[::order]
    w.raw(
        node.name, op, node.inputs[::order], node.outputs,
        {
            "lhs_dtype": left.name,
            "rhs_dtype": right.name,
            "out_dtype": kernel.output_dtype.name,
            "lhs_shape": shape,
            "rhs_shape": shape,
            "out_shape": shape,
            "PE": kernel.pe,
        },
    )  # fmt: skip
    if kernel.input_ranges is not None:
        text = " ".join(str(bound) for pair in kernel.input_ranges for bound in pair)
        w.nodes[-1].metadata_props.append(onnx.StringStringEntryProto(key=RANGE, value=text))
    w.edge(node.outputs[0], kernel.outputs()[0])


@writes(Fork)
def _fork(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Fork)
    dtype = w.pass_counts(node) or kernel.dtype
    w.node(
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


@writes(Concat)
def _concat(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Concat)
    w.sums(node)
    if BIPOLAR in kernel.dtypes:
        raise BitfabricError(
            f"{node.name}: FINN concatenates no 1-bit (BIPOLAR) values; use 2 bits there, or the open back end"
        )
    w.node(
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


@writes(ArgMax)
def _arg_max(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, ArgMax)
    w.node(
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


@writes(Fifo)
def _fifo(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Fifo)
    dtype = w.pass_counts(node) or kernel.stream.dtype
    normal = tensor_shape(kernel.stream.shape)
    w.node(
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


@writes(WidthConverter)
def _width_converter(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, WidthConverter)
    dtype = w.pass_counts(node) or kernel.stream.dtype
    shape = list(tensor_shape(kernel.stream.shape))
    w.node(
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
