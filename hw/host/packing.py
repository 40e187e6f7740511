"""Integer frames as octets on the link."""

from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from .errors import UsageError


@dataclass(frozen=True)
class Format:
    """The frames at one end of the accelerator: ``shape`` (without the batch), and the encoding of an element.

    An element has ``bits`` bits: unsigned, signed (two's complement), or bipolar (one bit, 0 for -1).
    """

    shape: tuple[int, ...]
    bits: int
    kind: Literal["unsigned", "signed", "bipolar"]

    @property
    def element_bits(self) -> int:
        """The number of bits of all elements of a frame."""
        return prod(self.shape) * self.bits

    @property
    def octets(self) -> int:
        """The number of octets of one frame."""
        return -(-self.element_bits // 8)

    @property
    def range(self) -> tuple[int, int]:
        """Minimum and maximum value of an element."""
        if self.kind == "bipolar":
            return -1, 1
        half = 1 << self.bits - 1
        return (-half, half - 1) if self.kind == "signed" else (0, 2 * half - 1)

    def pack(self, frames: np.ndarray) -> list[bytes]:
        """Pack integer frames ``(N, *shape)``: elements without gaps, the first in the lowest bits.

        Raises UsageError for another shape, and for numbers out of range.
        """
        rows = np.packbits(self.bit_planes(frames), axis=1, bitorder="little")
        return [row.tobytes() for row in rows]

    def bit_planes(self, frames: np.ndarray) -> np.ndarray:
        """The bits of frames ``(N, *shape)``, ``(N, element_bits)``: elements in order, the low bit of each first.

        Raises UsageError for another shape, and for numbers out of range.
        """
        if frames.shape[1:] != self.shape:
            raise UsageError(f"frames of shape {frames.shape[1:]} where the model takes {self.shape}")
        low, high = self.range
        whole = np.asarray(frames).astype(np.int64)
        if frames.dtype.kind not in "iu" or np.any((whole < low) | (whole > high)):
            raise UsageError(f"frames with numbers that are no integers from {low} to {high}")
        codes = (whole > 0).astype(np.int64) if self.kind == "bipolar" else whole
        planes = (codes.reshape(len(frames), -1, 1) >> np.arange(self.bits)) & 1
        return planes.astype(np.uint8).reshape(len(frames), -1)

    def unpack(self, payloads: list[bytes]) -> np.ndarray:
        """Unpack octets to integer frames ``(N, *shape)``, in the smallest integer type that holds their range."""
        data = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(payloads), self.octets)
        flat = np.unpackbits(data, axis=1, count=self.element_bits, bitorder="little")
        codes = flat.reshape(-1, self.bits).astype(np.int64) @ (1 << np.arange(self.bits, dtype=np.int64))
        if self.kind == "bipolar":
            codes = 2 * codes - 1
        elif self.kind == "signed":
            codes -= (codes >> self.bits - 1) << self.bits
        low, high = self.range
        types = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64)
        kind = next(each for each in types if np.iinfo(each).min <= low and high <= np.iinfo(each).max)
        return codes.astype(kind).reshape(len(payloads), *self.shape)
