"""Tables of reports, as text on a terminal and as HTML in a notebook."""

import html
from collections.abc import Sequence

__all__ = ["html_table", "text_table"]


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]], conclusion: str) -> str:
    """Returns a table in lines, the first two columns on the left, the others on the right, and ``conclusion``."""
    cells = [list(columns), *rows]
    sizes = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(size) if i < 2 else cell.rjust(size)
            for i, (cell, size) in enumerate(zip(row, sizes, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([*lines, conclusion])


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], conclusion: str) -> str:
    """Returns the same as HTML; texts are escaped, and the names in the first column stay in one line."""

    def line(cells: Sequence[str], tag: str) -> str:
        whole = (' style="white-space:nowrap;text-align:left"', *("" for _ in cells[1:]))
        made = (f"<{tag}{style}>{html.escape(cell)}</{tag}>" for cell, style in zip(cells, whole, strict=True))
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table>{line(columns, 'th')}{body}</table><p>{html.escape(conclusion)}</p>"
