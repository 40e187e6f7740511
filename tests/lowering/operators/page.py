"""The tables of docs/what-can-be-read.md, made of the rows: ``python -m tests.lowering.operators.page`` writes them."""

import re
from itertools import groupby
from pathlib import Path

import onnx

from hw.lowering.constant_folding import OPERATORS
from tests.lowering.operators.row import Row
from tests.lowering.operators.table import ROWS, SECTIONS

PAGE = Path(__file__).parents[3] / "docs" / "what-can-be-read.md"


def page(text: str) -> str:
    """The page ``text`` with its tables made anew."""
    for title, rows in SECTIONS.items():
        text = _replaced(text, title, _table(rows))
    text = _replaced(text, "Constants", _listed(sorted(OPERATORS)))
    return _replaced(text, "Not read", _listed(_unread()))


def _replaced(text: str, title: str, content: str) -> str:
    begin, end = f"<!-- {title} -->", f"<!-- end of {title} -->"
    made, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{content}\n{end}", text, flags=re.S)
    assert count == 1, f"{PAGE.name} lacks the markers of {title}"
    return made


def _table(rows: tuple[Row, ...]) -> str:
    lines = ["| operator | versions | conditions | result |", "| --- | --- | --- | --- |"]
    for key, same in groupby(sorted(rows, key=_key), _key):
        group = list(same)
        versions = sorted({version for row in group for version in row.versions})
        conditions = list(dict.fromkeys(row.condition for row in group if row.condition))
        results = list(dict.fromkeys(row.exactness for row in group))
        name = f"`{key[1]}`" if not key[0] else f"`{key[1]}`<br>`{key[0]}`"
        cells = name, ", ".join(map(str, versions)), "; ".join(conditions), "; ".join(results)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _key(row: Row) -> tuple[str, str]:
    return row.domain, row.op


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) + "."


def _unread() -> list[str]:
    """The operators of ONNX's standard in these operator sets that no row and no constant has."""
    known = {row.op for row in ROWS if not row.domain} | set(OPERATORS)
    schemas = (each for each in onnx.defs.get_all_schemas() if not each.domain and not each.deprecated)
    return sorted({each.name for each in schemas} - known)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
