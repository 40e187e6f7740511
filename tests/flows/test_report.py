import json
import re
from html.parser import HTMLParser

import numpy as np
import onnx
import pytest

from flows import build
from flows.cli.building import open_report
from flows.report import compare, figures, floorplan
from hw.host.errors import BitfabricError, UsageError
from hw.timing import cycles
from tests.builders.qonnx_builder import Builder
from tests.flows.browser import layout


@pytest.fixture(scope="module")
def branched(tmp_path_factory):
    """A build, up to synthesis, of a network with two branches."""
    folder = tmp_path_factory.mktemp("branched")
    rng = np.random.default_rng(3)
    made = Builder((1, 16))

    def layer(x, inputs, outputs):
        x = made.node("MatMul", x, made.quant(rng.normal(size=(inputs, outputs)), 0.5, 3, narrow=1))
        return made.quant(x, 2.0, 3, signed=0)

    x = layer(made.quant("x", 1.0, 4, signed=0), 16, 8)
    x = made.node("Add", layer(x, 8, 8), layer(layer(x, 8, 8), 8, 8))
    x = made.node("MatMul", x, made.quant(rng.normal(size=(8, 4)), 0.5, 3, narrow=1))
    onnx.save(made.model((x, (1, 4))), folder / "model.onnx")
    np.save(folder / "x.npy", rng.integers(0, 16, (64, 16)).astype(np.float32))
    np.save(folder / "y.npy", rng.integers(0, 4, 64))
    options = {"frames": folder / "x.npy", "labels": folder / "y.npy", "rtl_frames": 4, "compare_finn": True}
    return build(folder / "model.onnx", "ulx3s-12f", folder / "out", fps=3e6, stop_after="synthesise", **options)


