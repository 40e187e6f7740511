"""The terminal of the commands: tables, and lines that several commands print."""

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from flows.build_report import Inputs
from flows.terminal import Terminal
from hw.host.text import one_line

out = Terminal()

FOLDED = 12
"""Minimum width, in characters, of a column of names in a terminal that is too narrow for the table."""


class LineTable(Table):
    """A table whose strings are one printable line each."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*(one_line(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def table(*columns: str) -> Table:
    """Return an empty table; columns of names are on the left, those of numbers on the right."""
    made = LineTable(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        left = column in (
            "layer",
            "estimated",
            "from",
            "in FINN",
            "operator",
            "board",
            "name",
            "engine",
            "purpose",
            "status",
            "device",
            "",
        )
        made.add_column(column, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    return made


def show(table: Table) -> None:
    """Print a table completely: a narrow terminal wraps names but not numbers; a pipe gets the full width."""
    columns = table.columns
    cells = [[column.header, *column._cells] for column in columns]
    gap = table.padding[1] + table.padding[3]
    widths = [max(cell_len(str(cell)) for cell in texts) + gap for texts in cells]
    folded = [size if column.no_wrap else min(size, FOLDED) for size, column in zip(widths, columns, strict=True)]
    width = max(out.width, sum(folded)) if out.is_terminal else max(out.width, sum(widths))
    Terminal(width=width).print(table)


def number(value: float | int | None, form: str = ",") -> str:
    return "-" if value is None else format(value, form)


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings, each in a line."""
    for warning in warnings:
        out.print(Text(one_line(f"warning: {warning}"), style="yellow"), soft_wrap=True)


def print_inputs(inputs: Inputs | None) -> None:
    """Print what became of the values of the frames, in yellow where that is doubtful."""
    if inputs is not None:
        out.print(one_line(inputs.statement), style="yellow" if inputs.doubtful else None, soft_wrap=True)
