"""UDP to a board with Ethernet, with the face of a serial port.

Every write is a datagram, or several. The board sends its octets in datagrams of its own. What is lost, comes twice or
in another order damages messages, which have checksums and are sent again (``session``).
"""

import re
import socket
import time

from .errors import UsageError

URL = re.compile(r"udp://([\w.-]+):(\d{1,5})")
"""The address of a board."""
LONGEST = 1024
"""Octets of the longest datagram."""
_QUEUE = 1 << 20
"""Octets that the operating system is asked to keep until they are read."""


def open_udp(address: str, rate: int, buffer: int) -> "UdpPort":
    """Open ``udp://HOST:PORT``. ``rate``: octets per second that the image takes; ``buffer``: octets that it keeps.

    Nothing is sent. Raises UsageError for what is no such address, and for one that cannot be used.
    """
    found = URL.fullmatch(address)
    if found is None:
        raise UsageError(f"{address} is no address of a board with Ethernet; give one as udp://192.168.1.50:5005")
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE)
        link.connect((found[1], int(found[2])))
    except (OSError, OverflowError) as error:
        link.close()
        raise UsageError(f"cannot use {address}: {error}; is this computer in the network of the board?") from None
    return UdpPort(link, rate, buffer)


class UdpPort:
    """A connected socket with the methods of ``session.Transport``.

    No more octets are sent than the board has room for, given those that it has taken since: one without room would be
    lost.
    """

    def __init__(self, link: socket.socket, rate: int, buffer: int) -> None:
        self.link, self.rate, self.buffer = link, rate, buffer
        self.timeout: float | None = None
        self._received = bytearray()
        self._taken_at = 0.0  # when the board will have taken all that was sent

    def write(self, data: bytes) -> int:
        """Send octets."""
        for start in range(0, len(data), LONGEST):
            datagram = data[start : start + LONGEST]
            wait = self._taken_at - (self.buffer - len(datagram)) / self.rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self.link.send(datagram)
            self._taken_at = max(self._taken_at, time.monotonic()) + len(datagram) / self.rate
        return len(data)

    def read(self, size: int = 1) -> bytes:
        """Octets of the image: ``size`` of them, or fewer once ``timeout`` seconds have passed."""
        end = None if self.timeout is None else time.monotonic() + self.timeout
        while len(self._received) < size:
            self.link.settimeout(None if end is None else max(0.0, end - time.monotonic()))
            try:
                self._received += self.link.recv(1 << 16)
            except (TimeoutError, BlockingIOError):
                break
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def close(self) -> None:
        """Close the socket."""
        self.link.close()
