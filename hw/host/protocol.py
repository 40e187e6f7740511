"""The protocol of the host link, version 3, and its codec. In hardware: ``hw/boards/shell/bf_link.sv``.

The link carries octets, whatever its transport (``hw.boards.transports``). A message is framed as in RFC 1662: a flag
``7E`` before and after it (one flag may end a message and begin the next); in between, ``7E`` and ``7D`` are sent as
``7D`` and the octet exclusive-or ``20``. ``7D 7E`` aborts a message. Over SPI the image escapes ``7F`` as well, and
sends it where it has nothing to send; the host drops it. A message is::

    type (1)   tag (2)   payload   CRC-32 (4)

Numbers are little-endian. The CRC (IEEE 802.3, ``zlib.crc32``) covers everything before it. The host chooses the tag;
the reply has the same tag.

=======  =========  ====================================================================================
type     direction  payload
=======  =========  ====================================================================================
``01``   to image   none: requests the status
``81``   to host    status: version (1), limit of frames in flight (1), hash of the model (8), octets of the
                    payload of ``02`` (4) and of ``82`` (4), clock in Hz (4), whether memories carry parity (1: 0 or 1),
                    number of inputs (1) and outputs (1), frames of each input that can be replayed (2: 0 without
                    benchmark); counters since reset: frames (4), cycles from the first input beat to the last output
                    beat of the newest frame (4), cycles in which the accelerator did not accept an offered beat (4),
                    messages dropped (4); frames in flight (1; 255: a replay is under way); cycles in which words with a
                    parity error were used (4), which saturates, and is 0 without parity
``02``   to image   one frame of every input
``82``   to host    the frame of every output that belongs to it
``04``   to image   number of frames (4): replays as many of the last frames that can be replayed, the oldest first,
                    over and over; 0, or while frames are in flight: requests the state only
``84``   to host    state of the benchmark: a replay is under way (1: 0 or 1), replays started since reset (1, modulo
                    256), frames that have not left the first output (4), cycles from the first input beat to the last
                    output beat of the replay (6); for each output in turn the signatures (4 each) of all frames, one
                    for each 32 bits of a beat: the CRC of these bits of every beat, as octets, the low one first
=======  =========  ====================================================================================

Frames of several inputs, or of several outputs, are one after the other, and the number of its port (1) is before each:
0, 1, ... A message holds a frame of every port, so that it is the unit of what is lost and sent again. The elements of
a frame are packed without gaps, row-major, the first in the low bits of the first octet, encoded as in
``hw.ir.stream``; the last octet of each frame is padded with zeros. So the payload does not depend on the
accelerator's folding.

The image drops and counts a message that is damaged, of unknown type, of wrong length or with other numbers of ports,
and frames for which it has no free slot; it sends no reply to those. The host sends a frame again if no reply arrives
in time, which is safe because a frame's result depends on that frame only. Results are in the order in which the frames
were accepted.

Version 1 had no parity fields, version 2 no numbers of ports and no benchmark. A driver works only with images of its
own version.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import ClassVar

VERSION = 3
MAX_SLOTS = 8
"""Most frames that an image has in flight."""
BENCHMARK_FRAMES = 2, 65_535
"""The least and the most frames of a benchmark's memory."""
FLAG, ESCAPE, TOGGLE = 0x7E, 0x7D, 0x20
STATUS, FRAME, REPLAY, REPLY = 0x01, 0x02, 0x04, 0x80
_OVERHEAD = 7
"""Octets of a message's type, tag and CRC."""
MESSAGE_OCTETS = 2 + _OVERHEAD
"""Octets of a message without payload, its flags included."""
ESCAPED = 2 / 256
"""Share of octets that are sent as two, where all values are equally frequent."""
REPLAYING = 255
"""Frames in flight of an image that replays."""
FILL = 0x7F
"""The octet that an image sends over SPI where it has nothing to send; it escapes it in messages."""
_STATUS = struct.Struct("<BBQIIIBBBHIIIIBI")
_REPLAY = struct.Struct("<BBIIH")


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
    inputs: int
    outputs: int
    benchmark: int
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


@dataclass(frozen=True)
class ReplayState:
    """The state of an image's benchmark: ``running``, replays ``started`` (modulo 256), frames ``left``, ``cycles``,
    and the ``signatures`` of every 32 bits of the outputs' beats."""

    running: bool
    started: int
    left: int
    cycles: int
    signatures: tuple[int, ...]

    @classmethod
    def parse(cls, payload: bytes) -> "ReplayState":
        """Parse the payload of a benchmark's state. Raises ValueError for another length."""
        words, rest = divmod(len(payload) - _REPLAY.size, 4)
        if words < 1 or rest:
            raise ValueError(f"a state of {len(payload)} octets")
        running, started, left, low, high = _REPLAY.unpack_from(payload)
        signatures = struct.unpack_from(f"<{words}I", payload, _REPLAY.size)
        return cls(bool(running), started, left, low | high << 32, signatures)

    @staticmethod
    def octets(words: int) -> int:
        """The octets of a payload with so many signatures."""
        return _REPLAY.size + 4 * words


def joined(frames: Sequence[bytes]) -> bytes:
    """The payload of a frame of every port."""
    if len(frames) == 1:
        return frames[0]
    return b"".join(bytes([port]) + octets for port, octets in enumerate(frames))


def joined_octets(sizes: Sequence[int]) -> int:
    """The octets of a payload of frames of these ``sizes``."""
    return sum(sizes) + (len(sizes) if len(sizes) > 1 else 0)


def parted(payload: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The frames of every port in a payload, which have these ``sizes``. Raises ValueError for other ports."""
    if len(sizes) == 1:
        return [payload]
    frames, start = [], 0
    for port, size in enumerate(sizes):
        if payload[start : start + 1] != bytes([port]):
            raise ValueError(f"no frame of port {port} at octet {start}")
        frames.append(payload[start + 1 : start + 1 + size])
        start += 1 + size
    return frames


def encode(message: Message) -> bytes:
    """A message as octets on the line, including its flags."""
    content = struct.pack("<BH", message.type, message.tag) + message.payload
    content += struct.pack("<I", zlib.crc32(content))
    stuffed = content.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e")
    return b"\x7e" + stuffed + b"\x7e"


def line_octets(payload: int, escaped: float = ESCAPED) -> float:
    """The mean number of octets on the line of a message with ``payload`` octets, its flags and escapes included.

    All values of an octet are taken to be equally frequent; the number is at most twice the content.
    """
    return 2 + (_OVERHEAD + payload) * (1 + escaped)


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
