"""Any name becomes an identifier that no language takes for anything else, and different names different ones."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.fabric.identifiers import KEYWORDS, MAX_LENGTH, identifier, identifiers
from hw.fabric.toolchain import Pin
from tests.builders.hostile_names import HOSTILE

pytestmark = pytest.mark.quick

anything = st.text(st.characters(exclude_categories=())) | st.sampled_from(HOSTILE) | st.sampled_from(sorted(KEYWORDS))


def is_safe(text: str) -> bool:
    return bool(re.fullmatch(rf"[A-Za-z][A-Za-z0-9_]{{0,{MAX_LENGTH}}}", text)) and text.lower() not in KEYWORDS


@given(st.lists(anything, max_size=30))
def test_identifiers_are_safe_and_different(names: list[str]) -> None:
    found = identifiers(names)
    assert set(found) == set(names)
    assert all(map(is_safe, found.values()))
    assert len(set(found.values())) == len(found)
    assert all(found[name] == name for name in names if identifier(name) == name)


usual = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,30}", fullmatch=True).filter(lambda name: name.lower() not in KEYWORDS)


@given(st.lists(usual))
def test_usual_names_remain(names: list[str]) -> None:
    assert identifiers([*HOSTILE, *names]).items() >= dict(zip(names, names, strict=True)).items()


def test_what_names_become() -> None:
    assert identifiers(["conv0", "a.b", "a_b", "a/b", "Module", "9lives", "schön", "", "🔥"]) == {
        "conv0": "conv0", "a.b": "a_b_2", "a_b": "a_b", "a/b": "a_b_3", "Module": "Module_", "9lives": "n_9lives",
        "schön": "sch_n", "": "n_", "🔥": "n__",
    }  # fmt: skip
    assert identifiers(["class", "class_"], prefixed=True) == {"class": "class", "class_": "class_"}
    assert identifiers(["class", "class_"]) == {"class": "class__2", "class_": "class_"}
    assert len(set(identifiers("n" * length for length in (5000, 5001, 5002)).values())) == 3
    assert {"module", "entity", "int", "signal", "endmodule", "template"} <= KEYWORDS


@pytest.mark.parametrize("name", HOSTILE)
def test_a_constraint_file_refuses_what_is_no_word(name: str) -> None:
    for pin in ({"port": name}, {"site": name}, {"io": name}):
        given = {"port": "a", "site": "A1", "io": "LVCMOS33"} | pin
        if not re.fullmatch(r"\w+", name, re.ASCII) or ("port" in pin and name[0].isdigit()):
            with pytest.raises(ValueError, match="constraint file"):
                Pin(**given)
        else:
            Pin(**given)
