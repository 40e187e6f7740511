"""Leases: files that tell whether the worker of a trial is still there."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RENEWED, EXPIRES = 20.0, 120.0
"""Seconds between two renewals of a lease, and after which a lease that was not renewed has ended."""


def lease_file(folder: Path, number: int) -> Path:
    """The file of a trial's lease."""
    return folder / "leases" / f"{number:04}"


@contextmanager
def leased(folder: Path, number: int) -> Iterator[None]:
    """Context in which this process has the lease of a trial; it is renewed until the end, and then removed."""
    path = lease_file(folder, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(RENEWED):
            os.utime(path)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)


def abandoned(folder: Path, number: int, started: float) -> bool:
    """Whether the worker of a trial that ``started`` (seconds since 1970) has ended without an end of the trial."""
    path = lease_file(folder, number)
    try:
        age = time.time() - path.stat().st_mtime
        held = json.loads(path.read_text())
    except (OSError, ValueError):
        return time.time() - started > EXPIRES
    if age > EXPIRES:
        return True
    if held["host"] != socket.gethostname():
        return False
    try:
        os.kill(held["pid"], 0)  # signal 0 only asks whether the process lives
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
