"""The errors that a user is meant to read."""


class BitfabricError(Exception):
    """A fault that the user can mend: one line that names the thing, why, and what to do instead.

    The command line prints it without a traceback and ends with exit status 1.
    """

    status = 1
    """Exit status of the command line."""


class UsageError(BitfabricError):
    """A request that was wrong from the start: a bad file, name or option. The command line ends with exit status 2."""

    status = 2
