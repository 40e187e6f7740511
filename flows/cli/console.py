"""The terminal of the commands: tables, and lines that several commands print."""

from collections.abc import Iterable, Sequence

from rich.text import Text

from flows.cli.tables import Table, wrapped
from flows.facts.checks import Inputs
from flows.terminal import Terminal
from hw.host.text import one_line

out = Terminal()


def _lines(lines: Iterable[Text]) -> None:
    for line in lines:
        out.print(line, soft_wrap=True)


def show(table: Table) -> None:
    """Print a table completely: in the terminal's width, or in a pipe as wide as it is."""
    _lines(table.lines(out.width if out.is_terminal else None))


def say(text: str | Text, style: str | None = None) -> None:
    """Print a text: wrapped between words in a terminal, in a pipe as one line."""
    line = text.copy() if isinstance(text, Text) else Text(text)
    if style:
        line.stylize(style)
    _lines(wrapped(line, out.width) if out.is_terminal else [line])


def facts(rows: Iterable[tuple[str, str]]) -> None:
    """Print names with what is said of each, one below the other; a row without a name goes on with the one before."""
    listed = [(Text(name, style="bold"), Text(one_line(said))) for name, said in rows]
    column = max((name.cell_len for name, _ in listed), default=0) + 2
    for name, said in listed:
        first, *rest = wrapped(said, out.width - column) if out.is_terminal else [said]
        name.append(" " * (column - name.cell_len))
        _lines([name + first, *(Text(" " * column) + line for line in rest)])


def paths(rows: Iterable[tuple[str, object]]) -> None:
    """Print names with paths, one below the other; no path is broken, so that it can be copied."""
    listed = [(name, one_line(path)) for name, path in rows]
    column = max((len(name) for name, _ in listed), default=0) + 2
    _lines(Text(f"{name:<{column}}{path}") for name, path in listed)


def number(value: float | int | None, form: str = ",") -> str:
    return "-" if value is None else format(value, form)


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun, as "1 frame" and "2 frames"."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings, each in a line."""
    for warning in warnings:
        say(one_line(f"warning: {warning}"), style="yellow")


def print_inputs(inputs: Inputs | None) -> None:
    """Print what became of the values of the frames, in yellow where that is doubtful."""
    if inputs is not None:
        say(one_line(inputs.statement), style="yellow" if inputs.doubtful else None)
