"""The errors that a user is meant to read."""

from collections.abc import Sequence
from difflib import get_close_matches

from .text import one_line


class BitfabricError(Exception):
    """A fault that the user can mend: one line that names the thing, why, and what to do instead.

    The message is made printable (``one_line``), because it may contain names of files and nodes, and what a tool said.
    The command line prints it without a traceback and ends with exit status 1.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message))

    status = 1
    """Exit status of the command line."""


class UsageError(BitfabricError):
    """A request that was wrong from the start: a bad file, name or option. The command line ends with exit status 2."""

    status = 2


class ToolError(BitfabricError):
    """A program of this machine that is missing or that failed. It says nothing about the model at hand."""


def unknown(what: str, name: str, known: Sequence[str]) -> UsageError:
    """The error for a name that is not among the ``known`` ones, with the nearest of them."""
    near = get_close_matches(name.lower(), known, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return UsageError(f"no {what} {name!r}; {hint}")
