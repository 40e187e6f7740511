"""Consoles for output that contains names from files, and text from tools."""

from typing import Any

from rich.console import Console
from rich.text import Text

from hw.host.text import printable


class Terminal(Console):
    """A console that interprets no markup and no emoji codes in strings, and shows control characters as escapes.

    For styled output there are ``rich.text.Text`` and the argument ``style`` of ``print``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **(options | {"markup": False, "emoji": False}))
