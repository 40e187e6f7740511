"""Arrays by name in one file of the safetensors format (https://github.com/huggingface/safetensors).

The format: the size of a header as 64-bit integer, the header in JSON (data type, shape and place of each array by
name), and the arrays, little-endian. Reading executes nothing and needs no more memory than the file has bytes.
"""

import json
import math
import struct
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

TYPES = MappingProxyType({
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
})  # fmt: skip
"""Data types of the format -> NumPy's."""
NAMES = MappingProxyType({np.dtype(code): name for name, code in TYPES.items()})
INTEGERS = tuple(np.dtype(TYPES[name]) for name in ("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"))
"""Integer types, the narrower ones first."""


def stored_as(dtype: np.dtype) -> np.dtype | None:
    """The type, little-endian, in which an array of ``dtype`` is stored; None where the format has none."""
    found = dtype.newbyteorder("<")
    return found if found in NAMES else None


def narrowed(value: np.ndarray) -> np.ndarray:
    """Integers in the narrowest type that holds them; other arrays of a type of the format little-endian."""
    if value.dtype.kind not in "iu" or not value.size:
        return value.astype(value.dtype.newbyteorder("<"))
    low, high = int(value.min()), int(value.max())
    return value.astype(next(each for each in INTEGERS if np.iinfo(each).min <= low and high <= np.iinfo(each).max))


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays of the types in ``NAMES`` as the bytes of a file."""
    header, data = {}, bytearray()
    for name, value in arrays.items():
        begin = len(data)
        data += value.tobytes()
        header[name] = {"dtype": NAMES[value.dtype], "shape": list(value.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8
    return struct.pack("<Q", len(text)) + text + bytes(data)


def unpack(content: bytes) -> dict[str, np.ndarray]:
    """The arrays in the bytes of a file, read-only. Raises ValueError for a damaged one."""
    try:
        (size,) = struct.unpack_from("<Q", content)
        if size > len(content) - 8:
            raise ValueError("its header is cut off")
        data = memoryview(content)[8 + size :]
        return {name: _array(name, each, data) for name, each in json.loads(content[8 : 8 + size]).items()}
    except (struct.error, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _array(name: str, described: dict, data: memoryview) -> np.ndarray:
    dtype, shape, (begin, end) = np.dtype(TYPES[described["dtype"]]), described["shape"], described["data_offsets"]
    if not 0 <= begin <= end <= len(data) or math.prod(shape) * dtype.itemsize != end - begin:
        raise ValueError(f"array {name} is not where its header says")
    return np.frombuffer(data[begin:end], dtype).reshape(shape)
