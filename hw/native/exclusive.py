"""One process at a time in a folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hw.host.errors import BitfabricError
from hw.host.files import ELSEWHERE, make_folder, using

LOCK = ".lock"
"""The file in a folder that a process at work there has locked; it stays."""


@contextmanager
def exclusive(folder: Path, what: str, remedy: str = ELSEWHERE) -> Iterator[None]:
    """Lock ``folder``, which is made where there is none, while ``what`` (as "another build") is at work in it.

    A file system that has no locks, as some of clusters, is used without. Raises BitfabricError if another process has
    the lock, and as ``make_folder`` if the folder cannot be written to; ``remedy`` says what to do then.
    """
    make_folder(folder, remedy)
    with using(folder, remedy, "cannot write to"):
        lock = (folder / LOCK).open("w")
    with lock:
        with suppress(OSError):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BitfabricError(f"{what} is at work in {folder}; wait for its end") from None
        yield
