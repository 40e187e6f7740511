"""Serial ports: open one by name, or find the one that a board is connected to."""

from typing import Any

from .errors import BitfabricError, UsageError
from .session import Session, Transport

WRITE_TIMEOUT = 1.0
"""Seconds after which a write to a blocked port fails; a session writes in small pieces."""
ASK_TIMEOUT, ASK_RETRIES = 0.2, 1
"""How long ``find_port`` waits for an answer, and how often it asks again."""


def known_ports() -> list[str]:
    """The names of this machine's serial ports. Raises BitfabricError if pyserial is not installed."""
    return [port.device for port in _ports()]


def usb_ports() -> dict[str, str]:
    """The serial ports that are USB devices: name -> ``vendor:product`` in hexadecimal. Raises as ``known_ports``."""
    return {port.device: f"{port.vid:04x}:{port.pid or 0:04x}" for port in _ports() if port.vid is not None}


def _ports() -> list[Any]:
    try:
        from serial.tools.list_ports import comports
    except ImportError:
        raise BitfabricError("no pyserial: pip install pyserial") from None
    return list(comports())


def open_port(port: str, baud: int) -> Transport:
    """Open a serial port. Raises UsageError, with the names of the existing ports, if that fails."""
    known = ", ".join(known_ports()) or "none"
    import serial

    try:
        return serial.Serial(port, baud, timeout=0.25, write_timeout=WRITE_TIMEOUT)
    except (OSError, ValueError) as error:
        rights = "; you may need the rights of the group dialout" if "ermission" in str(error) else ""
        raise UsageError(f"cannot open {port} at {baud} baud: {error}{rights}; serial ports here: {known}") from None


def find_port(baud: int, model: int, usb: str | None = None) -> Transport:
    """Open the port on which an image of ``model`` answers. Raises UsageError, with all answers, if none does.

    Only USB devices are asked, and each for a fraction of a second: those with the ids ``usb`` first, if the board has
    its own. A built-in port (``/dev/ttyS0``) may control any other device, and is used only where it is given by name.
    """
    candidates = usb_ports()
    said = []
    for name in sorted(candidates, key=lambda name: candidates[name] != usb):
        try:
            transport = open_port(name, baud)
        except BitfabricError as error:
            said.append(f"{name}: {error}")
            continue
        try:
            status = Session(transport, ASK_TIMEOUT, ASK_RETRIES).status()
        except BitfabricError:
            said.append(f"{name}: no answer")
        else:
            if status.model == model:
                return transport
            said.append(f"{name}: the image of another model ({status.model:016x})")
        transport.close()
    others = ", ".join(name for name in known_ports() if name not in candidates)
    said += [f"not asked, no USB device: {others}"] if others else []
    raise UsageError(f"no board with this image found ({'; '.join(said) or 'no serial port'}); give --port")
