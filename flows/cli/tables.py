"""Tables for terminals of any width. No word and no number is broken; names break behind ``_``, ``.``, ``/``, ``-``."""

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from hw.host.text import one_line

GAP = 2
"""Columns of characters between two columns."""

INDENT = 4
"""Indentation of the second line of a row that takes two."""

WORDS = frozenset(
    ("layer", "estimated", "from", "in FINN", "operator", "board", "name", "engine", "purpose", "status", "device",
     "licence", "network", "label \\ class", "module", "step", "file", "network", "")
)  # fmt: skip
"""Headings of columns of names and texts, which are on the left and may break; those of numbers are on the right."""

_PIECE = re.compile(r"[^\s_./\-]*(?:[_./\-]+|\s+|$)")
_WORD = re.compile(r"\S*(?:\s+|$)")


def wrapped(text: Text, width: int, names: bool = False) -> list[Text]:
    """``text`` in lines of at most ``width`` characters; with ``names``, longer words break behind ``_ . / -``.

    A piece that is longer is a line of its own.
    """
    cuts, start, used = [], 0, 0
    for word in _WORD.findall(text.plain):
        whole = not names or cell_len(word.rstrip()) <= width
        for piece in (word,) if whole else _PIECE.findall(word):
            if piece and used and used + cell_len(piece.rstrip()) > width:
                cuts.append(start)
                used = 0
            used += cell_len(piece)
            start += len(piece)
    lines = list(text.divide(cuts)) if cuts else [text]
    for line in lines:
        line.rstrip()
    return lines


def longest_piece(text: Text) -> int:
    """The least width in which no word is broken."""
    return max((cell_len(found.group().rstrip()) for found in _PIECE.finditer(text.plain)), default=0)


class Table:
    """A table of names and numbers with the headings ``columns``. Strings are shown as one printable line each."""

    def __init__(self, *columns: str) -> None:
        self.words = [column in WORDS for column in columns]
        self.heading = [Text(column, style="bold") for column in columns]
        self.rows: list[list[Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """Add a row of as many cells as there are columns."""
        row = [cell.copy() if isinstance(cell, Text) else Text(one_line(cell)) for cell in cells]
        self.rows.append([*row, *(Text() for _ in self.heading[len(row) :])])

    def lines(self, width: int | None) -> list[Text]:
        """The table in lines of at most ``width`` characters, or as wide as it is. A table without rows has none.

        Names that are too long break; where that does not suffice, the names of a row stand above its numbers.
        """
        if not self.rows:
            return []
        columns = list(zip(self.heading, *self.rows, strict=True))
        widths = [max(cell.cell_len for cell in column) for column in columns]
        if width is not None:
            least = [
                max(map(longest_piece, column)) if breaks else size
                for column, size, breaks in zip(columns, widths, self.words, strict=True)
            ]
            room = width - GAP * (len(widths) - 1)
            if sum(least) > room:
                return list(self._stacked(widths, width))
            while sum(widths) > room:
                most = max((i for i in range(len(widths)) if widths[i] > least[i]), key=lambda i: widths[i])
                widths[most] -= 1
        return [line for row in (self.heading, *self.rows) for line in self._row(row, widths)]

    def _row(self, row: Sequence[Text], widths: Sequence[int], indent: int = 0) -> Iterator[Text]:
        cells = [
            wrapped(cell, size, names=True) if breaks else [cell]
            for cell, size, breaks in zip(row, widths, self.words, strict=True)
        ]
        for i in range(max(map(len, cells), default=0)):
            line = Text(" " * indent)
            for cell, size, breaks in zip(cells, widths, self.words, strict=True):
                part = cell[i] if i < len(cell) else Text()
                space = " " * (size - part.cell_len)
                line.append_text(part + space if breaks else Text(space) + part)
                line.append(" " * GAP)
            line.rstrip()
            yield line

    def _stacked(self, widths: Sequence[int], width: int) -> Iterator[Text]:
        numbers = [i for i, breaks in enumerate(self.words) if not breaks]
        if any(self.words) and not numbers:  # Texts: the first names the row, the others follow.
            for row in self.rows:
                yield from wrapped(row[0], width, names=True)
                for cell in row[1:]:
                    for line in wrapped(cell, width - INDENT, names=True):
                        yield Text(" " * INDENT) + line
            return
        for row in (self.heading, *self.rows):
            yield from self._names(row, widths, width)
            line = Text(" " * INDENT)
            for i in numbers:
                space = " " * (widths[i] - row[i].cell_len)
                if line.cell_len + widths[i] > width and line.plain.strip():
                    line.rstrip()
                    yield line
                    line = Text(" " * INDENT)
                line.append_text(Text(space) + row[i] + Text(" " * GAP))
            line.rstrip()
            yield line

    def _names(self, row: Sequence[Text], widths: Sequence[int], width: int) -> Iterator[Text]:
        """The names of a stacked row, in columns where these fit beside each other."""
        columns = [(cell, size) for cell, size, breaks in zip(row, widths, self.words, strict=True) if breaks]
        if sum(size + GAP for _, size in columns) - GAP > width:
            yield from wrapped(Text(" " * GAP).join(cell for cell, _ in columns if cell.plain), width, names=True)
            return
        line = Text()
        for cell, size in columns:
            line.append_text(cell + Text(" " * (size - cell.cell_len + GAP)))
        line.rstrip()
        yield line
