"""The board of a model: opens the transport of its host link."""

from .interface import Interface
from .ports import find_port, open_port
from .session import Transport


def open_board(interface: Interface, port: str | None = None, rate: int | None = None) -> Transport:
    """Open the host link of the board that holds a model's image.

    ``port``: its name; None: look for it. ``rate``: None for that of the image. Raises UsageError where it cannot be
    opened or is not found.
    """
    settings = interface.settings
    usb, baud = settings.get("usb"), rate or interface.baud or 0
    return open_port(port, baud) if port else find_port(baud, interface.model, usb if isinstance(usb, str) else None)
