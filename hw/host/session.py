"""The host's end of the link: sends frames and collects results, with a window, timeouts and retries."""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from .errors import BitfabricError
from .protocol import (
    FRAME,
    MAX_SLOTS,
    REPLAY,
    REPLAYING,
    REPLY,
    STATUS,
    VERSION,
    Decoder,
    Message,
    ReplayState,
    Status,
    encode,
)

SLOWEST_LINE = 11_520
"""Octets per second of the slowest line, 115,200 baud."""
_LEAST = 9
"""Octets of a message without payload, including its flags."""
_NEWER = 64
"""Octets that a status of a later version may have more."""
_CHUNK = 1024
"""Octets of a write. The time limit of a port's writes is that of a chunk, so it does not depend on the frame."""


class Transport(Protocol):
    """The part of pyserial's ``Serial`` that a session uses.

    ``read`` returns fewer octets once ``timeout`` seconds have passed. An OSError means that the port is gone. A
    transport whose time is not that of this machine, as a simulation's, has a method ``clock`` that returns it in
    seconds.
    """

    timeout: float | None

    def read(self, size: int = 1, /) -> bytes: ...

    def write(self, data: bytes, /) -> int | None: ...

    def close(self) -> None: ...


class Session:
    """Runs frames on an image; every frame has exactly one result, and results are in the order of frames.

    A request without a reply is sent again, up to ``retries`` times in a row before BitfabricError. An attempt ends
    when the line is silent for ``timeout`` seconds; and, silent or not, when it has taken that time and the time of
    its messages on the slowest line. So every call fails within ``limit`` of its last result, whatever arrives. A
    result counts only if its message is complete and belongs to a frame without a result. ``resent`` counts the frames
    sent again.
    """

    def __init__(self, transport: Transport, timeout: float, retries: int = 5) -> None:
        self.transport = transport
        self.timeout = transport.timeout = timeout
        self.retries = retries
        self.resent = 0
        self._clock: Callable[[], float] = getattr(transport, "clock", time.monotonic)
        self._decoder = Decoder(Status.OCTETS + _NEWER)
        # Start at random, so that a late reply to an earlier session does not match.
        self._tag = int.from_bytes(os.urandom(2), "little")
        self._short = 0

    def limit(self, octets: int) -> float:
        """Seconds without a result after which a call fails that has messages with so many ``octets`` in flight."""
        # The last read of an attempt may begin just before the attempt's end.
        return (self.retries + 1) * (self._span(octets) + self.timeout)

    def connect(self, model: int, in_octets: int, out_octets: int) -> Status:
        """Check that the image belongs to ``model`` and is idle, and return its status. Call this before ``run``.

        Raises BitfabricError if nothing answers, if the image belongs to another model, or if it stays busy.
        """
        for _ in range(self.retries + 1):
            # Results of an earlier session may come first.
            status = self._status(MAX_SLOTS * (_LEAST + out_octets))
            if status.model != model:
                raise BitfabricError(
                    f"the board holds another image (model {status.model:016x}, not {model:016x}); program it again"
                )
            if (status.in_octets, status.out_octets) != (in_octets, out_octets):
                raise BitfabricError("the image has frames of another size; build and program it again")
            if not status.pending:
                return status
            self._receive(self._read(1 << 16))
        if status.pending == REPLAYING:
            raise BitfabricError("the image is still at an earlier benchmark; wait for its end, or reset the board")
        raise BitfabricError("the image does not finish its frames; reset the board")

    def status(self) -> Status:
        """Read the image's status. Raises BitfabricError if nothing answers."""
        return self._status(0)

    def start_replay(self, count: int) -> None:
        """Ask for a replay of ``count`` frames. ``replay_state`` says whether it was started."""
        self._write(Message(REPLAY, self._next_tag(), count.to_bytes(4, "little")))

    def replay_state(self, words: int) -> ReplayState:
        """The state of the image's benchmark, which has ``words`` signatures. Raises BitfabricError if nothing
        answers."""
        octets = ReplayState.octets(words)
        return ReplayState.parse(self._ask(REPLAY, bytes(4), octets, octets + _LEAST))

    def now(self) -> float:
        """The transport's time in seconds."""
        return self._clock()

    def pause(self) -> None:
        """Let ``timeout`` seconds of the transport's time pass; what arrives is dropped."""
        end = self._clock() + self.timeout
        while self._read(1 << 12) and self._clock() < end:
            pass

    def _status(self, before: int) -> Status:
        """The image's status. Raises BitfabricError for another version of the protocol."""
        payload = self._ask(STATUS, b"", Status.OCTETS, before)
        version = payload[0] if payload else 0
        if version > VERSION:
            raise BitfabricError(
                f"the image speaks version {version} of the link, this driver {VERSION}; use the driver of its build"
            )
        if version != VERSION or len(payload) != Status.OCTETS:
            raise BitfabricError(f"the image speaks version {version} of the link, not {VERSION}; build again")
        return Status.parse(payload)

    def _ask(self, kind: int, payload: bytes, octets: int, before: int) -> bytes:
        """The payload, of ``octets``, of the reply to a request; results of ``before`` octets may come before it.

        A status may have another length.
        """
        self._decoder.max_payload = max(self._decoder.max_payload, octets + _NEWER)
        heard = False
        for _ in range(self.retries + 1):
            tag = self._next_tag()
            self._write(Message(kind, tag, payload))
            end = self._clock() + self._span(before + 2 * _LEAST + len(payload) + octets)
            # Read only as much as a reply has: a longer read would wait for its timeout.
            while (messages := self._receive(self._read(self._rest(octets)))) is not None:
                heard = True
                for message in messages:
                    right = kind == STATUS or len(message.payload) == octets
                    if message.type == kind | REPLY and message.tag == tag and right:
                        return message.payload
                if self._clock() >= end:
                    break
        if heard:
            raise BitfabricError(
                "the port sends octets, but no answer: is it another device or another program's port, is the baud "
                "rate right, and is the board programmed?"
            )
        raise BitfabricError("no answer from the board: is it programmed, and are port and baud rate right?")

    def run(
        self,
        frames: Sequence[bytes],
        out_octets: int,
        slots: int = 1,
        progress: Callable[[int, int], None] | None = None,
        valid: Callable[[bytes], bool] = lambda payload: True,
    ) -> list[bytes]:
        """The output frames (``out_octets`` each) of the input ``frames``; up to ``slots`` frames are in flight.

        A result of which ``valid`` is False is none. ``progress`` is called with the number of results so far and
        of all frames. Raises BitfabricError if the board stops answering: no result arrives for ``limit`` seconds.
        """
        self._decoder.max_payload = max(out_octets, Status.OCTETS + _NEWER)
        span = self._span(min(slots, len(frames)) * (2 * _LEAST + max(map(len, frames), default=0) + out_octets))
        results: dict[int, bytes] = {}
        waiting: dict[int, int] = {}  # tag to index
        todo = deque(range(len(frames)))
        attempts, heard = 0, False
        end = self._clock() + span
        while len(results) < len(frames):
            while todo and len(waiting) < slots:
                tag = self._next_tag()
                waiting[tag] = todo.popleft()
                self._write(Message(FRAME, tag, frames[waiting[tag]]))
            messages = self._receive(self._read(self._rest(out_octets)))
            before = len(results)
            for message in messages or ():
                right = len(message.payload) == out_octets and valid(message.payload)
                if message.type == FRAME | REPLY and message.tag in waiting and right:
                    results[waiting.pop(message.tag)] = message.payload
                    if progress:
                        progress(len(results), len(frames))
            heard |= messages is not None
            if len(results) > before:
                attempts, heard = 0, False
                end = self._clock() + span
            elif messages is None or self._clock() >= end:
                attempts += 1
                if attempts > self.retries:
                    noise = "; what arrives are no results: is another program on the port, or the line bad?" * heard
                    done = f"after {len(results)} of {len(frames)} frames"
                    raise BitfabricError(f"the board stopped answering {done}{noise}")
                self.resent += len(waiting)
                for tag, index in waiting.items():
                    self._write(Message(FRAME, tag, frames[index]))
                end = self._clock() + span
        return [results[index] for index in range(len(frames))]

    def _span(self, octets: int) -> float:
        """Seconds that an attempt may take while octets arrive. On the line every octet may be escaped."""
        return self.timeout + 2 * octets / SLOWEST_LINE

    def _write(self, message: Message) -> None:
        octets = encode(message)
        try:
            for start in range(0, len(octets), _CHUNK):
                self.transport.write(octets[start : start + _CHUNK])
        except OSError as error:
            raise BitfabricError(f"the port is gone ({error}); is the cable in?") from None

    def _read(self, size: int) -> bytes:
        try:
            return self.transport.read(size)
        except OSError as error:
            raise BitfabricError(f"the port is gone ({error}); is the cable in?") from None

    def _rest(self, payload: int) -> int:
        """The octets that a message with this payload lacks at least, given those received so far.

        After twice as many without a message, what was received is no part of one.
        """
        if self._short > 2 * (_LEAST + payload):
            self._short = 0
        return max(1, _LEAST + payload - self._short)

    def _next_tag(self) -> int:
        self._tag = (self._tag + 1) & 0xFFFF
        return self._tag

    def _receive(self, octets: bytes) -> list[Message] | None:
        """The messages that ``octets`` complete; None if there are no octets."""
        if not octets:
            self._short = 0
            return None
        messages = list(self._decoder.feed(octets))
        self._short = 0 if messages else self._short + len(octets)
        return messages
