"""Files: the one way to write them, and one line for whatever the operating system refuses.

A file is written under a temporary name in its own folder, flushed to the disk, and renamed. So its name always stands
for the old content or for the complete new one, also where the disk is full, the process is killed or the power fails.
"""

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from .errors import BitfabricError, UsageError

ELSEWHERE = "choose another place with -o"
"""The remedy for an output that cannot be written."""
_NUMBER = count()
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FIRST = {
    **dict.fromkeys(_FULL, "free some space there"),
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.ENOMEM: "close other programs",
    errno.EIO: "check the disk",
}
"""What to do first, by error. These are faults of the machine; all others are those of a wrong path."""


# --- one line for an error of the operating system ---


def refusal(what: str, path: str | os.PathLike[str], error: OSError | MemoryError, remedy: str) -> BitfabricError:
    """The one-line error for a file or folder: what could not be done (as "cannot write"), why, and the remedy.

    A UsageError for a wrong path, a BitfabricError where the machine is short of something.
    """
    if isinstance(error, MemoryError):
        return BitfabricError(f"{what} {path} ({str(error) or 'not enough memory'}); close other programs, or {remedy}")
    first = _FIRST.get(error.errno or 0)
    reason = error.strerror or str(error) or type(error).__name__
    reason = "a file is where a folder should be" if error.errno == errno.EEXIST else reason
    kind = UsageError if first is None else BitfabricError
    return kind(f"{what} {_subject(path, error)} ({reason}); {remedy if first is None else f'{first}, or {remedy}'}")


def _subject(path: str | os.PathLike[str], error: OSError) -> str:
    """The path to name: the one that the system names, where it is not inside of ``path`` or above it."""
    named = error.filename
    if not isinstance(named, (str, bytes)):
        return os.fspath(path)
    other, own = Path(os.path.abspath(os.fsdecode(named))), Path(os.path.abspath(path))
    own_part = other.parent == own.parent and ".part" in other.name  # the temporary file
    return os.fspath(path) if own_part or other.is_relative_to(own) or own.is_relative_to(other) else str(other)


@contextmanager
def using(
    path: str | os.PathLike[str],
    remedy: str = ELSEWHERE,
    what: str = "cannot write",
    kind: type[BitfabricError] | None = None,
    memory: bool = True,
) -> Iterator[None]:
    """Inside, an OSError, and with ``memory`` a MemoryError, becomes ``refusal``'s line about ``path``.

    ``kind`` is the type of the error, where it is not ``refusal``'s.
    """
    try:
        yield
    except BrokenPipeError:  # a reader of the standard output that has gone away
        raise
    except (OSError, MemoryError) as error:
        if isinstance(error, MemoryError) and not memory:
            raise
        made = refusal(what, path, error, remedy)
        raise (made if kind is None else kind(made)) from error


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has no space left: less than 64 KiB."""
    with suppress(OSError):
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize < 1 << 16
    return False


# --- writing ---


@contextmanager
def replacing(path: str | os.PathLike[str], remedy: str = ELSEWHERE, durable: bool = True) -> Iterator[Path]:
    """The path of a temporary file to write, which becomes ``path`` at the end; after an exception nothing is left.

    The folder is made. A ``durable`` file is flushed to the disk, as is its folder. Raises UsageError or BitfabricError
    where the file cannot be written, for a write-protected file, and for what is no regular file.
    """
    target = Path(path)
    with using(path, remedy):
        target = Path(os.path.realpath(target)) if target.is_symlink() else target
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_replaceable(target, path)
        ending = target.suffix if len(target.suffix) < 16 else ""
        part = target.with_name(f".{os.getpid()}-{next(_NUMBER)}.part{ending}")
        try:
            yield part
            if durable:
                _flush(part)
            part.replace(target)
            if durable:
                _flush(target.parent)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _check_replaceable(target: Path, path: str | os.PathLike[str]) -> None:
    """Raise an error where ``target`` exists and is no regular file that may be written."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(mode):
        raise UsageError(f"cannot write {path} (it is a device, pipe or socket); name a file")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))


def _flush(path: Path) -> None:
    """Flush a file or folder to the disk. A file system that cannot is not at fault."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes, remedy: str = ELSEWHERE, durable: bool = True) -> None:
    """Write a file (``replacing``)."""
    with replacing(path, remedy, durable) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str, remedy: str = ELSEWHERE, durable: bool = True) -> None:
    """Write a text file in UTF-8 (``replacing``); what is no valid Unicode is written as an escape."""
    write_bytes(path, text.encode(errors="backslashreplace"), remedy, durable)


def write_json(path: Path, content: dict[str, Any], remedy: str = ELSEWHERE, durable: bool = True) -> None:
    """Write a JSON file (``replacing``)."""
    write_text(path, json.dumps(content, indent=2) + "\n", remedy, durable)


def make_folder(path: Path, remedy: str = ELSEWHERE) -> Path:
    """Make a folder and those above it; returns it. Raises UsageError or BitfabricError where that is not possible."""
    with using(path, remedy, "cannot write to"):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def filled_folder(path: Path) -> Iterator[Path]:
    """A folder, made where there is none; one that was made and is still empty at an error is removed. Raises as
    ``make_folder``."""
    there = path.exists()
    make_folder(path)
    try:
        yield path
    except BaseException:
        if not there:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder, removed at the end. Inside, an error of the operating system is one line that names it."""
    place = os.environ.get("TMPDIR") or "/tmp"
    with (
        using(place, "set TMPDIR to another folder", "cannot write to"),
        tempfile.TemporaryDirectory(prefix="bitfabric-") as name,
    ):
        yield Path(name)


# --- reading ---


@contextmanager
def opened(
    path: str | os.PathLike[str],
    remedy: str = "check the path and its permissions",
    kind: str = "file",
    name: str = "name a file",
) -> Iterator[BinaryIO]:
    """A regular file for reading, as bytes. Never waits, as for a pipe that nobody writes to.

    Raises UsageError for a file that is missing, is no regular file, or cannot be read. ``kind`` says what the file is,
    ``name`` what to do instead of naming a folder or a device.
    """
    with using(path, remedy, "cannot read" if kind == "file" else f"cannot read the {kind}"):
        if not os.path.lexists(path):
            raise UsageError(f"no {kind} {path}")
        _check_regular(os.stat(path).st_mode, path, kind, name)  # A socket cannot be opened.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _check_regular(os.fstat(file.fileno()).st_mode, path, kind, name)
            yield file


def _check_regular(mode: int, path: str | os.PathLike[str], kind: str, name: str) -> None:
    """Raise UsageError for the mode of what is no regular file."""
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}
    raise UsageError(f"the {kind} {path} is a {kinds.get(stat.S_IFMT(mode), 'device')}; {name}")


def read_text(path: Path, most: int = 1 << 26, kind: str = "file") -> str:
    """A user's text file in UTF-8 of up to ``most`` bytes; ``kind`` says what it is. Raises UsageError."""
    with opened(path, kind=kind) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise UsageError(f"the {kind} {path} has more than {most:,} bytes; give the right file")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the {kind} {path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None


def parse_json(text: str) -> Any:
    """The content of a JSON text. Raises ValueError, also for what is nested too deeply, and for a key given twice."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError for a key given twice: JSON does not say which value counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _value in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {json.dumps(repeated)} is given twice in one object; leave one of them out")
    return found


def read_json(path: Path) -> Any:
    """The content of a JSON file that this program has written. Raises OSError and ValueError."""
    return parse_json(path.read_text(encoding="utf-8"))


# --- hashes ---


def sha256(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(content: object) -> str:
    """Hash of a JSON-able value, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
