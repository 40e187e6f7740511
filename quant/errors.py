"""The error type of the training side."""

from importlib.util import find_spec

EXTRA = ("torch", "brevitas", "lightning", "sklearn")
"""Modules of the extra ``train``, which all of ``quant`` requires."""


class QuantError(Exception):
    """An error that the user can correct. The message is one line: what is wrong, why, and what to do instead.

    The counterpart of ``hw.host.errors.BitfabricError`` (``quant`` imports nothing from ``hw``); the command line
    reports both without a traceback. ``status`` is the exit status: 1 if the work failed, 2 if the request was invalid
    (bad name, file or option).
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class QuantWarning(UserWarning):
    """A warning about a training: what is suspect, and what to do."""


def require_training() -> None:
    """Raises QuantError if the packages of the extra ``train`` are not installed."""
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        raise QuantError(f"training needs {missing[0]}, which is not installed: pip install 'bitfabric[train]'")
