"""The one error type that a user is meant to read."""


class BitfabricError(Exception):
    """A fault that the user can mend: one line that names the thing, why, and what to do instead.

    Everything the command line reports without a traceback is one of these. ``status`` is the exit
    status: 1 for work that failed, 2 for a request that was wrong from the start (bad file, name or option).
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
