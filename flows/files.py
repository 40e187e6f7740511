"""Hashes of files, and atomic writing of files."""

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(content: object) -> str:
    """Hash of a JSON-able value, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: a reader sees the old file or the complete new one. Raises OSError."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically. Raises OSError."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises OSError and ValueError."""
    return json.loads(path.read_text(encoding="utf-8"))
