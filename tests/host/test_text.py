"""Text for the user: one printable line, whatever it is made of."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.host.errors import BitfabricError, ToolError, UsageError
from hw.host.text import MAX_LINE, one_line, printable
from tests.builders.hostile_names import HOSTILE

pytestmark = pytest.mark.quick

anything = st.text(st.characters(exclude_categories=())) | st.sampled_from(HOSTILE)


@given(anything)
def test_no_control_character_remains(text: str) -> None:
    for line in (one_line(text), *printable(text).replace("\t", "").split("\n"), *BitfabricError(text).args):
        assert all(unicodedata.category(c)[0] not in "C" for c in line)
        assert line.isprintable()
        line.encode()
    assert len(one_line(text)) <= MAX_LINE


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=200))
def test_printable_text_remains_as_it_is(text: str) -> None:
    assert one_line(text) == printable(text) == str(UsageError(text)) == text


def test_what_is_shown_instead() -> None:
    assert one_line("a\x1b[31m\n  b\u202e\r\n\udcff\x9b") == r"a\x1b[31m b\u202e \udcff\x9b"
    assert printable("a\tb\nc\x07") == "a\tb\nc\\x07"
    assert str(ToolError("it failed:\n  line 2\n")) == "it failed: line 2"
    line = one_line("n" * 5000 + "!")
    assert line.endswith("!")
    assert " ... " in line
