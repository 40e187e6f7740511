"""The benchmark of an image: what a replay of frames inside of it must give, and what it gave."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .packing import Format


@dataclass(frozen=True)
class Replayed:
    """A replay inside an image, whose outputs had the right signatures.

    Attributes:
        frames: frames that were computed.
        distinct: different places in the image's memory that they came from; they were replayed in turn.
        cycles: cycles from the first beat of the first frame to the last beat of the last result.
        clock_hz: the clock of the image, as it states it.
        checksum: CRC-32 of the signatures of all outputs.
    """

    frames: int
    distinct: int
    cycles: int
    clock_hz: int
    checksum: int

    @property
    def fps(self) -> float:
        """Frames per second at the clock of the image."""
        return self.frames * self.clock_hz / self.cycles


def words(formats: Sequence[Format], beats: Sequence[int]) -> list[int]:
    """The number of 32-bit words of a beat of each output, whose frame has so many ``beats``."""
    return [-(-each.element_bits // count // 32) for each, count in zip(formats, beats, strict=True)]


def checksum(signatures: Sequence[int]) -> int:
    """The CRC-32 of signatures."""
    return zlib.crc32(np.array(signatures, "<u4").tobytes())


def signatures(form: Format, frames: np.ndarray, beats: int, count: int) -> list[int]:
    """The signatures of ``count`` frames at an output: ``frames`` ``(N, *shape)`` over and over.

    A frame is sent in ``beats`` beats. There is a signature for each 32 bits of a beat: the CRC-32 of these bits of
    every beat, as octets, the low one first; bits that a beat lacks are 0.
    """
    width = form.element_bits // beats
    bits = form.bit_planes(frames).reshape(len(frames) * beats, width)
    padded = np.zeros((len(bits), -(-width // 32) * 32), np.uint8)
    padded[:, :width] = bits
    octets = np.packbits(padded, axis=1, bitorder="little").reshape(len(bits), -1, 4)
    times, rest = divmod(count, len(frames))
    found = []
    for word in range(octets.shape[1]):
        column = np.ascontiguousarray(octets[:, word])
        state = repeated(column.tobytes(), times)
        found.append(zlib.crc32(column[: rest * beats].tobytes(), state))
    return found


def repeated(block: bytes, times: int) -> int:
    """``zlib.crc32(block * times)``, in a time that grows with the logarithm of ``times``.

    The CRC after a block is an affine function of the one before it, over the field of two elements; the function of
    twice as many blocks is that function of itself.
    """
    offset = zlib.crc32(block)
    columns = [zlib.crc32(block, 1 << bit) ^ offset for bit in range(32)]

    def applied(to: int) -> int:
        result = offset
        for bit in range(32):
            if to >> bit & 1:
                result ^= columns[bit]
        return result

    state = 0
    while times:
        if times & 1:
            state = applied(state)
        twice = [applied(applied(1 << bit)) for bit in range(32)]
        offset = applied(offset)
        columns = [each ^ offset for each in twice]
        times >>= 1
    return state
