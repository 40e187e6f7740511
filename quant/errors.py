"""The error type of the training side."""


class QuantError(Exception):
    """A fault that the user can mend: one line that names the thing, why, and what to do instead.

    The same kind of error as ``hw.host.errors.BitfabricError`` (``quant`` imports nothing of ``hw``); the command line
    reports both without a traceback. ``status`` is the exit status: 1 for work that failed, 2 for a request that
    was wrong from the start (bad name, file or option).
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
