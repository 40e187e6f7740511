"""The cache of compiled libraries, simulators and tools.

It has one folder for each, named by the hash of all that it is made from.

An entry has a seal, the hash of each of its files. An entry that was interrupted, truncated or edited does not match
its seal and is made again. A process that makes an entry holds a lock, so that others wait for it instead of making the
same. Entries in a folder that cannot be written to are still used.
"""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hw.host.errors import ToolError
from hw.host.files import read_json, sha256, using

SEAL = "seal.json"
REMEDY = "set BITFABRIC_CACHE to another folder"
PATIENCE = 600.0
"""Longest time in seconds to wait for another process that makes the same entry."""
ABANDONED = 86400.0
"""Age in seconds of an unfinished entry, after which it is removed: its process was killed."""
_UNFINISHED = ".making-"


def cache_folder() -> Path:
    """Where compiled libraries, simulators and tools are kept: ``$BITFABRIC_CACHE`` or ``~/.cache/bitfabric``.

    Raises ToolError for a user without a home folder, as in a container that is started with the number of a user.
    """
    if base := os.environ.get("BITFABRIC_CACHE"):
        return Path(base).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if base.startswith("~"):
        raise ToolError("no home folder for the cache: set HOME, or BITFABRIC_CACHE to a folder")
    return Path(base).absolute() / "bitfabric"


def entry(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder ``kind/key`` of the cache. Where it is missing or not whole, ``make`` fills an empty folder for it.

    Raises ToolError where the cache cannot be written to; exceptions of ``make`` propagate.
    """
    place = cache_folder() / kind / key
    if _is_whole(place):
        return place
    with using(place.parent, REMEDY, "cannot write to", ToolError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with _locked(place.with_name(f".{key}.lock")):
            if not _is_whole(place):
                _remove_abandoned(place.parent)
                _fill(place, make)
    return place


def seal(folder: Path) -> None:
    """Write the seal of a finished entry."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and p.name != SEAL)
    (folder / SEAL).write_text(json.dumps({p.relative_to(folder).as_posix(): sha256(p) for p in files}))


def _is_whole(place: Path) -> bool:
    """Whether an entry has a seal, and all files of the seal."""
    try:
        files = read_json(place / SEAL)
        return bool(files) and all(sha256(place / name) == found for name, found in files.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _fill(place: Path, make: Callable[[Path], None]) -> None:
    """Make an entry beside its place, then rename it. What is in its place is not whole, and is replaced."""
    work = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=place.parent))
    made = work / "made"
    try:
        made.mkdir()  # Unlike ``work``, others may read it, as the umask says: a cache may be made for all users.
        make(made)
        seal(made)
        if os.path.lexists(place):
            place.rename(work / "replaced")
        try:
            made.rename(place)
        except OSError:
            if not _is_whole(place):  # where there are no locks, another process may have been faster
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove unfinished entries of killed processes."""
    with suppress(OSError):
        for work in folder.glob(f"{_UNFINISHED}*"):
            if time.time() - work.stat().st_mtime > ABANDONED:
                shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, for which a file is made and removed again. Without it after ``PATIENCE`` seconds, and on
    a file system that has no locks: entries are renamed into place, so that a lock only saves work."""
    descriptor = _lock(path)
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _lock(path: Path) -> int | None:
    latest = time.monotonic() + PATIENCE
    while time.monotonic() < latest:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BlockingIOError:
            time.sleep(0.05)
        except FileNotFoundError:  # the process that held the lock has removed the file
            pass
        except OSError:
            os.close(descriptor)
            return None
        os.close(descriptor)
    return None
