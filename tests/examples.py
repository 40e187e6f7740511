"""The examples of the documentation: commands and Python of the README, the site's pages, notebooks and helps."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`(bitfabric [^`\n]+)`")


@dataclass(frozen=True)
class Example:
    """A command with its words (the first is ``bitfabric``), or a piece of Python; ``place`` is its file and line."""

    place: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


@cache
def pages() -> dict[str, str]:
    """The Markdown of every page, by its path in the repository; that of a notebook is its cells of text."""
    found = {}
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        found[str(path.relative_to(ROOT))] = path.read_text()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "markdown"]
        found[str(path.relative_to(ROOT))] = "\n\n".join("".join(cell["source"]) for cell in cells)
    return found


def blocks(page: str, *languages: str) -> Iterator[Example]:
    """The fenced blocks of a page in these languages (``""``: without one)."""
    text = pages()[page]
    for found in _BLOCK.finditer(text):
        if found[2] in languages:
            body = "".join(line.removeprefix(found[1]) for line in found[3].splitlines(keepends=True))
            yield Example(f"{page}:{text[: found.start()].count(chr(10)) + 2}", body)


def commands(page: str) -> Iterator[Example]:
    """The commands ``bitfabric ...`` in the blocks of a page: of a line, or of several that end in a backslash."""
    for block in blocks(page, "", "bash", "console", "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            for part in re.split(r" && | \|\| ?| \| ", line.split(" # ")[0].removeprefix("$ ")):
                if part.strip().startswith("bitfabric "):
                    yield Example(block.place, part.strip())


def spans(page: str) -> Iterator[Example]:
    """The commands in the text of a page, between single backquotes. They may lack required arguments."""
    text = _BLOCK.sub(lambda found: "\n" * found[0].count("\n"), pages()[page])
    for found in _SPAN.finditer(text):
        yield Example(f"{page}:{text[: found.start()].count(chr(10)) + 1}", found[1])


def helps() -> Iterator[Example]:
    """The examples in the helps of the commands."""
    from flows.cli import help as helps

    for name, command in program().commands.items():
        for _, examples in helps.description(command)[1]:
            yield from (Example(f"bitfabric {name} --help", example) for example in examples)


@cache
def program() -> Any:
    """The command-line program, as Click's group."""
    from typer.main import get_command

    from flows.cli.main import app

    return get_command(app)


def parse(example: Example) -> tuple[str, dict[str, Any]]:
    """The name of the command of an example and its arguments. Raises Click's usage errors, and typer.Exit for
    ``--list`` and its kin."""
    group = program()
    context = group.make_context("bitfabric", [], resilient_parsing=True)
    name, command, rest = group.resolve_command(context, example.words[1:])
    return name, command.make_context(name, rest, parent=context).params
