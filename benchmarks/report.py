"""What a benchmark leaves: a table on the terminal and ``build/bench/NAME.json``."""

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, numbers with thousands separators."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = 120  # a pipe says 80, which cuts names off
    console.print(table)


def markdown(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a section with the same table."""
    head = [f"## {title}", "", f"| {' | '.join(columns)} |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    cells = ([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows)
    return [*head, *(f"| {' | '.join(row)} |" for row in cells), ""]


def save(name: str, results: dict[str, Any]) -> None:
    """Write ``results`` with the machine and the time."""
    folder = Path("build/bench")
    folder.mkdir(parents=True, exist_ok=True)
    about = {"machine": platform.machine(), "python": platform.python_version(), "when": datetime.now(UTC).isoformat()}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**results, "about": about}, indent=2) + "\n")
    print(f"written to {path}")
