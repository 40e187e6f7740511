"""The names in a model: what they may be, and how a bad one is shown."""

from hw.host.text import one_line
from hw.lowering.gate.limits import MAX_NAME


def printable(name: str | bytes, most: int = 80) -> str:
    """A name on one short line, with escapes for what is not printable. Bytes are a name that is not UTF-8."""
    text = repr(name)[2:-1] if isinstance(name, bytes) else name if name.isprintable() else ascii(name)[1:-1]
    return one_line(text, most)


def fault(name: str | bytes) -> str | None:
    """What is wrong with the name of a node or tensor; None if nothing is."""
    if isinstance(name, bytes):
        return "is not UTF-8"
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters, more than {MAX_NAME}"
    if not name.isprintable():
        return "has control characters"
    return None
