"""A virtual board behind a pseudo-terminal, which any program opens as a serial port."""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from hw.boards.virtual import VirtualBoard

QUIET = 1e-4
"""Simulated seconds without a byte from the image after which the thread looks for bytes from the host."""
PAUSE = 0.001
"""Seconds of real time that the thread waits for bytes from the host before it continues the simulation."""


def _unchanged(octets: bytes) -> bytes:
    return octets


class PtyBoard:
    """Connects ``board`` to a pseudo-terminal with the path ``port``. A background thread moves the bytes.

    Use it as a context manager, or call ``unplug``. ``unplug`` closes the terminal, as when a USB cable is pulled;
    ``plug`` opens a new one, and the image keeps its state.

    Args:
        board: the simulated image; its ``timeout`` is set to ``QUIET``.
        damage: a function that may change the bytes of either direction, to model transmission errors.
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
        """Open a new pseudo-terminal and start the thread that serves it."""
        import tty

        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._serve, args=(self._master, slave, wake), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Stop the thread and close the pseudo-terminal. No effect without a terminal."""
        if self._thread is None:
            return
        os.close(self._stop)
        self._thread.join()
        self._thread = None

    def _serve(self, master: int, slave: int, wake: int) -> None:
        # This process keeps the slave end open as well: the terminal then survives the time between two programs.
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
