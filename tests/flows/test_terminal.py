"""What the command line and the report show of hostile names."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx.core.datatype import DataType

from flows import build
from flows.cli import console, main, render, render_results
from flows.cli.render import _layers
from flows.facts.design import Layer
from flows.report import page
from flows.terminal import Terminal
from hw import finn
from hw.host.text import one_line, printable
from hw.ir import html
from hw.ir.graph import Graph, Node, Port
from hw.ir.stream import Stream
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_network.kernel import ConstantNetwork
from hw.kernels.constant_threshold.kernel import ConstantThreshold
from hw.kernels.fifo.kernel import Fifo
from hw.rtl.design import instances
from hw.simulation import verilator
from tests.builders.hostile_names import HOSTILE
from tests.builders.networks import perceptron

ROOT = Path(__file__).parents[2]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a wide terminal with colours receives from the tables."""
    file = io.StringIO()
    options = {"file": file, "force_terminal": True, "color_system": "truecolor"}
    monkeypatch.setattr(console, "Terminal", lambda width=0, **_: Terminal(width=20_000, **options))
    monkeypatch.setattr(console, "out", Terminal(width=20_000, **options))
    return file


def without_styles(text: str) -> str:
    """The text without the colours that rich writes, after which no control character may be left."""
    text = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert text.replace("\n", "").isprintable()
    return text


def test_names_in_tables_are_shown_as_they_are_and_printable(screen: io.StringIO) -> None:
    layers = [Layer(name=n, operator="fifo", PE=1, SIMD=1, cycles=1, parity=False, estimated=None) for n in HOSTILE]
    console.show(_layers(layers))
    lines = without_styles(screen.getvalue()).splitlines()[1:]
    assert len(lines) == len(HOSTILE)
    for name, line in zip(HOSTILE, lines, strict=True):
        assert line.startswith(one_line(name))


def test_parity_names_the_layers_without_a_memory() -> None:
    named = (("fc0", "constant_matrix", False), ("fc0_threshold", "constant_threshold", False),
             ("fc1", "matrix_vector", True), ("fc2", "matrix_vector", False))  # fmt: skip
    layers = [
        Layer(name=name, operator=operator, PE=1, SIMD=1, cycles=1, parity=parity, estimated=None)
        for name, operator, parity in named
    ]
    memories, *logic = render._parity(layers)
    assert memories == "memories of fc1"
    assert [line.split()[0] for line in logic] == ["fc0", "fc0_threshold"]
    assert all(line.endswith("has no memory to protect: its constants are logic") for line in logic)
    assert render._parity(layers[:2]) == []
    assert (ConstantMatrix.op, ConstantNetwork.op, ConstantThreshold.op) == render.LOGIC


def test_names_and_texts_of_tools_in_lines(screen: io.StringIO) -> None:
    given = {"declared": True, "values": 1, "fractions": 0, "out_of_range": 0, "codes": 1, "possible_codes": 2,
             "least": 0.0, "greatest": 1.0, "type": "UINT1", "doubtful": True}  # fmt: skip
    for name in HOSTILE:
        result = {"engine": "rtl", "frames": 1, "seconds": 0.5, "trace": name, "output": name}
        result["inputs"] = {**given, "name": name, "statement": f"input {name}: 1 value"}
        render_results.ran(result, {})
        render.diagnosis([{"name": name, "purpose": name, "needed": True, "found": None, "remedy": name}])
    shown = without_styles(screen.getvalue())
    assert shown.count("\n") == 6 * len(HOSTILE)
    assert "waveform [red]a[/]\n" in shown


@pytest.mark.parametrize("name", HOSTILE)
def test_an_error_is_one_printable_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.fail(f"no layer {name}; there are a and b", 2)
    said = capsys.readouterr().err
    assert said == f"error: {one_line(f'no layer {name}; there are a and b')}\n"
    assert said[:-1].isprintable()


class Texts(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_in_html_are_text() -> None:
    stream = Stream((4,), DataType["INT4"], 1)
    for name in HOSTILE:
        port = Port(name, "a", (4,), "int8"), Port(name, "b", (4,), "int8")
        graph = Graph((Node(name, Fifo(stream, 4), ("a",), ("b",)),), port[:1], port[1:])
        template = page.environment().from_string("{{ name }}{{ [name] | join(', ') }}{{ table | safe }}")
        shown = Texts(template.render(name=name, table=html.table(graph)))
        assert not shown.tags & {"script", "a", "module"}
        assert shown.text.count(printable(name)) >= 5
        assert shown.text.replace("\n", "").isprintable()


def test_nobody_writes_markup_or_prints_past_the_terminal() -> None:
    for path in sorted((ROOT / "flows").rglob("*.py")):
        text = path.read_text()
        assert not re.search(r"\[/\]|\[/?(bold|red|green|yellow|dim)\b", text), f"{path}: markup is not interpreted"
        assert path.name == "terminal.py" or "rich.console" not in text, f"{path}: use flows.terminal"


def test_a_build_of_a_graph_with_hostile_names(tmp_path: Path, screen: io.StringIO) -> None:
    graph = finn.adapted(perceptron(np.random.default_rng(0), [8, 8, 8, 4], [("INT4", "INT2")] * 3))
    model = finn.write(graph)
    names = ["module", "a;b", "[/x]<script>alert(1)</script>", "a.b", "a_b"]
    for node, name in zip((node for node in model.graph.node if node.domain), names, strict=True):
        node.name = name
    for node in model.graph.node:
        node.input[:] = ["[red]in<b>" if name == "x" else name for name in node.input]
        node.output[:] = ["out;`include" if name == "y" else name for name in node.output]
    model.graph.input[0].name, model.graph.output[0].name = "[red]in<b>", "out;`include"
    onnx.save(model, tmp_path / "m.onnx")
    made = build(tmp_path / "m.onnx", "ulx3s-12f", tmp_path / "[red]{{ 7 * 7 }}", fps=1e5, stop_after="rtl")
    assert [layer.name for layer in made.report.layers] == names
    assert list(instances(made.implementation.hardware).values()) == [
        "u0_module", "u1_a_b_2", "u2_n___x__script_alert_1___script_", "u3_a_b_3", "u4_a_b"
    ]  # fmt: skip
    verilator.lint(made.implementation.rtl)
    render.built(made)
    shown = without_styles(screen.getvalue())
    assert all(name in shown for name in names)
    page = Texts(made.write_report(None).read_text())
    assert "script" not in page.tags
    assert all(name in page.text for name in names)
    assert "[red]in<b>" in page.text