class Page(HTMLParser):
    """The elements of a page: that it nests, ids, texts by section, addresses."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.ids, self.addresses, self.texts = [], [], [], {}
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.addresses += [given[key] for key in ("href", "src") if key in given]
        if tag not in ("meta", "col", "br"):
            self.stack.append((tag, given.get("id")))

    def handle_startendtag(self, tag, attributes):
        self.addresses += [value for key, value in attributes if key in ("href", "src")]

    def handle_endtag(self, tag):
        assert self.stack.pop()[0] == tag

    def handle_data(self, data):
        section = next((name for tag, name in self.stack if tag == "section"), None)
        self.texts[section] = self.texts.get(section, "") + data


def test_the_page_says_what_the_build_found(branched):
    text = branched.write_report().read_text()
    page, facts = Page(text), branched.report
    sections = {"network", "timeline", "limits", "fifos", "verified", "classes", "estimate", "finn", "again"}
    sections -= set() if facts.fifos else {"fifos"}
    assert set(page.ids) == sections
    assert all(address.startswith("#") and address[1:] in sections for address in page.addresses)
    assert not re.search(r"https?://|@import|url\(", text)  # it stands alone
    for node in branched.hardware:
        for section in ("network", "timeline", "limits"):
            assert node.name in page.texts[section], (node.name, section)
    for node in branched.graph:
        if node.kernel.op == "matrix_vector":
            assert node.kernel.weight_dtype.name in page.texts["network"]
    for name, count in facts.resources:
        assert f"{name.upper()}" in page.texts["estimate"]
        assert f"{count.estimated:,}" in page.texts["estimate"]
    assert "64 frames, 0 of " in page.texts["verified"]
    assert "4 frames, 0 of " in page.texts["verified"]
    assert page.texts["verified"].count("not run in this build") == 1
    assert facts.model.sha256 in page.texts["again"]
    assert "--folding" in page.texts["again"]
    for layer in facts.finn.layers:
        assert layer.name in page.texts["finn"]
    assert re.search(r"↳ fc0 \(\w+\) \+ fc0_threshold", page.texts["finn"])
    for name, version in facts.tools.items():
        assert name in page.texts["again"]
        assert version in page.texts["again"]


def test_the_figures_are_the_cycle_model(branched):
    trace = cycles.steady(branched.hardware)
    window = figures.Window(trace)
    for node, strip in zip(branched.hardware, figures.timeline(trace, window), strict=True):
        first, last = trace.taken[node.inputs[0]], trace.taken[node.outputs[-1]]
        assert strip.bars[0].start == window.percent(min(trace.taken[edge][0] for edge in node.inputs))
        assert 0 <= strip.bars[-1].start + strip.bars[-1].size <= 100.01
        assert len(strip.bars) == min(3, trace.frames) <= len(first) <= len(trace.taken[node.inputs[0]])
        assert last.max() <= window.cycles or trace.frames > window.frames
    for strip in figures.accounts(trace):
        assert abs(sum(bar.size for bar in strip.bars) - 100) < 0.01
    for fifo in figures.occupancies(branched.hardware, trace, window):
        assert 0 < fifo.peak <= fifo.depth
    numbers = [tick.cycle for tick in window.ticks()]
    assert numbers[0] == 0
    assert 4 <= len(numbers) <= 11


def test_nothing_overlaps_in_a_browser(branched, tmp_path):
    page = branched.write_report(tmp_path / "report.html")
    for width, dark in ((400, False), (1400, True)):
        seen = layout(page, width, dark)
        assert seen["width"] == width
        assert seen["overflow"] <= 0
        assert seen["texts"] > 100
        assert (seen["overlapping"], seen["beyond"], seen["empty"]) == ([], [], [])
        assert (seen["ground"] < 0.2, seen["ink"] > 0.8) == (dark, dark)


def test_objects_show_themselves_in_a_notebook(branched):
    for shown in (branched.graph._repr_html_(), branched._repr_html_()):
        Page(shown)
        for node in branched.graph:
            assert node.name in shown
    assert "64 frames" in branched._repr_html_()


def test_several_builds_in_one_page(branched, small, tmp_path):
    folders = [branched.folder]
    for fps in (1e5, 1e6):
        folders.append(tmp_path / f"{fps:g}")
        build(small / "model.onnx", "icebreaker", folders[-1], fps=fps, stop_after="fold")
    out = compare(folders, tmp_path / "compared.html")
    page = Page(out.read_text())
    rows = page.texts["builds"]
    assert all(str(folder) in rows for folder in folders)
    assert rows.count("synthesised") == 1
    assert rows.count("estimated") == 2
    assert f"{branched.report.resources.lut.used:,}" in rows
    assert not page.addresses
    for width in (400, 1300):
        seen = layout(out, width)
        assert seen["overflow"] <= 0
        assert not seen["beyond"] + seen["empty"]
    for wrong, said in (([folders[0]] * 2, "given twice"), ([folders[0], tmp_path], "no finished build")):
        with pytest.raises(UsageError, match=said):
            compare(wrong, out)


def test_a_report_in_a_browser(branched, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: not opened.append(url))
    open_report(branched.folder)
    assert opened == [(branched.folder / "report.html").resolve().as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    with pytest.raises(BitfabricError, match=r"no browser starts here: open .*report\.html"):
        open_report(branched.folder)


def test_the_floorplan_shows_where_the_cells_of_each_layer_are(tmp_path):
    places = {"a.x": "X1/Y2/SLICEA.K0", "a.y": "X2/Y2/SLICEB.FF1", "b.z": "X3/Y2/SLICEA.K1", "a.w": "X9Y0/BEL"}
    cells = {name: {"type": "LUT", "attributes": {"NEXTPNR_BEL": place}} for name, place in places.items()}
    cells["b.none"] = {"type": "LUT", "attributes": {}}
    netlist = tmp_path / "image.placed.json"
    netlist.write_text(json.dumps({"modules": {"small": {"cells": {}}, "top": {"cells": cells}}}))
    plan = floorplan.find(netlist, lambda cell: cell[0])
    assert (plan.width, plan.height) == (10, 3)
    assert [(run.x, run.y, run.tiles, run.layer) for run in plan.runs] == [
        (9, 0, 1, "a"),
        (1, 2, 2, "a"),
        (3, 2, 1, "b"),
    ]
    assert {area.layer: area.cells for area in plan.areas} == {"a": 3, "b": 1}
    netlist.write_text(json.dumps({"modules": {"top": {"cells": {"b.none": cells["b.none"]}}}}))
    assert floorplan.find(netlist, str) is None
    netlist.write_text("[]")
    with pytest.raises(BitfabricError, match="build again"):
        floorplan.find(netlist, str)
