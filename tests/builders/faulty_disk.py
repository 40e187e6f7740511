"""Disks that fail: full, limited or broken, for tests and for measurements of faults."""

import builtins
import io
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Inside, no file of this process or its children may grow beyond ``size`` bytes (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """A folder on a file system of ``size`` bytes. The test is skipped where this process may not mount one."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        if os.getuid() or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("only root may mount a small file system")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> Iterator[None]:
    """Inside, one call of the system fails with the error ``number``: open (for writing), write, replace or fsync."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    def open_for_reading(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        return fail() if "w" in mode else original(file, mode, *rest, **options)

    original = builtins.open
    places: dict[str, tuple[Any, str, Any]] = {
        "open": (io, "open", open_for_reading),
        "write": (Path, "write_bytes", fail),
        "replace": (Path, "replace", fail),
        "fsync": (os, "fsync", fail),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*places[call])
        yield
