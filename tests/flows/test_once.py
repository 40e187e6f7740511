"""A build makes everything once: it parses the model, lowers it, makes the hardware and generates the RTL."""

from collections import Counter

import numpy as np
import onnx
import pytest

from flows import build
from flows import design_point as design_points
from flows.accelerator import Accelerator
from flows.design_point import DesignPoint
from flows.estimates import estimate_build
from flows.planner import Plan
from hw import finn
from hw import model as models
from hw.lowering.lower import lower
from hw.model import Model
from hw.passes.lanes import insert_width_converters


@pytest.fixture
def made(monkeypatch):
    """How often each thing is made."""
    counts: Counter[str] = Counter()

    def count(owner, name, what):
        original = getattr(owner, name)

        def counted(*arguments, **options):
            counts[what] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    from flows import implementation

    count(models, "read_file", "parse")
    count(models, "lower_model", "lower")
    count(finn, "read", "lower")
    count(design_points, "insert_fifos", "hardware")
    count(implementation, "generate", "rtl")
    count(implementation, "image", "image")
    return counts


def test_a_build_makes_everything_once(small, tmp_path, made):
    accelerator = build(small / "model.onnx", "ulx3s-12f", tmp_path, fps=5e6, stop_after="simulate")
    x = np.load(small / "x.npy")[:4]
    for engine in ("qonnx", "emulator", "rtl"):
        accelerator.run(x, engine)
    assert made == {"parse": 1, "lower": 1, "hardware": 1, "rtl": 1}
    assert accelerator.image is not None
    assert made == {"parse": 1, "lower": 1, "hardware": 1, "rtl": 1, "image": 1}


def test_a_build_that_is_cached_makes_nothing(small, tmp_path, made):
    options = {"fps": 5e6, "stop_after": "rtl"}
    build(small / "model.onnx", "ulx3s-12f", tmp_path, **options)
    made.clear()
    build(small / "model.onnx", "ulx3s-12f", tmp_path, **options)
    assert made == {"parse": 1}


def test_finns_graph_is_read_once(small, tmp_path, made):
    graph = lower(small / "model.onnx")
    onnx.save(finn.write(finn.adapted(graph)), tmp_path / "finn.onnx")
    made.clear()
    model = Model.open(tmp_path / "finn.onnx")
    build(model, "ulx3s-12f", tmp_path / "out", stop_after="rtl")
    assert model.kind == "finn"
    assert made == {"parse": 1, "lower": 1, "hardware": 1, "rtl": 1}


def test_an_estimate_makes_everything_once(small, made):
    estimate_build(small / "model.onnx", "ulx3s-12f", fps=5e6)
    assert made == {"parse": 1, "lower": 1, "hardware": 1}


def test_a_finished_build_makes_what_an_engine_needs(small, tmp_path, made):
    build(small / "model.onnx", "ulx3s-12f", tmp_path, fps=5e6, stop_after="rtl")
    made.clear()
    accelerator = Accelerator(tmp_path)
    assert made == {}
    x = np.load(small / "x.npy")[:2]
    accelerator.run(x)
    assert made == {}  # the graph is read from the build
    accelerator.run(x, "qonnx")
    assert made == {"parse": 1}
    accelerator.write_report()
    assert made == {"parse": 1, "hardware": 1}
    assert accelerator.image is not None
    assert made == {"parse": 1, "hardware": 1, "rtl": 1, "image": 1}


def test_other_frames_for_the_same_model_do_not_lower_it_again(small, tmp_path, made):
    """Only the comparison with the reference needs the lowering: which of the model's tensors an edge carries."""
    build(small / "model.onnx", "ulx3s-12f", tmp_path, fps=5e6, stop_after="fold")
    made.clear()
    again = build(small / "model.onnx", "ulx3s-12f", tmp_path, fps=1e6, stop_after="rtl", frames=small / "x.npy")
    assert [step.name for step in again.report.steps if step.cached] == ["lower"]
    assert made == {"parse": 1, "lower": 1, "hardware": 1, "rtl": 1}
    made.clear()
    build(small / "model.onnx", "ulx3s-12f", tmp_path, fps=5e6, stop_after="fold")
    assert made == {"parse": 1, "hardware": 1}


def test_a_design_point_comes_back_from_json(small):
    from flows.config import BuildConfig

    plan = Plan(Model.open(small / "model.onnx"), BuildConfig("ulx3s-12f", fps=5e6))
    again = DesignPoint.from_json(plan.model, False, plan.point.to_json())
    assert again.to_json() == plan.point.to_json()
    assert str(again.hardware) == str(plan.point.hardware)
    assert again.hardware.lanes_agree()
    assert str(insert_width_converters(plan.graph)) != str(again.hardware)
