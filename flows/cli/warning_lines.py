"""Warnings as lines of the terminal."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hw.host.text import one_line
from quant.errors import QuantWarning


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Context in which warnings of a training are lines on standard error, without a place in the code."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if not issubclass(category, QuantWarning):
            shown(message, category, *place)
            return
        from rich.text import Text

        from flows.terminal import Terminal

        line = Text(one_line(f"warning: {message}"), style="yellow")
        Terminal(stderr=True, soft_wrap=True).print(line)

    with warnings.catch_warnings():
        warnings.simplefilter("always", QuantWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield
