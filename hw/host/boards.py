"""The board of a model: opens the transport of its host link."""

from .errors import UsageError
from .ftdi_port import URL, open_fifo
from .interface import Interface
from .ports import find_port, open_port
from .session import Transport
from .spi_port import DEVICE, open_spi
from .udp_port import open_udp

SIMULATED_BAUD = 3_000_000
"""Baud rate at which the terminal of a simulated board is opened; it has none."""


def open_board(interface: Interface, port: str | None = None, rate: int | None = None) -> Transport:
    """Open the host link of the board that holds a model's image.

    ``port``: its name; None: look for it, or for Ethernet the image's own address. ``rate``: the baud rate, or that of
    SPI in Hz; None for that of the image. A name that is none of SPI or of an FT232H is opened as a serial port,
    because a board that is simulated behind a pseudo-terminal (``bitfabric virtual``) has one, whatever its link; with
    Ethernet it has an address. Raises UsageError where the port cannot be opened or is not found.
    """
    kind, settings = interface.transport, interface.settings
    usb = settings.get("usb")
    known = None if usb is None else str(usb)
    if kind == "uart":
        baud = rate or interface.baud or 0
        return open_port(port, baud) if port else find_port(baud, interface.model, known)
    if kind == "ethernet":
        if rate is not None:
            raise UsageError("the rate of Ethernet is that of the image; leave out --baud")
        own = f"udp://{settings['ip']}:{settings['port']}"
        return open_udp(port or own, int(settings["rate"] or 0), int(settings["buffer"] or 0))
    named = {"spi": DEVICE, "fifo": URL, "fifo_sync": URL}.get(kind)
    if named is None:
        raise UsageError(f"the image's link is {kind}, which this driver does not know; use the driver of its build")
    if port is not None and not named.fullmatch(port):
        return open_port(port, SIMULATED_BAUD)
    if named is URL:
        return open_fifo(port, known or "", kind == "fifo_sync")
    if port is None:
        raise UsageError(
            "anything may be connected to SPI, so no port is looked for; give it, as --port /dev/spidev0.0"
        )
    return open_spi(port, rate or int(settings["hz"] or 0))
