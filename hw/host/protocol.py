"""The protocol of the host link, version 2, and its codec. In hardware: ``hw/boards/shell/bf_link.sv``.

Octets are sent over a UART, 8N1. A message is framed as in RFC 1662: a flag ``7E`` before and after it (one flag may
end a message and begin the next); in between, ``7E`` and ``7D`` are sent as ``7D`` and the octet exclusive-or ``20``.
``7D 7E`` aborts a message. A message is::

    type (1)   tag (2)   payload   CRC-32 (4)

Numbers are little-endian. The CRC (IEEE 802.3, ``zlib.crc32``) covers everything before it. The host chooses the tag;
the reply has the same tag.

=======  =========  ====================================================================================
type     direction  payload
=======  =========  ====================================================================================
``01``   to image   none: requests the status
``81``   to host    status: version (1), limit of frames in flight (1), hash of the model (8), octets of the
                    payload of ``02`` (4) and of ``82`` (4), clock in Hz (4), whether memories carry parity (1: 0 or 1);
                    counters since reset: frames (4), cycles from the first input beat to the last output beat of the
                    newest frame (4), cycles in which the accelerator did not accept an offered beat (4), messages
                    dropped (4); frames in flight (1); cycles in which words with a parity error were used (4), which
                    saturates, and is 0 without parity
``02``   to image   one input frame
``82``   to host    the output frame that belongs to it; of several outputs one frame of each, one after the other
=======  =========  ====================================================================================

The elements of a frame are packed without gaps, row-major, the first in the low bits of the first octet, encoded as in
``hw.ir.stream``; the last octet of each frame is padded with zeros. So the payload does not depend on the
accelerator's folding. A result with a frame of every output keeps a message the unit of what is lost and sent again.

The image drops and counts a message that is damaged, of unknown type or of wrong length, and a frame for which it has
no free slot; it sends no reply to those. The host sends a frame again if no reply arrives in time, which is safe
because a frame's result depends on that frame only. Results are in the order in which the frames were accepted.

Version 1 had no parity fields. A driver works only with images of its own version.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import ClassVar

VERSION = 2
MAX_SLOTS = 8
"""Most frames that an image has in flight."""
FLAG, ESCAPE, TOGGLE = 0x7E, 0x7D, 0x20
STATUS, FRAME, REPLY = 0x01, 0x02, 0x80
_OVERHEAD = 7
"""Octets of a message's type, tag and CRC."""
MESSAGE_OCTETS = 2 + _OVERHEAD
"""Octets of a message without payload, its flags included."""
ESCAPED = 2 / 256
"""Share of octets that are sent as two, where all values are equally frequent."""
_STATUS = struct.Struct("<BBQIIIBIIIIBI")


@dataclass(frozen=True)
class Message:
    """A message without its CRC."""

    type: int
    tag: int
    payload: bytes = b""


@dataclass(frozen=True)
class Status:
    """The status of an image, in the order of the payload."""

    OCTETS: ClassVar[int] = _STATUS.size

    version: int
    slots: int
    model: int
    in_octets: int
    out_octets: int
    clock_hz: int
    parity: int
    frames: int
    cycles: int
    stalls: int
    errors: int
    pending: int
    parity_errors: int

    @classmethod
    def parse(cls, payload: bytes) -> "Status":
        """Parse the payload of a status reply. Raises ValueError for another length."""
        if len(payload) != _STATUS.size:
            raise ValueError(f"a status of {len(payload)} octets, not {_STATUS.size}")
        return cls(*_STATUS.unpack(payload))

    def to_bytes(self) -> bytes:
        """The payload of a status reply."""
        return _STATUS.pack(*astuple(self))

    @property
    def counters(self) -> dict[str, int]:
        """The counters since reset by name; ``parity_errors`` only where memories carry parity."""
        names = ("cycles", "frames", "stalls", "errors", *(("parity_errors",) if self.parity else ()))
        return {name: vars(self)[name] for name in names}


def encode(message: Message) -> bytes:
    """A message as octets on the line, including its flags."""
    content = struct.pack("<BH", message.type, message.tag) + message.payload
    content += struct.pack("<I", zlib.crc32(content))
    stuffed = content.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e")
    return b"\x7e" + stuffed + b"\x7e"


def line_octets(payload: int) -> float:
    """The mean number of octets on the line of a message with ``payload`` octets, its flags and escapes included.

    All values of an octet are taken to be equally frequent; the number is at most twice the content.
    """
    return 2 + (_OVERHEAD + payload) * (1 + ESCAPED)


class Decoder:
    """Finds complete messages in a stream of octets; everything else is dropped and counted in ``dropped``.

    A message whose payload has more than ``max_payload`` octets is dropped too, so the memory that a decoder uses is
    limited, whatever it is fed.
    """

    def __init__(self, max_payload: int) -> None:
        self.max_payload = max_payload
        self.dropped = 0
        self._content = bytearray()
        self._escaped = False
        self._damaged = False

    def feed(self, octets: bytes) -> Iterator[Message]:
        """The messages that end within ``octets``."""
        for octet in octets:
            if octet == FLAG:
                message = self._end()
                if message is not None:
                    yield message
            elif octet == ESCAPE:
                self._damaged |= self._escaped
                self._escaped = True
            else:
                if len(self._content) < self.max_payload + _OVERHEAD:
                    self._content.append(octet ^ TOGGLE if self._escaped else octet)
                else:
                    self._damaged = True
                self._escaped = False

    def _end(self) -> Message | None:
        content, whole = bytes(self._content), not (self._damaged or self._escaped)
        some = bool(content) or not whole
        self._content.clear()
        self._escaped = self._damaged = False
        if whole and len(content) >= _OVERHEAD and zlib.crc32(content[:-4]) == int.from_bytes(content[-4:], "little"):
            return Message(content[0], int.from_bytes(content[1:3], "little"), content[3:-4])
        self.dropped += some
        return None
