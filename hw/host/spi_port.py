"""SPI of a computer as Linux has it (``/dev/spidevB.D``, as on a Raspberry Pi), with the face of a serial port.

Octets go both ways at the same time. While the host has nothing to send it sends flags; what the image sends where it
has nothing to send (``FILL``) is dropped.
"""

import re
import time
from typing import Any

from .errors import UsageError
from .protocol import FILL, FLAG

DEVICE = re.compile(r"/dev/spidev(\d+)\.(\d+)")
"""The name of a port."""
_BLOCK = 32
"""Octets that a read asks for at a time, at least."""
_MOST = 4096
"""Octets of a transfer, at most: the size of spidev's buffer."""


def open_spi(port: str, hertz: int) -> "SpiPort":
    """Open ``/dev/spidevB.D`` at ``hertz``. Raises UsageError where it cannot be opened, and without spidev."""
    found = DEVICE.fullmatch(port)
    if found is None:
        raise UsageError(f"{port} is no SPI port; give one as /dev/spidev0.0")
    try:
        import spidev
    except ImportError:
        raise UsageError("no spidev: pip install 'bitfabric[spi]' (or spidev alone, beside a copied driver)") from None
    device = spidev.SpiDev()
    try:
        device.open(int(found[1]), int(found[2]))
        device.max_speed_hz, device.mode = hertz, 0
    except OSError as error:
        raise UsageError(
            f"cannot open {port}: {error.strerror or error}; enable SPI (raspi-config), and join the group spi"
        ) from None
    return SpiPort(device)


class SpiPort:
    """An open SPI device with the methods of ``session.Transport``. ``device`` is a ``spidev.SpiDev``."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.timeout: float | None = None
        self._received = bytearray()

    def write(self, data: bytes) -> int:
        """Send octets; what arrives meanwhile is kept for ``read``."""
        for start in range(0, len(data), _MOST):
            arrived = bytes(self.device.xfer2(list(data[start : start + _MOST])))
            self._received += arrived.replace(bytes([FILL]), b"")
        return len(data)

    def read(self, size: int = 1) -> bytes:
        """Octets of the image: ``size`` of them, or fewer once ``timeout`` seconds have passed."""
        end = time.monotonic() + (self.timeout or 0.0)
        while len(self._received) < size:
            self.write(bytes([FLAG]) * min(_MOST, max(_BLOCK, size - len(self._received))))
            if self.timeout is not None and time.monotonic() >= end:
                break
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def close(self) -> None:
        """Close the device."""
        self.device.close()
