"""Comparing a record with the one that is kept, and keeping a new one."""

import difflib
from pathlib import Path

EXPECTED = Path(__file__).parent / "expected"
MOST = 80
"""Lines of a difference that are shown."""


def keep(files: dict[str, str]) -> None:
    """Write files under ``expected``; without content they are removed."""
    for name, text in files.items():
        path = EXPECTED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text:
            path.write_text(text)
        else:
            path.unlink(missing_ok=True)


def difference(files: dict[str, str]) -> str:
    """What differs from the files that are kept, as a unified difference; empty where nothing does."""
    lines: list[str] = []
    for name, text in files.items():
        path = EXPECTED / name
        kept = path.read_text() if path.exists() else ""
        if kept != text:
            pair = kept.splitlines(), text.splitlines()
            lines += difflib.unified_diff(*pair, f"expected/{name}", f"{name} now", n=2, lineterm="")
            lines += [] if pair[0] != pair[1] else [f"{name}: only the ends of lines differ"]
    left = len(lines) - MOST
    return "\n".join(lines[:MOST] + ([f"... and {left} more lines"] if left > 0 else []))
