"""A virtual board with Ethernet behind an address of this computer, which any program reaches with UDP."""

import os
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from hw.boards.pty_board import PAUSE, QUIET, PtyBoard
from hw.boards.virtual import VirtualBoard


def _unchanged(datagrams: list[bytes]) -> list[bytes]:
    return datagrams


class UdpBoard:
    """Connects ``board`` to a socket with the address ``port`` (``udp://127.0.0.1:PORT``). A background thread moves
    the datagrams; they go to the sender of the last one.

    Use it as a context manager, or call ``unplug``.

    Args:
        board: the simulated image; its ``timeout`` is set to ``QUIET``.
        damage: a function that may change the datagrams of either direction, to model a network that loses, repeats
            and reorders them.
    """

    def __init__(self, board: VirtualBoard, damage: Callable[[list[bytes]], list[bytes]] = _unchanged) -> None:
        self.board, self.damage = board, damage
        board.timeout = QUIET
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = f"udp://127.0.0.1:{self._socket.getsockname()[1]}"
        wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._serve, args=(wake,), daemon=True)
        self._thread.start()

    def __enter__(self) -> "UdpBoard":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Stop the thread and close the socket. No effect the second time."""
        if self._stop < 0:
            return
        os.close(self._stop)
        self._stop = -1
        self._thread.join()

    def _serve(self, wake: int) -> None:
        peer: tuple[str, int] = ("127.0.0.1", 0)
        try:
            while True:
                ready, _, _ = select.select([self._socket.fileno(), wake], [], [], PAUSE)
                if wake in ready:
                    return
                sent = []
                with suppress(BlockingIOError):
                    while True:
                        datagram, peer = self._socket.recvfrom(1 << 16)
                        sent.append(datagram)
                for datagram in self.damage(self.board.exchange_datagrams(self.damage(sent))):
                    with suppress(OSError):  # where nobody listens any longer, or the queue is full
                        self._socket.sendto(datagram, peer)
        finally:
            self._socket.close()
            os.close(wake)


def reachable(board: VirtualBoard) -> PtyBoard | UdpBoard:
    """``board`` behind a pseudo-terminal, or behind an address where its link is Ethernet."""
    return PtyBoard(board) if board.image.transport.datagrams is None else UdpBoard(board)
