"""FINN's MVAU and VVAU: layers of weights, and the thresholds that FINN may keep inside of them."""

from math import prod

import numpy as np
import onnx
from qonnx.core.datatype import BaseDataType, DataType

from hw.finn.dialect import BINARY, BIPOLAR, Attributes, first_range, image, stream_shape, tensor_shape
from hw.finn.operators.thresholds import append_thresholds
from hw.finn.reader import Reader
from hw.finn.table import FinnOperators
from hw.finn.values import HardwareValue, prefix_of
from hw.finn.writer import Writer
from hw.host.errors import BitfabricError
from hw.ir.graph import Node
from hw.ir.stream import Stream, smallest_dtype
from hw.kernels.coded_matrix_vector.kernel import CodedMatrixVector
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.plane_depthwise.kernel import PlaneDepthwise
from hw.kernels.plane_matrix_vector.kernel import PlaneMatrixVector
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.sparse_matrix_vector.kernel import SparseMatrixVector
from hw.kernels.tied_matrix_vector.kernel import TiedMatrixVector
from hw.lowering.weights import weight_dtype

WIDEST_WEIGHT = 16
"""Maximum width that counts as a determined one: FINN states a wider placeholder until it has minimised the widths."""


def _read_mvau(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
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
        first_range(node),
    )  # fmt: skip
    factor, offset = _meaning(node, value, weights, a, a["MW"], zeros if xnor else None)
    _activated(r, node, a, kernel, value, factor, offset)


def _read_vvau(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    """FINN's ``SIMD`` (several positions of a window at a time) has no counterpart in our kernel and is ignored."""
    if a.get("binaryXnorMode", 0):
        raise BitfabricError("a depthwise layer in XNOR mode, which FINN itself executes otherwise; use the QONNX file")
    positions = prod(a["Kernel"])
    weights = _integers(r, node, 1).reshape(a["Channels"], positions)
    given = Stream(stream_shape((1, *a["Dim"], positions * a["Channels"])), DataType[a["inputDataType"]], a["PE"])
    value = r.value(node, given)
    prefix = prefix_of(value, given.shape)
    kernel = Depthwise(weights, _weight_type(weights, a), value.stream.dtype, prefix, a["PE"], first_range(node))
    factor, offset = _meaning(node, value, weights.T, a, positions, None)
    _activated(r, node, a, kernel, value, factor, offset)


def _integers(r: Reader, node: onnx.NodeProto, index: int) -> np.ndarray:
    """The integer weights of a layer, which FINN stores as floats. Raises BitfabricError if they are not integers."""
    values = r.constants.get(node.input[index]) if len(node.input) > index else None
    if values is None:
        raise BitfabricError("its weights are not in the file; keep them inside the model")
    whole = np.rint(values)
    if not np.array_equal(whole, values):
        raise BitfabricError("its weights are not integers; FINN has not streamlined this model")
    return whole.astype(np.int64)


def _weight_type(weights: np.ndarray, a: Attributes) -> BaseDataType:
    """The type of the weights: FINN's, or the narrowest one where FINN has a wider placeholder."""
    dtype = DataType[a["weightDataType"]]
    ones = dtype.name == "UINT2" and weights.max() < 2  # FINN's narrowest unsigned type of weights
    return weight_dtype(weights) if ones or dtype.bitwidth() > WIDEST_WEIGHT else dtype


def _meaning(
    node: onnx.NodeProto,
    value: HardwareValue,
    weights: np.ndarray,
    a: Attributes,
    products: int,
    zeros: np.ndarray | None,
) -> tuple[int, np.ndarray | int]:
    """Factor and offset with which FINN's results represent our sums (see ``HardwareValue``).

    ``weights`` are (inputs, outputs). ``zeros`` is the number of 0 weights of each output of an XNOR layer, else None.
    """
    if isinstance(value.offset, np.ndarray):
        raise BitfabricError("its inputs are popcounts, each with another offset; build from the QONNX file")
    if zeros is not None:
        # The number of equal bits is (sum + n) / 2 for inputs of -1 and +1, and sum + zeros for inputs of 0 and 1.
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
    value: HardwareValue,
    factor: int,
    offset: np.ndarray | int,
) -> None:
    """Append the kernel, and a Threshold for the thresholds that FINN may have in the same layer."""
    if a.get("noActivation", 0):
        r.append(node, kernel, value, factor=factor, offset=offset)
        return
    sums = f"{node.output[0]}_sums"
    r.append(node, kernel, value, edges=(sums,), factor=factor, offset=offset)
    between = r.values[sums]
    assert isinstance(between, HardwareValue)
    append_thresholds(r, node, a, between, 2, f"{node.name}_threshold", between.stream.shape)


def _write_matrix_vector(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, MatrixVector)
    w.require_sums(node)
    w.reject_binary(node, kernel.input_dtype)
    dtype, weights = _accumulator(w, node, kernel, kernel.mw)
    w.add_layer(
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


def _write_depthwise(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Depthwise)
    w.require_sums(node)
    w.reject_binary(node, kernel.input_dtype)
    dtype, weights = _accumulator(w, node, kernel, kernel.k)
    window = next((n.kernel for n in w.graph if n.outputs[0] == node.inputs[0]), None)
    sides = image(window.kernel) if isinstance(window, SlidingWindow) else [1, kernel.k]
    if len(kernel.prefix) not in (1, 2):
        raise BitfabricError(f"{node.name}: FINN's depthwise layers work on images, not on {kernel.prefix}")
    w.add_layer(
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


def _accumulator(
    w: Writer, node: Node, kernel: MatrixVector | Depthwise, products: int
) -> tuple[BaseDataType, BaseDataType]:
    """The types of a layer's results and weights in FINN, which has no BINARY weights."""
    weights = DataType["UINT2"] if kernel.weight_dtype == BINARY else kernel.weight_dtype
    if kernel.input_dtype == BIPOLAR and weights == BIPOLAR:
        w.popcounts[node.outputs[0]] = products
        return smallest_dtype(0, products), weights
    return kernel.outputs()[0].dtype, weights


OPERATORS = FinnOperators(
    reads={
        "MVAU": _read_mvau,
        "VVAU": _read_vvau,
    },
    writes={
        MatrixVector: _write_matrix_vector,
        PlaneMatrixVector: _write_matrix_vector,
        SparseMatrixVector: _write_matrix_vector,
        TiedMatrixVector: _write_matrix_vector,
        CodedMatrixVector: _write_matrix_vector,
        Depthwise: _write_depthwise,
        PlaneDepthwise: _write_depthwise,
    },
)
