"""Serial ports: open one by name, or find the one that a board is connected to."""

from .errors import BitfabricError, UsageError
from .session import Session, Transport

WRITE_TIMEOUT = 5.0
"""Seconds after which a write to a blocked port fails."""


def known_ports() -> list[str]:
    """The names of this machine's serial ports. Raises BitfabricError if pyserial is not installed."""
    try:
        from serial.tools.list_ports import comports
    except ImportError:
        raise BitfabricError("no pyserial: pip install pyserial") from None
    return [port.device for port in comports()]


def open_port(port: str, baud: int) -> Transport:
    """Open a serial port. Raises UsageError, with the names of the existing ports, if that fails."""
    known = ", ".join(known_ports()) or "none"
    import serial

    try:
        return serial.Serial(port, baud, timeout=0.25, write_timeout=WRITE_TIMEOUT)
    except (OSError, ValueError) as error:
        rights = "; you may need the rights of the group dialout" if "ermission" in str(error) else ""
        raise UsageError(f"cannot open {port} at {baud} baud: {error}{rights}; serial ports here: {known}") from None


def find_port(baud: int, model: int) -> Transport:
    """Open the port on which an image of ``model`` answers. Raises UsageError, with all answers, if none does."""
    said = []
    for name in known_ports():
        try:
            transport = open_port(name, baud)
        except BitfabricError as error:
            said.append(f"{name}: {error}")
            continue
        try:
            status = Session(transport, 0.2, retries=1).status()
        except BitfabricError:
            said.append(f"{name}: no answer")
        else:
            if status.model == model:
                return transport
            said.append(f"{name}: the image of another model ({status.model:016x})")
        transport.close()
    raise UsageError(f"no board with this image found ({'; '.join(said) or 'no serial port'}); give --port")
