"""Tables and helps in terminals of any width."""

import re
import shutil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text

from flows.cli import help as helps
from flows.cli.main import app
from flows.cli.tables import Table

WIDTHS = (60, 80, 160)
WORD = st.text(st.sampled_from("abcx019"), min_size=1, max_size=12)
NAME = st.lists(WORD, min_size=1, max_size=4).flatmap(
    lambda words: st.sampled_from("_./ -").map(lambda between: between.join(words))
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(NAME, NAME, st.integers(0, 10**9), st.integers(0, 999)), min_size=1, max_size=4),
    st.sampled_from((20, 40, *WIDTHS)),
)
def test_no_word_and_no_number_is_broken(rows: list[tuple[str, str, int, int]], width: int) -> None:
    table = Table("layer", "operator", "cycles", "LUT")
    for first, second, cycles, lut in rows:
        table.add_row(first, second, f"{cycles:,}", f"{lut:,}")
    lines = [line.plain for line in table.lines(width)]
    shown = " ".join(lines)
    for row in rows:
        for name in row[:2]:
            assert all(re.search(rf"(?<![a-z0-9]){word}(?![a-z0-9])", shown) for word in re.split(r"[_./ -]", name))
        assert all(f"{count:,}" in shown for count in row[2:])
    assert [line.rstrip() for line in lines] == lines
    assert all(len(line) <= width for line in lines)
    assert len(table.lines(None)) == len(rows) + 1


def test_a_table_of_texts_that_does_not_fit_has_them_below_each_other() -> None:
    table = Table("name", "status")
    assert table.lines(10) == []
    table.add_row("nextpnrecpfive", Text.assemble(("ok", "green"), " yowasp"))
    assert [line.plain for line in table.lines(12)] == ["nextpnrecpfive", "    ok", "    yowasp"]


def commands() -> dict[str, tuple[Any, Any]]:
    """The program and its commands, each with the context of a call."""
    from typer.main import get_command

    group: Any = get_command(app)
    context = group.make_context("bitfabric", [], resilient_parsing=True)
    made = {"": (group, context)}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        made[name] = command, command.make_context(name, [], parent=context, resilient_parsing=True)
    return made


@pytest.mark.parametrize("width", WIDTHS)
def test_helps_are_whole_in_every_width(width: int) -> None:
    for name, (command, context) in commands().items():
        said = re.sub(r"\x1b\[\d*m", "", helps.text(command, context, width))
        lines = said.splitlines()
        wide = [line for line in lines if len(line) > width and " " in line.strip().replace(" \\", "")]
        assert not wide, name
        assert "<" not in re.sub(r"fixed<\d+,\d+(,\w+)?>", "", said), name
        for parameter in command.get_params(context):
            assert all(
                re.search(rf"(?<![\w-]){option}(?![\w-])", said) for option in parameter.opts if option[0] == "-"
            )


def test_help_is_at_most_a_hundred_characters_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: type("Size", (), {"columns": 300}))
    for command, context in commands().values():
        assert max(map(len, re.sub(r"\x1b\[\d*m", "", command.get_help(context)).splitlines())) <= helps.WIDEST
