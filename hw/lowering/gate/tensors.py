"""The tensors of a model: element types, annotations, and the decoding of constants."""

import re
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from qonnx.core.datatype import DataType

from hw.host.errors import UsageError
from hw.lowering.gate.boundary import one_line
from hw.lowering.gate.limits import MAX_BITS, MAX_DIMENSION, MAX_ELEMENTS, MAX_RANK
from hw.lowering.gate.names import printable

TYPES: dict[int, str] = {
    TensorProto.FLOAT: "float",
    TensorProto.DOUBLE: "double",
    TensorProto.FLOAT16: "float16",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.UINT8: "uint8",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
    TensorProto.BOOL: "bool",
    TensorProto.INT4: "int4",
    TensorProto.UINT4: "uint4",
}
"""The element types that are read -> ONNX's names of them."""

PAIRED = frozenset({TensorProto.INT4, TensorProto.UINT4})
"""Types of which a byte holds two elements."""
FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16})
ROUNDING = 1e-3
"""Difference from an integer that an annotated constant may have."""
PACKED: dict[int, str] = {
    **dict.fromkeys(
        (
            TensorProto.INT32, TensorProto.INT16, TensorProto.INT8, TensorProto.UINT16, TensorProto.UINT8,
            TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.INT4, TensorProto.UINT4,
        ),
        "int32_data",
    ),
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}  # fmt: skip
"""Element type -> the field of a constant that holds its elements, where its bytes are not given."""
WIDEST = 64
"""Bits of an annotated type; QONNX has no NumPy type for more."""
INTEGER = re.compile(r"U?INT([1-9][0-9]{0,3})")
OTHERS = re.compile(
    r"FLOAT32|FLOAT16|BINARY|BIPOLAR|TERNARY|(?:FIXED|FLOAT|SCALEDINT)<[0-9]{1,4}(?:, ?[0-9]{1,4}){0,2}>"
)
"""QONNX's other data types, which are not integers of a number of bits."""


def type_name(elem_type: int) -> str:
    """ONNX's name of an element type."""
    known = elem_type in TensorProto.DataType.values()
    return TensorProto.DataType.Name(elem_type).lower() if known else f"number {elem_type}"


def check_type(elem_type: int, what: str) -> None:
    """Raise UsageError for an element type that is not read: bfloat16, float8, complex, string, ..."""
    if elem_type not in TYPES:
        raise UsageError(f"{what} is of type {type_name(elem_type)}; export the model in float32")


def elem_type_of(value: onnx.ValueInfoProto) -> int:
    """The element type of an input or output. Raises UsageError for a sequence, a map, or no type."""
    if not value.type.HasField("tensor_type"):
        raise UsageError(f"{value.name} is no tensor; export the model with tensors only")
    return int(value.type.tensor_type.elem_type)


def check_port(elem_type: int, what: str) -> None:
    """Raise UsageError for the type of an input or output that frames cannot have: NumPy has no integers of 4 bits."""
    if elem_type in PAIRED:
        wide = type_name(elem_type).replace("4", "8")
        raise UsageError(f"{what} is of type {type_name(elem_type)}; make it {wide}, or end in DequantizeLinear")


def check_shape(shape: tuple[int, ...], what: str) -> None:
    """Raise UsageError for a shape of too many axes or elements."""
    if len(shape) > MAX_RANK:
        raise UsageError(f"{what} has {len(shape)} axes; tensors of up to {MAX_RANK} are read")
    if any(not 0 <= size <= MAX_DIMENSION for size in shape) or prod(shape) > MAX_ELEMENTS:
        raise UsageError(f"{what} has the shape {shape}; tensors of up to {MAX_ELEMENTS:,} elements are read")


@dataclass(frozen=True, eq=False)
class Constant:
    """An initializer, decoded when it is needed. Raises UsageError for a type or contents that cannot be read."""

    proto: TensorProto
    what: str

    @cached_property
    def shape(self) -> tuple[int, ...]:
        shape = tuple(self.proto.dims)
        check_type(self.proto.data_type, self.what)
        check_shape(shape, self.what)
        return shape

    @cached_property
    def value(self) -> np.ndarray:
        if self.proto.data_location == TensorProto.EXTERNAL:
            raise UsageError(f"{self.what} has its values in a second file; load them with onnx.load first")
        count, data_type = prod(self.shape), self.proto.data_type
        stored = -(-count // 2) if data_type in PAIRED else count
        if self.proto.HasField("raw_data"):
            have = len(self.proto.raw_data) / onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize
        else:
            have = len(getattr(self.proto, PACKED[data_type]))
        if have != stored:
            held = 2 * have if data_type in PAIRED else have
            raise UsageError(f"{self.what} holds {held:g} elements, but its shape {self.shape} has {count}")
        try:
            return numpy_helper.to_array(self.proto)
        except (ValueError, TypeError, OverflowError) as error:
            raise UsageError(f"{self.what} cannot be read ({one_line(error)}); export the model again") from None


def check_annotation(dtype: str | bytes, what: str) -> None:
    """Raise UsageError for the name of a data type that QONNX does not have."""
    text = dtype if isinstance(dtype, str) else ""
    integer = INTEGER.fullmatch(text)
    if integer is not None and int(integer[1]) > WIDEST:
        raise UsageError(f"{what} is annotated as {text}; types have up to {WIDEST} bits, streams up to {MAX_BITS}")
    if integer is None and OTHERS.fullmatch(text) is None:
        raise UsageError(
            f"{what} is annotated as {printable(dtype)}, which is no data type of QONNX's (INT4, UINT8, BIPOLAR, ...)"
        )
    try:
        DataType[text]
    except (KeyError, ValueError, AssertionError):
        raise UsageError(f"{what} is annotated as {text}, which is no data type of QONNX's") from None


def check_annotated(value: np.ndarray, dtype: str, what: str) -> None:
    """Raise UsageError for a constant that is annotated as integers and holds others."""
    kind = DataType[dtype]
    if not kind.is_integer() or value.dtype.kind not in "iuf":
        return
    whole = np.round(value)
    if not np.all(kind.allowed(whole)) or np.any(np.abs(whole - value) > ROUNDING):
        raise UsageError(f"{what} is annotated as {dtype}, but holds other values; export the model again")
