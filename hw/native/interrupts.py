"""Interrupts of a command: SIGTERM, and SIGINT of the terminal.

An exception in the middle of an import does harm: some libraries ignore it, some make an ImportError of it, and some
stay imported by half and fail later. So an interrupt waits for the end of the import.
"""

import math
import signal
import time
from types import FrameType

AGAIN = 0.05
"""Seconds after which an interrupt in an import looks for its end."""
PATIENCE = 20.0
"""Longest time in seconds that it waits: a user's module may compute when it is imported."""
_IMPORT = "<frozen importlib._bootstrap>"
"""The source file, as Python names it, of the functions that import."""


def raise_interrupts() -> None:
    """Let SIGTERM and SIGINT raise KeyboardInterrupt in the main thread, outside of imports.

    A SIGINT that is ignored, as in a shell's background job, stays ignored.
    """
    latest = math.inf

    def handle(_number: int, frame: FrameType | None) -> None:
        nonlocal latest
        now = time.monotonic()
        latest = min(latest, now + PATIENCE)
        if _imports(frame) and now < latest:
            signal.signal(signal.SIGALRM, handle)
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
            return
        latest = math.inf
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handle)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, handle)


def _imports(frame: FrameType | None) -> bool:
    """Whether an import is under way in a stack of calls."""
    while frame is not None and frame.f_code.co_filename != _IMPORT:
        frame = frame.f_back
    return frame is not None
