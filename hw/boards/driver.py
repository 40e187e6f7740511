"""Runs integer frames on a board, real or virtual, that holds the image of a model."""

from collections.abc import Callable

import numpy as np

from hw.boards.protocol import Status
from hw.boards.session import Session, Transport
from hw.errors import BitfabricError
from hw.stream import Stream, decode, encode

TIMEOUT = 0.25
"""Seconds without an octet after which a frame is sent again."""


def octets(stream: Stream) -> int:
    """Octets of one frame on the link."""
    return -(-stream.elements * stream.dtype.bitwidth() // 8)


def pack(stream: Stream, frames: np.ndarray) -> list[bytes]:
    """Integer frames ``(N, *shape)`` to the link's octets: elements without gaps, the first in the low bits."""
    if frames.shape[1:] != stream.shape:
        raise BitfabricError(f"frames of shape {frames.shape[1:]} where the model takes {stream.shape}", 2)
    codes = encode(frames, stream.dtype).reshape(len(frames), -1, 1)
    planes = (codes >> np.arange(stream.dtype.bitwidth(), dtype=np.uint64)) & np.uint64(1)
    flat = planes.astype(np.uint8).reshape(len(frames), -1)
    return [row.tobytes() for row in np.packbits(flat, axis=1, bitorder="little")]


def unpack(stream: Stream, payloads: list[bytes]) -> np.ndarray:
    """The link's octets back to integer frames ``(N, *shape)``."""
    bits = stream.dtype.bitwidth()
    data = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(payloads), octets(stream))
    flat = np.unpackbits(data, axis=1, count=stream.elements * bits, bitorder="little")
    planes = flat.reshape(len(payloads), stream.elements, bits).astype(np.uint64)
    codes = (planes << np.arange(bits, dtype=np.uint64)).sum(axis=2, dtype=np.uint64)
    return decode(codes, stream.dtype).reshape(-1, *stream.shape)


class Driver:
    """A model on a board. ``transport`` is an open serial port or a ``VirtualBoard``.

    ``taken`` and ``given`` are the accelerator's input and output (lanes do not matter), ``model`` the hash that was
    built into the image. Creating one asks the image who it is: BitfabricError where it is another's.
    """

    def __init__(
        self, transport: Transport, taken: Stream, given: Stream, model: int, timeout: float = TIMEOUT, retries: int = 5
    ) -> None:
        self.taken, self.given = taken, given
        self.session = Session(transport, timeout, retries)
        self.identity = self.session.connect(model, octets(taken), octets(given))

    def run(self, frames: np.ndarray, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Integer frames ``(N, *shape)`` of the input to those of the output.

        Raises BitfabricError for a wrong shape, or where the board stops answering.
        """
        payloads = pack(self.taken, np.asarray(frames))
        results = self.session.run(payloads, octets(self.given), self.identity.slots, progress)
        return unpack(self.given, results)

    def status(self) -> Status:
        """The image's counters now."""
        return self.session.status()


def open_port(port: str, baud: int) -> Transport:
    """A real serial port. Raises BitfabricError with the ports that there are."""
    try:
        import serial
        from serial.tools.list_ports import comports
    except ImportError:
        raise BitfabricError("no pyserial: pip install pyserial") from None
    try:
        return serial.Serial(port, baud)
    except (OSError, ValueError) as error:
        known = ", ".join(p.device for p in comports()) or "none"
        raise BitfabricError(f"cannot open {port} at {baud} baud: {error}; serial ports here: {known}", 2) from None
