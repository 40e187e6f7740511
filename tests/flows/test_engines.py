"""The one registry of engines."""

from pathlib import Path

import pytest

from flows.engines import ENGINES, find_engine
from hw.host.errors import UsageError


def test_every_engine_is_a_module_of_its_name():
    for name in ENGINES:
        found = find_engine(name)
        assert found.name == name
        assert found.traits.title
        assert found.traits.what
    folder = Path(__file__).parents[2] / "flows" / "engines"
    assert {*ENGINES} == {p.stem for p in folder.glob("*.py")} - {"__init__", "engine", "program"}


def test_unknown_engines_are_refused():
    with pytest.raises(
        UsageError, match="no engine nix; there are qonnx, onnxruntime, finn, emulator, rtl, netlist, board"
    ):
        find_engine("nix")


def test_traits():
    assert [name for name in ENGINES if find_engine(name).traits.waveform] == ["rtl"]
    assert [name for name in ENGINES if find_engine(name).traits.on_board] == ["board"]
    assert [name for name in ENGINES if find_engine(name).difference is None] == ["netlist", "board"]
