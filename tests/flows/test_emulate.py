"""The step ``emulate``: it checks the graph that the RTL is made of; its key covers the frames that FINN executes."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from flows import build, design_point
from flows.samples import Samples
from flows.steps.emulate import Emulate
from hw import finn
from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from hw.model import Model
from hw.passes.chains import parted
from hw.passes.fifos import insert_fifos


@pytest.fixture(scope="module")
def finns(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("finns") / "model.onnx"
    onnx.save(finn.write(finn.adapted(lower(small / "model.onnx"))), path)
    return path


def test_the_frames_of_finns_graph_are_part_of_the_key(finns, tmp_path):
    pytest.importorskip("finn")
    found = []
    for frames in (3, 5):
        made = build(finns, "ulx3s-12f", tmp_path, stop_after="emulate", rtl_frames=frames)
        found.append((made.report.verified["finn"].frames, {s.name: s.cached for s in made.report.steps}["emulate"]))
    assert found == [(3, False), (5, False)]


def test_the_frames_of_the_rtl_are_not_part_of_the_key_of_a_qonnx_model(small, tmp_path):
    model = Model.open(small / "model.onnx")
    made = build(model, "ulx3s-12f", tmp_path, stop_after="fold").implementation.point
    samples = Samples.open(model, None, None)
    assert Emulate(made, samples, 3).inputs() == Emulate(made, samples, 50).inputs()


def test_a_build_says_what_it_compared_on_directed_inputs(small, tmp_path):
    made = build(small / "model.onnx", "ulx3s-12f", tmp_path, stop_after="emulate")
    counts = made.report.verified["emulator"].directed
    assert (counts.layers, counts.decision_points, counts.covered) == (5, 14, 14)
    assert counts.inputs > 100
    assert counts.frames > 30
    assert counts.left_out == ()
    assert made.report.verified["qonnx"].directed is None


def test_an_error_in_the_graph_of_the_hardware_alone_ends_the_build(small, tmp_path, monkeypatch):
    def wrong(graph, depths):
        graph = parted(graph)
        node = next(node for node in graph if node.kernel.role == "compute")
        product = node.kernel.plain()
        weights = product.weights
        weights = -weights if product.weight_dtype.name == "BIPOLAR" else np.clip(-weights, weights.min(), None)
        return insert_fifos(graph.with_kernels({node.name: replace(product, weights=weights)}), depths)

    monkeypatch.setattr(design_point, "insert_fifos", wrong)
    with pytest.raises(
        BitfabricError, match=r"differs from the QONNX reference in layer fc0_\w+ \(.*\), frame \d+, element"
    ):
        build(small / "model.onnx", "ulx3s-12f", tmp_path, stop_after="emulate")


def test_engines_that_run_few_random_frames_run_the_ends_of_the_input(small):
    model = Model.open(small / "model.onnx")
    port = model.graph.inputs[0]
    frames = Samples.open(model, None, None).first(8)
    codes = model.graph.encode(frames)[port.edge]
    assert codes.shape == (8, 12)
    assert (codes[1] == 0).all()
    assert (codes[2] == 15).all()
    assert set(np.unique(codes[4::2])) == set(range(16))
    given = Samples.open(model, small / "x.npy", None)
    np.testing.assert_array_equal(given.first(8), given.frames[:8])
    assert len(given.first(None)) == 80
