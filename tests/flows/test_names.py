"""The user's names of layers in what the flows print and write."""

import io
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from flows.cli import console, render
from flows.estimates import estimate_build
from flows.terminal import Terminal
from hw.host.errors import BitfabricError
from hw.ir import html
from hw.ir.origin import Origin
from hw.lowering.lower import lower, lower_model
from hw.lowering.qonnx import load
from hw.verification.reference import Reference, compare_with
from tests.builders.hostile_names import HOSTILE
from tests.builders.qonnx_builder import Builder

CONV, NODE = "stage.0.blocks.12.second.conv", "/stage/stage.0/blocks/blocks.12/second/conv/Conv"
LONG = "backbone.layer4.bottleneck_with_a_long_name.1.downsample.conv3x3"


def network(conv: str = NODE, dense: str = "MatMul_9") -> onnx.ModelProto:
    """A convolution and a dense layer of these names; the weights of the latter belong to a module of a long name."""
    b = Builder((1, 2, 4, 4))
    rng = np.random.default_rng(0)
    kernel = b.quant(rng.integers(-2, 2, (4, 2, 3, 3)), 1.0, 3)
    value = b.node("Conv", b.quant("x", 1.0, 4), kernel)
    b.nodes[-1].name = conv
    value = b.node("Flatten", b.quant(b.node("Relu", value), 8.0, 4, signed=0))
    b.constants.append(numpy_helper.from_array(rng.integers(-2, 2, (16, 3)).astype(np.float32), f"{LONG}.weight"))
    value = b.node("MatMul", value, b.quant(f"{LONG}.weight", 1.0, 3))
    b.nodes[-1].name = dense
    return b.model((value, (1, 3)))


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(network(), path)
    return path


def test_an_estimate_has_the_names_whole_in_json_and_short_in_its_table(model, monkeypatch):
    result = estimate_build(model, "ulx3s-12f")
    named = {layer["name"]: (layer.get("node"), layer.get("module")) for layer in result["layers"]}
    assert named["conv0_window"] == named["conv0"] == (NODE, CONV)
    assert named["fc0"] == ("MatMul_9", LONG)
    # The products and the thresholds behind them are one pipeline.
    assert {name for name, (node, _) in named.items() if node} == {"conv0_window", "conv0", "fc0"}
    screen = io.StringIO()
    monkeypatch.setattr(console, "out", Terminal(file=screen, width=100))
    monkeypatch.setattr(console, "Terminal", lambda **options: Terminal(file=screen, **options))
    render.estimated(result)
    lines = screen.getvalue().splitlines()
    table = {line.split()[0]: line for line in lines if line}
    assert "stage.0. ... ond.conv " in table["conv0"]
    assert "backbone ... .conv3x3 " in table["fc0"]
    assert max(len(line) for line in lines[: len(named) + 1]) <= 100
    assert re.search(r"limited by \w+ \((stage\.0|backbone|Quant_)", screen.getvalue())


def test_errors_of_foldings_and_rates_name_both(model, tmp_path):
    folding = tmp_path / "folding.json"
    folding.write_text('{"conv0": {"PE": 3, "SIMD": 1}}')
    with pytest.raises(BitfabricError, match=rf"layer conv0 \({re.escape(CONV)}\): .*3"):
        estimate_build(model, "ulx3s-12f", folding=folding)
    with pytest.raises(BitfabricError, match=r"cycle a frame; layer \w+ \(.*\) needs"):
        estimate_build(model, "ulx3s-12f", fps=1e8, clock_mhz=100)


def test_a_difference_from_the_reference_names_both():
    loaded = load(network())
    lowering = lower_model(loaded)
    name = "conv0_threshold"
    kernel = lowering.graph.node(name).kernel
    wrong = replace(kernel, thresholds=kernel.thresholds + 2)
    graph = lowering.graph.with_kernels({name: wrong})
    frames = np.random.default_rng(0).integers(-8, 8, (4, 2, 4, 4)).astype(np.float32)
    with pytest.raises(BitfabricError, match=r"in layer conv0_threshold \(Quant_4\), frame 0"):
        compare_with(graph, lowering, Reference(network(), loaded), frames).agreement()


def test_names_in_a_drawing_are_text():
    graph = lower(network())
    assert f'title="{NODE}">{CONV}</span>' in html.table(graph)
    for name in HOSTILE:
        nodes = tuple(replace(node, origin=Origin(name, f"m{name}")) for node in graph)
        shown = html.table(replace(graph, nodes=nodes))
        assert "<script>" not in shown
        assert shown.replace("\n", "").isprintable()
