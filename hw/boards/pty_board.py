"""A virtual board behind a pseudo-terminal: any program that opens serial ports can talk to it."""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from hw.boards.virtual import VirtualBoard

QUIET = 1e-4
"""Seconds of the image's time without an octet after which it is the host's turn again."""
PAUSE = 0.001
"""Seconds to wait for the host before the simulation goes on."""


def _unchanged(octets: bytes) -> bytes:
    return octets


class PtyBoard:
    """Serves ``board`` on a pseudo-terminal, at ``port``, from a thread of its own, until it is closed.

    ``damage`` may change the octets of both directions: a bad line. ``unplug`` takes the terminal away, as when a USB
    cable is pulled; ``plug`` brings another one, the image being what it was.
    """

    def __init__(self, board: VirtualBoard, damage: Callable[[bytes], bytes] = _unchanged) -> None:
        self.board, self.damage = board, damage
        board.timeout = QUIET
        self.port = ""
        self._master = self._stop = -1
        self._thread: threading.Thread | None = None
        self.plug()

    def __enter__(self) -> "PtyBoard":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.unplug()

    def plug(self) -> None:
        """Open a terminal and serve it."""
        import tty

        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._serve, args=(self._master, slave, wake), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """End the service and take the terminal away."""
        if self._thread is None:
            return
        os.close(self._stop)
        self._thread.join()
        self._thread = None

    def _serve(self, master: int, slave: int, wake: int) -> None:
        # The terminal's other end stays open here too, so that it lives on between two programs that use it.
        try:
            while True:
                ready, _, _ = select.select([master, wake], [], [], PAUSE)
                if wake in ready:
                    return
                sent = os.read(master, 1 << 16) if master in ready else b""
                received = self.damage(self.board.exchange(self.damage(sent)))
                while received:
                    received = received[os.write(master, received) :]
        finally:
            for end in (master, slave, wake):
                with suppress(OSError):
                    os.close(end)
