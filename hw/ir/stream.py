"""Streams: the data format of an edge of the dataflow graph, and the encoding of its integers.

A frame is a tensor in NHWC order without the batch. Its elements are sent row-major in beats of ``lanes`` elements: a
part of the last axis, or the whole last axis for a part of the axis before, and so on. Lane 0 is in the low bits of a
beat. BIPOLAR is one bit (0 for -1), signed integers are two's complement, unsigned integers are plain binary.
"""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.host.errors import BitfabricError


def smallest_dtype(low: int, high: int) -> BaseDataType:
    """The narrowest UINT (if ``low`` >= 0) or INT data type that holds every integer in ``low..high``.

    >>> smallest_dtype(0, 100).name, smallest_dtype(-1, 100).name
    ('UINT7', 'INT8')
    """
    if low > high:
        raise ValueError(f"empty range {low}..{high}")
    if low >= 0:
        return DataType[f"UINT{max(1, int(high).bit_length())}"]
    bits = 1 + max(int(max(high, 0)).bit_length(), int(-low - 1).bit_length())
    return DataType[f"INT{max(2, bits)}"]


def container(dtype: BaseDataType) -> np.dtype:
    """The smallest NumPy integer type that holds ``dtype``'s values."""
    low, high = int(dtype.min()), int(dtype.max())
    for candidate in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64):
        info = np.iinfo(candidate)
        if info.min <= low and high <= info.max:
            return np.dtype(candidate)
    raise BitfabricError(f"{dtype.name} does not fit 64-bit integers; use fewer bits or fewer inputs in that layer")


def encode(values: np.ndarray, dtype: BaseDataType) -> np.ndarray:
    """Integer values to their bit codes (uint64, ``dtype.bitwidth()`` low bits)."""
    values = np.asarray(values).astype(np.int64)
    if dtype == DataType["BIPOLAR"]:
        return (values > 0).astype(np.uint64)
    return values.view(np.uint64) & np.uint64((1 << dtype.bitwidth()) - 1)


def decode(codes: np.ndarray, dtype: BaseDataType) -> np.ndarray:
    """Bit codes back to integer values, in ``container(dtype)``."""
    codes = np.asarray(codes, dtype=np.uint64)
    if dtype == DataType["BIPOLAR"]:
        return (codes.astype(np.int8) * 2 - 1).astype(np.int8)
    if not dtype.signed():
        return codes.astype(container(dtype))
    spare = np.uint64(64 - dtype.bitwidth())
    return ((codes << spare).view(np.int64) >> spare.astype(np.int64)).astype(container(dtype))


def divides(lanes: int, shape: tuple[int, ...]) -> bool:
    """Whether beats of ``lanes`` elements are equal parts of one axis of ``shape``, with all of the axes after it."""
    for size in reversed(shape):
        if lanes <= size:
            return lanes > 0 and size % lanes == 0
        if lanes % size:
            return False
        lanes //= size
    return False


@dataclass(frozen=True)
class Stream:
    """Shape (NHWC, no batch), data type and lanes (elements per beat) of one edge.

    Raises ValueError for sizes below 1, lanes that do not divide the shape, and types that are not integers.
    """

    shape: tuple[int, ...]
    dtype: BaseDataType
    lanes: int = 1

    def __post_init__(self) -> None:
        if not self.shape or any(size < 1 for size in self.shape):
            raise ValueError(f"stream shape {self.shape} must have only positive sizes")
        if not divides(self.lanes, self.shape):
            raise ValueError(f"{self.lanes} lanes do not divide the channels of {self.shape}, or its rows of them")
        if not self.dtype.is_integer():
            raise ValueError(f"streams carry integers, not {self.dtype.name}")

    @property
    def elements(self) -> int:
        """Elements per frame."""
        return prod(self.shape)

    @property
    def beats(self) -> int:
        """Beats per frame."""
        return self.elements // self.lanes

    @property
    def width(self) -> int:
        """Bits per beat."""
        return self.lanes * self.dtype.bitwidth()

    def with_lanes(self, lanes: int) -> "Stream":
        """The same stream with other lanes. Raises ValueError for lanes that do not divide the shape."""
        return replace(self, lanes=lanes)

    def pack(self, frames: np.ndarray) -> np.ndarray:
        """Frames ``(N, *shape)`` to beats ``(N * beats, words)`` of 32-bit words, the low word first.

        Raises ValueError for frames of another shape.
        """
        frames = np.asarray(frames)
        if frames.shape[1:] != self.shape:
            raise ValueError(f"frames of shape {frames.shape[1:]} on a stream of shape {self.shape}")
        bits = self.dtype.bitwidth()
        codes = encode(frames, self.dtype).reshape(-1, self.lanes)
        planes = (codes[:, :, None] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)
        flat = planes.astype(np.uint8).reshape(len(codes), self.lanes * bits)
        flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 32)))
        return np.packbits(flat, axis=1, bitorder="little").view("<u4")

    def unpack(self, beats: np.ndarray) -> np.ndarray:
        """The inverse of ``pack``: beats ``(N * beats, words)`` to frames ``(N, *shape)``."""
        bits = self.dtype.bitwidth()
        flat = np.unpackbits(np.ascontiguousarray(beats, dtype="<u4").view(np.uint8), axis=1, bitorder="little")
        planes = flat[:, : self.lanes * bits].reshape(-1, self.lanes, bits).astype(np.uint64)
        codes = (planes << np.arange(bits, dtype=np.uint64)).sum(axis=2, dtype=np.uint64)
        return decode(codes, self.dtype).reshape(-1, *self.shape)


def code_bits(codes: np.ndarray, width: int) -> np.ndarray:
    """The ``width`` low bits of integers, the lowest first, on an axis behind the others (uint8)."""
    codes = codes.astype(np.uint8 if width <= 8 else np.uint64)
    return ((codes[..., None] >> np.arange(width, dtype=codes.dtype)) & codes.dtype.type(1)).astype(np.uint8)
