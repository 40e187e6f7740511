"""The last boundary of the command line: what a machine runs out of is one line, and not a traceback.

Where a command writes and reads files, it says itself what could not be done. What arrives here is the rest: errors of
the system from other packages, full memory, the standard output. Any other exception is a fault of this program, and
keeps its traceback.
"""

import errno
import os
import shlex
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from hw.host.errors import BitfabricError
from hw.host.files import is_full, refusal

LIMITS = (OSError, MemoryError, RecursionError)
"""The exceptions that ``explain`` turns into a line."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def explain(error: OSError | MemoryError | RecursionError) -> BitfabricError:
    """The one-line error for an exception that no command has expected."""
    command = shlex.join(["bitfabric", *sys.argv[1:]])
    if isinstance(error, MemoryError):
        reason = str(error) or "not enough memory"
        return BitfabricError(f"{command}: {reason}; use a smaller model or fewer frames, or close other programs")
    if isinstance(error, RecursionError):
        return BitfabricError(f"{command}: the model or one of the files is nested too deeply; check what made it")
    if error.filename is None:
        full = _full_folder()
        if _output_fails() or (full is None and error.errno in _FULL and not sys.stdout.isatty()):
            return refusal("cannot write to", "the standard output", error, "write to a file with -o")
        if full is not None:
            return refusal("cannot write to", full, error, "use another disk (-o, TMPDIR, BITFABRIC_CACHE)")
    return refusal(f"{command}: cannot use", error.filename or "a file", error, "check the path and its permissions")


def _output_fails() -> bool:
    """Whether the rest of the standard output cannot be written. It is closed, so that Python does not try again,
    and complain, when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _full_folder() -> Path | None:
    """A folder that every command uses and whose disk is full."""
    from hw.native.cache import cache_folder

    for place in (Path.cwd, lambda: Path(tempfile.gettempdir()), cache_folder, Path.home):
        with suppress(OSError, RuntimeError, BitfabricError):  # a folder that is gone, or a user without a home folder
            if is_full(folder := place()):
                return folder
    return None
