"""FINN's ElementwiseAdd and ElementwiseSub: two streams, or a stream and constants."""

import numpy as np
import onnx
from qonnx.core.datatype import DataType

from hw.finn.dialect import Attributes, input_ranges, stream_shape, tensor_shape
from hw.finn.reader import Reader
from hw.finn.table import FinnOperators
from hw.finn.writer import Writer
from hw.host.errors import BitfabricError
from hw.ir.graph import Node
from hw.ir.stream import Stream, smallest_dtype
from hw.kernels.add.kernel import Add
from hw.kernels.requant.kernel import Requant


def _read(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    constant = next((name for name in node.input if name in r.constants), None)
    if constant is not None:
        _offset(r, node, a, constant)
        return
    streams = [
        Stream(stream_shape(a[f"{side}_shape"]), DataType[a[f"{side}_dtype"]], a.get("PE", 1))
        for side in ("lhs", "rhs")
    ]
    values = [r.integers(node, stream, index) for index, stream in enumerate(streams)]
    shape = values[0].stream.shape
    if any(value.stream.elements != values[0].stream.elements for value in values):
        raise BitfabricError(f"it adds {values[1].stream.shape} to {shape}; only tensors of equal shape are added")
    sign = -1 if node.op_type.startswith("ElementwiseSub") else 1
    numbers = input_ranges(node)
    ranges = ((numbers[0], numbers[1]), (numbers[2], numbers[3])) if numbers else None
    dtypes = values[0].stream.dtype, values[1].stream.dtype
    r.append(node, Add(shape, dtypes, (1, sign), a.get("PE", 1), ranges), *values)


def _offset(r: Reader, node: onnx.NodeProto, a: Attributes, constant: str) -> None:
    """The addition of a constant, one integer for the tensor or one for each channel, as a Requant."""
    index = 1 - list(node.input).index(constant)
    side = ("lhs", "rhs")[index]
    stream = Stream(stream_shape(a[f"{side}_shape"]), DataType[a[f"{side}_dtype"]], a.get("PE", 1))
    value = r.integers(node, stream, index)
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


def _write(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Add)
    w.require_sums(node)
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
    w.add_node(
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
        w.record_ranges(*kernel.input_ranges)
    w.edge(node.outputs[0], kernel.outputs()[0])


OPERATORS = FinnOperators(
    reads={
        "ElementwiseAdd": _read,
        "ElementwiseSub": _read,
    },
    writes={
        Add: _write,
    },
)
