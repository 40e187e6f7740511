"""What the parts of the campaign share: the count of outcomes, and the figures in ``docs/reliability.md``."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


@dataclass
class Part:
    """The result of one part: a table, and the cases that ended as none may.

    ``wrong`` describes these cases, one line each; a campaign without faults has none. ``notes`` are sentences
    below the table.
    """

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, outcomes: Counter[str]) -> None:
        """A row of counts: the name, all cases, then those of each further column."""
        self.rows.append((name, outcomes.total(), *(outcomes[column] for column in self.columns[2:])))

    def to_json(self) -> dict[str, Any]:
        """The part as JSON-able values."""
        return {"columns": self.columns, "rows": self.rows, "notes": self.notes, "wrong": self.wrong}

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        texts = [" | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in line) for line in lines]
        return "\n".join([*(f"| {text} |" for text in texts), *(f"\n{note}" for note in self.notes)])


def write(part: Part, page: Path = PAGE) -> None:
    """Write the table of a part between its marks in the page. Raises ValueError where the page lacks them."""
    text = page.read_text()
    begin, end = f"<!-- {part.name} -->\n", f"<!-- end of {part.name} -->"
    found = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    if not found.search(text):
        raise ValueError(f"{page} has no marks of the part {part.name}")
    page.write_text(found.sub(lambda _: begin + part.markdown() + "\n\n" + end, text))
