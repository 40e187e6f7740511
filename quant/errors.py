"""The error type of the training side."""

from importlib.util import find_spec

EXTRA = ("torch", "brevitas", "lightning", "sklearn")
"""Modules of the extra ``train``, without which nothing of ``quant`` works."""


class QuantError(Exception):
    """A fault that the user can mend: one line that names the thing, why, and what to do instead.

    The same kind of error as ``hw.host.errors.BitfabricError`` (``quant`` imports nothing of ``hw``); the command line
    reports both without a traceback. ``status`` is the exit status: 1 for work that failed, 2 for a request that
    was wrong from the start (bad name, file or option).
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def require_training() -> None:
    """Raises QuantError where the packages of the extra ``train`` are not installed."""
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        raise QuantError(f"training needs {missing[0]}, which is not installed: pip install 'bitfabric[train]'")
