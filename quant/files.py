"""Files of the training side: written whole or not at all, and one line for whatever the operating system refuses.

The counterpart of ``hw.host.files``, with QuantError: ``quant`` imports nothing from ``hw``, and ``hw.host`` nothing
from outside of its folder, because a build copies it to the board's computer.
"""

import errno
import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import numpy as np

from quant.errors import QuantError

_NUMBER = count()
_MACHINE = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.EIO: "check the disk",
}
"""What to do first about a fault of the machine; other errors are those of a wrong path (status 2)."""


@contextmanager
def using(path: str | os.PathLike[str], remedy: str, what: str = "cannot write") -> Iterator[None]:
    """Inside, an OSError or MemoryError becomes a QuantError of one line about ``path``."""
    try:
        yield
    except MemoryError as error:
        raise QuantError(f"{what} {path}: {str(error) or 'not enough memory'}; close other programs") from error
    except OSError as error:
        first = _MACHINE.get(error.errno or 0)
        reason = error.strerror or str(error)
        reason = "a file is where a folder should be" if error.errno == errno.EEXIST else reason
        hint = remedy if first is None else f"{first}, or {remedy}"
        raise QuantError(f"{what} {path}: {reason}; {hint}", status=2 if first is None else 1) from error


@contextmanager
def replacing(path: str | os.PathLike[str], remedy: str = "choose another place") -> Iterator[Path]:
    """The path of a temporary file to write, which becomes ``path`` at the end; after an exception nothing is left.

    The file is flushed to the disk first, so that a name never stands for a part of a file. Raises QuantError where
    that is not possible.
    """
    target = Path(path)
    part = target.with_name(f".{os.getpid()}-{next(_NUMBER)}.part{target.suffix}")
    with using(path, remedy):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target.exists() and not (target.is_file() and os.access(target, os.W_OK)):
            raise PermissionError(errno.EACCES, "it is write-protected, or no file")
        try:
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(part, target)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes | memoryview, remedy: str = "choose another place") -> None:
    """Writes a file (``replacing``)."""
    with replacing(path, remedy) as part:
        part.write_bytes(data)


def sha256(path: Path) -> str:
    """Returns the hash of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_archive(path: Path) -> None:
    """Raises QuantError for a ``.npz`` file whose arrays need more memory than the machine has free.

    An array whose header claims more numbers than follow raises it too.
    """
    claimed = 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                size, left = int(np.prod(shape, dtype=object)) * dtype.itemsize, member.file_size - file.tell()
            if size > left and not dtype.hasobject:
                raise QuantError(
                    f"{path}: the header of {member.filename} claims shape {shape}, {size:,} bytes, and {left:,} "
                    "follow; save it again",
                    status=2,
                )
            claimed += member.file_size
    check_memory(path, claimed)


def check_memory(path: Path, size: int) -> None:
    """Raises QuantError for a file whose content of ``size`` bytes is larger than the free memory."""
    free: int = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    if size > free:
        raise QuantError(f"{path} holds {size:,} bytes unpacked, and {free:,} of memory are free; use a part", status=2)
