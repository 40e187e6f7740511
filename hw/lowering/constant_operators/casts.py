"""Casts of constants, and the types of numbers that NumPy has."""

import numpy as np
import onnx

from hw.host import operators
from hw.lowering.constant_operators.node import Array, ConstantNode
from hw.lowering.gate.tensors import type_name


def cast(call: ConstantNode) -> Array:
    """A constant in another type of ONNX's. Raises BitfabricError for types that NumPy lacks, and for values that an
    integer type cannot hold."""
    x, to = call[0], int(call.get("to", 0))
    name = cast_name(to)
    if name is None:
        raise call.refused(f"it casts a constant to the type {type_name(to)}", "use float32, float16 or double")
    if name == "bool":
        return x != 0
    dtype = np.dtype(name)
    if dtype.kind in "iu" and x.dtype.kind == "f":
        whole, info = np.trunc(x.astype(np.float64)), np.iinfo(dtype)
        if not np.all(np.isfinite(x)) or np.any(whole < info.min) or np.any(whole >= float(info.max) + 1):
            raise call.refused(f"it casts constants to {dtype} that do not fit it", "check the model")
    return operators.cast(x, to=name) if x.dtype.kind == "f" else x.astype(dtype)


def cast_name(to: int) -> str | None:
    """NumPy's name of an ONNX type of numbers; None for a type that NumPy lacks."""
    return _TYPES.get(to)


_TYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BOOL: "bool",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.UINT16: "uint16",
    onnx.TensorProto.UINT32: "uint32",
    onnx.TensorProto.UINT64: "uint64",
}
