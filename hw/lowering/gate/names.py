"""The names in a model: what they may be, and how a bad one is shown."""

from hw.lowering.gate.limits import MAX_NAME


def printable(name: str | bytes, most: int = 80) -> str:
    """A name on one short line, with escapes for what is not printable. Bytes are a name that is not UTF-8."""
    if isinstance(name, bytes):
        name = repr(name)[2:-1]
    name = name if name.isprintable() else ascii(name)[1:-1]
    return name if len(name) <= most else f"{name[: most - 3]}..."


def fault(name: str | bytes) -> str | None:
    """What is wrong with the name of a node or tensor; None if nothing is."""
    if isinstance(name, bytes):
        return "is not UTF-8"
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters, more than {MAX_NAME}"
    if not name.isprintable():
        return "has control characters"
    return None
