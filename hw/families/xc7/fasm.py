"""Reads FASM, the text in which nextpnr states the features of a 7 series bitstream.

A line is a feature, ``TILE.SITE.NAME``, which is on, or one with bits, ``TILE.SITE.NAME[63:0] = 64'b01...``. Behind
``#`` is a comment.
"""

import re
from pathlib import Path

from hw.host.errors import BitfabricError
from hw.host.files import read_text

MAX_FILE = 1 << 30
_LINE = re.compile(r"([\w.]+)(?:\[(\d+)(?::(\d+))?\])?(?:\s*=\s*(?:(\d+)'([bhdo]))?([0-9a-fA-F_]+))?")
_BASES = {"b": 2, "o": 8, "d": 10, "h": 16}


def read(path: Path) -> dict[str, int]:
    """The features of a FASM file: name without the range -> its bits as a number; a feature that is on is 1.

    Raises BitfabricError for a line of another form, and for bits that do not fit their range.
    """
    found: dict[str, int] = {}
    for number, line in enumerate(read_text(path, MAX_FILE, "FASM file").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise BitfabricError(f"{path}, line {number}: {text[:60]!r} is no FASM; build again")
        name, high, low, _, base, digits = match.groups()
        value = 1 if digits is None else int(digits.replace("_", ""), _BASES[base or "d"])
        last = int(low if low is not None else high or 0)
        width = int(high or 0) - last + 1
        if value >> width:
            raise BitfabricError(f"{path}, line {number}: the bits of {name} do not fit its range; build again")
        found[name] = found.get(name, 0) | value << last
    return found
