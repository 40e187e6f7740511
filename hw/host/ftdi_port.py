"""An FT232H in 245 FIFO mode, through pyftdi, with the face of a serial port."""

import re
import time
from typing import Any

from .errors import UsageError

URL = re.compile(r"ftdi://\S+")
"""The name of a port, as pyftdi has it."""
_EVERY_PIN = 0xFF
"""The mask of a bit mode: the mode is that of all data pins."""
_LATENCY_MS = 1
"""After so many milliseconds the chip sends what it has, though a USB packet is not full."""


def open_fifo(port: str | None, usb: str, synchronous: bool = False) -> "FtdiPort":
    """Open the chip ``port`` (``ftdi://ftdi:232h/1``), or the first with the USB ids ``usb`` (``vendor:product``).

    FIFO mode is set in the chip's EEPROM; what makes it ``synchronous`` is set here, each time, as FTDI's AN_130 says.
    Raises UsageError where the chip cannot be opened, and without pyftdi.
    """
    name = port or f"ftdi://0x{usb.replace(':', ':0x')}/1"
    if not URL.fullmatch(name):
        raise UsageError(f"{name} is no port of an FT232H; give one as ftdi://ftdi:232h/1")
    try:
        from pyftdi.ftdi import Ftdi
    except ImportError:
        raise UsageError("no pyftdi: pip install 'bitfabric[ftdi]' (or pyftdi alone, beside a copied driver)") from None
    chip = Ftdi()
    try:
        chip.open_from_url(name)
        chip.set_bitmode(_EVERY_PIN, Ftdi.BitMode.RESET)
        if synchronous:
            chip.set_bitmode(_EVERY_PIN, Ftdi.BitMode.SYNCFF)
            chip.set_flowctrl("hw")
        chip.set_latency_timer(_LATENCY_MS)
        chip.purge_buffers()
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"cannot open {name}: {error}; is the chip in, and have you the rights to it (udev)? --port names another"
        ) from None
    return FtdiPort(chip)


class FtdiPort:
    """An open chip with the methods of ``session.Transport``. ``chip`` is a ``pyftdi.ftdi.Ftdi``."""

    def __init__(self, chip: Any) -> None:
        self.chip = chip
        self.timeout: float | None = None

    def write(self, data: bytes) -> int:
        """Send octets."""
        return int(self.chip.write_data(data))

    def read(self, size: int = 1) -> bytes:
        """Octets of the image: ``size`` of them, or fewer once ``timeout`` seconds have passed."""
        end = time.monotonic() + (self.timeout or 0.0)
        data = bytearray()
        while len(data) < size:
            data += self.chip.read_data(size - len(data))
            if self.timeout is not None and time.monotonic() >= end:
                break
        return bytes(data)

    def close(self) -> None:
        """Close the chip."""
        self.chip.close()
