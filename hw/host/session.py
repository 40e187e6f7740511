"""The host's end of the link: frames as octets, with windows, timeouts and retries. Needs nothing but the protocol."""

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from .errors import BitfabricError
from .protocol import FRAME, REPLY, STATUS, VERSION, Decoder, Message, Status, encode

_LEAST = 9
"""Octets of a message without payload, flags included."""


class Transport(Protocol):
    """A serial port, as pyserial has it: ``read`` gives fewer octets when ``timeout`` seconds have passed.

    An OSError of any of them means that the port is gone.
    """

    timeout: float | None

    def read(self, size: int = 1, /) -> bytes: ...

    def write(self, data: bytes, /) -> int | None: ...

    def close(self) -> None: ...


class Session:
    """Frames to an image and back, in order, each exactly once.

    A reply that does not come is asked for again, ``retries`` times in a row before BitfabricError. A result is taken
    only if it is whole and belongs to a frame that waits for one.
    """

    def __init__(self, transport: Transport, timeout: float, retries: int = 5) -> None:
        self.transport = transport
        transport.timeout = timeout
        self.retries = retries
        self.resent = 0
        self._decoder = Decoder()
        # Somewhere, so that what an earlier session left behind is not taken for an answer.
        self._tag = int.from_bytes(os.urandom(2), "little")
        self._short = 0

    def connect(self, model: int, in_octets: int, out_octets: int) -> Status:
        """Make sure that the image is the one of ``model`` and has nothing left to do. Call it before ``run``.

        Raises BitfabricError where nothing answers, where the image is of another model, or stays busy.
        """
        for _ in range(self.retries + 1):
            status = self.status()
            if status.model != model:
                raise BitfabricError(
                    f"the board holds another image (model {status.model:016x}, not {model:016x}); program it again"
                )
            if (status.in_octets, status.out_octets) != (in_octets, out_octets):
                raise BitfabricError("the image has frames of another size; build and program it again")
            if not status.pending:
                return status
            self._receive(self._read(1 << 16))
        raise BitfabricError("the image does not finish its frames; reset the board")

    def status(self) -> Status:
        """What the image tells about itself. Raises BitfabricError where nothing answers."""
        for _ in range(self.retries + 1):
            tag = self._next_tag()
            self._write(Message(STATUS, tag))
            # Ask for just what a reply has: a read that wants more lasts until its timeout.
            while (messages := self._receive(self._read(self._rest(Status.OCTETS)))) is not None:
                for message in messages:
                    if message.type == STATUS | REPLY and message.tag == tag:
                        return self._status(message.payload)
        raise BitfabricError("no answer from the board: is it programmed, and are port and baud rate right?")

    def run(
        self,
        frames: Sequence[bytes],
        out_octets: int,
        slots: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[bytes]:
        """The output frames that belong to the input frames. ``slots`` of them are under way at a time.

        ``progress`` is called with the number of results so far and of all frames. Raises BitfabricError where the
        board stops answering.
        """
        results: dict[int, bytes] = {}
        waiting: dict[int, int] = {}  # tag to index
        todo = deque(range(len(frames)))
        silent = 0
        while len(results) < len(frames):
            while todo and len(waiting) < slots:
                tag = self._next_tag()
                waiting[tag] = todo.popleft()
                self._write(Message(FRAME, tag, frames[waiting[tag]]))
            messages = self._receive(self._read(self._rest(out_octets)))
            if messages is None:
                silent += 1
                if silent > self.retries:
                    raise BitfabricError(f"the board stopped answering after {len(results)} of {len(frames)} frames")
                self.resent += len(waiting)
                for tag, index in waiting.items():
                    self._write(Message(FRAME, tag, frames[index]))
                continue
            for message in messages:
                if message.type == FRAME | REPLY and message.tag in waiting and len(message.payload) == out_octets:
                    results[waiting.pop(message.tag)] = message.payload
                    silent = 0
                    if progress:
                        progress(len(results), len(frames))
        return [results[index] for index in range(len(frames))]

    @staticmethod
    def _status(payload: bytes) -> Status:
        """What the payload of a status reply says, if it is of this version."""
        if payload[:1] != bytes([VERSION]) or len(payload) != Status.OCTETS:
            version = payload[0] if payload else "none"
            raise BitfabricError(f"the image speaks version {version} of the link, not {VERSION}; build again")
        return Status.parse(payload)

    def _write(self, message: Message) -> None:
        try:
            self.transport.write(encode(message))
        except OSError as error:
            raise BitfabricError(f"the port is gone ({error}); is the cable in?") from None

    def _read(self, size: int) -> bytes:
        try:
            return self.transport.read(size)
        except OSError as error:
            raise BitfabricError(f"the port is gone ({error}); is the cable in?") from None

    def _rest(self, payload: int) -> int:
        """Octets to a message's end at the least, from what came of it so far."""
        return max(1, _LEAST + payload - self._short)

    def _next_tag(self) -> int:
        self._tag = (self._tag + 1) & 0xFFFF
        return self._tag

    def _receive(self, octets: bytes) -> list[Message] | None:
        """The messages that ``octets`` complete; None where nothing came."""
        if not octets:
            self._short = 0
            return None
        messages = list(self._decoder.feed(octets))
        self._short = 0 if messages else self._short + len(octets)
        return messages
