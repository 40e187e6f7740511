"""Builds of models with channels that do nothing."""

import itertools
import json

import numpy as np
import onnx
import pytest

from flows.accelerator import Accelerator
from flows.config import BuildConfig
from flows.estimates import estimate_build, pareto
from flows.finn import flow
from flows.pipeline import build
from flows.planner import Plan
from hw import finn
from hw.fabric.resources import Resources
from hw.finn.execution import require_finn
from hw.folding import choose
from hw.folding.search import Choice
from hw.host.errors import BitfabricError, UsageError
from hw.model import Model
from hw.passes.fold import plain
from hw.simulation.emulator import Emulator
from tests.builders.qonnx_builder import Builder
from tests.builders.random_qdq import QdqBuilder

TARGET = "ulx3s-85f"


def perceptron(rng, sizes, change=lambda number, weights, bias: None):
    """Products of 4-bit weights, with 2-bit codes between them; ``change`` alters the parameters of each layer."""
    b = Builder((1, sizes[0]))
    x = b.quant("x", 1.0, 3, signed=0)
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weights, bias = rng.integers(-3, 4, (inputs, outputs)) * 1.0, rng.integers(-3, 4, outputs) + 0.5
        change(number, weights, bias)
        x = b.node("MatMul", x, b.quant(weights, 1.0, 4))
        if number + 2 < len(sizes):
            x = b.quant(b.node("Add", x, bias), 4.0, 2, signed=0)
    return b.model((x, (1, sizes[-1])))


def saved(model: onnx.ModelProto, folder) -> str:
    path = str(folder / "model.onnx")
    onnx.save(model, path)
    return path


def some_do_nothing(number, weights, bias):
    if number == 0:
        weights[:, 2], bias[2] = 0, 5.5  # constant
        weights[:, 4], bias[4] = weights[:, 3], bias[3]  # equal
    if number == 1:
        weights[6] = 0  # unused


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Accelerator:
    """A build in which 3 of 8 channels are removed, at a rate at which that is cheaper."""
    folder = tmp_path_factory.mktemp("removed")
    path = saved(perceptron(np.random.default_rng(3), (4, 8, 4, 3), some_do_nothing), folder)
    return build(path, TARGET, folder / "build", fps=1e8, stop_after="simulate", rtl_frames=16)


def test_the_hardware_lacks_them_and_every_engine_agrees(built):
    removed = built.report.removed
    assert removed is not None
    first, second = removed.layers[:2]
    assert (first.name, first.channels, first.constant, first.equal, first.unused) == ("fc0", 8, 1, 1, 1)
    assert "1 of 8 channels is constant, 1 equals another, 1 is unused: removed; saves 12 weights" in first.summary
    assert "reads fewer channels, saves 12 weights" in second.summary
    assert removed.weights == sum(layer.weights for layer in removed.layers)
    checks = built.report.verified
    assert [checks[name].mismatches for name in ("qonnx", "emulator", "rtl")] == [0, 0, 0]
    assert checks["emulator"].directed.left_out == ()
    assert checks["emulator"].removal.layers == len(built.graph.nodes)
    assert plain(built.hardware).node("fc0").kernel.mh == 5
    frames = np.random.default_rng(0).integers(0, 8, (50, 4)).astype(np.float32)
    np.testing.assert_array_equal(built.run(frames), built.run(frames, "qonnx"))


def test_reports_say_what_was_removed(built, tmp_path):
    kept = json.loads((built.folder / "build.json").read_text())
    assert kept["removed"]["granularity"] == 1
    page = built.write_report(tmp_path / "page.html").read_text()
    assert all(layer["summary"] in page for layer in kept["removed"]["layers"])
    assert kept["verified"]["emulator"]["removal"]["summary"] in page
    again = Accelerator(built.folder)
    assert str(again.hardware) == str(built.hardware)


def test_a_folding_file_states_what_was_removed(built, tmp_path):
    path = built.folder / "fold" / "folding.json"
    plan = Plan(Model.open(built.report.model.path), BuildConfig(TARGET, folding=path))
    assert str(plan.point.hardware) == str(built.hardware)
    content = json.loads(path.read_text())
    for wrong in ({"granularity": -1}, {}):
        other = tmp_path / "folding.json"
        other.write_text(json.dumps({**content, "Removed": wrong}))
        with pytest.raises(UsageError, match='"Removed" states a granularity'):
            _ = Plan(plan.model, BuildConfig(TARGET, folding=other)).point
    # Without it, the file is for all channels.
    other.write_text(json.dumps({name: entry for name, entry in content.items() if name != "Removed"}))
    with pytest.raises(UsageError, match="fc0"):
        _ = Plan(plan.model, BuildConfig(TARGET, folding=other)).point


def test_finns_graph_of_what_is_left_computes_the_same(built):
    graph = finn.adapted(built.graph)
    again = finn.read(finn.write(graph))
    frames = np.random.default_rng(0).integers(0, 8, (50, 4)).astype(np.float32)
    np.testing.assert_array_equal(Emulator(again).run(frames), built.run(frames, "qonnx"))


def test_finns_front_end_refuses_a_folding_of_what_is_left(built, tmp_path):
    try:
        require_finn()
    except BitfabricError:
        pytest.skip("no FINN")
    folding = built.folder / "fold" / "folding.json"
    with pytest.raises(UsageError, match="FINN's front end removes none; use --front-end bitfabric"):
        flow(built.report.model.path, tmp_path, board="Pynq-Z2", front_end="finn", folding=folding)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_no_design_is_worse_than_with_all_channels(seed, tmp_path):
    rng = np.random.default_rng(seed)

    def change(number, weights, bias):
        weights[:, rng.random(weights.shape[1]) < 0.15] = 0
        weights[rng.random(len(weights)) < 0.15] = 0

    sizes = (6, *rng.choice([8, 12, 16], 2).tolist(), 4)
    model = Model.open(saved(perceptron(rng, sizes, change), tmp_path))
    for options in ({"fps": 1e5}, {"fps": 3e6}, {"fps": 1e7}, {"fps": 1e8}, {}):
        config = BuildConfig(TARGET, **options)
        plan, whole = Plan(model, config), Plan(model, config, granularity=0)
        costs = [
            choose.cost(choose.estimate_resources(each.point.hardware, each.device.family), each.device.capacity)
            for each in (plan, whole)
        ]
        intervals = [each.estimate().interval for each in (plan, whole)]
        assert len(plan.candidates) > 1
        if options:
            assert costs[0] <= costs[1]
        else:
            assert (intervals[0], costs[0]) <= (intervals[1], costs[1])
    used = {row["interval"]: Resources(**row["estimated"]) for row in pareto(model, TARGET)["pareto"]}
    front = [Choice({}, cycles, each, choose.cost(each, whole.device.capacity)) for cycles, each in used.items()]
    for choice in whole.search.pareto_front(whole.device.capacity):
        assert any(row.interval <= choice.interval and whole.search.dominates(row, choice) for row in front)


@pytest.mark.parametrize("empty", ["row", "column", "layer", "output", "last", "all"])
def test_models_with_empty_layers_build(empty, tmp_path):
    def change(number, weights, bias):
        match empty:
            case "row" if number == 0:
                weights[:, 1] = 0
            case "column" if number == 1:
                weights[3] = 0
            case "layer" if number == 1:
                weights[:] = 0
            case "output" if number == 2:
                weights[:, 0] = 0
            case "last" if number == 2:
                weights[:] = 0
            case "all":
                weights[:] = 0

    path = saved(perceptron(np.random.default_rng(0), (4, 6, 6, 3), change), tmp_path)
    made = build(path, TARGET, tmp_path / "build", fps=1e8, stop_after="emulate")
    assert made.report.verified["emulator"].mismatches == 0
    assert (made.report.removed is None) == (empty == "output")
    if empty in ("last", "all"):  # The network is a constant.
        assert len(np.unique(made.run(np.eye(4, dtype=np.float32) * 7, on_inputs=lambda inputs: None), axis=0)) == 1


def test_residual_branches(tmp_path):
    rng = np.random.default_rng(5)
    b = Builder((1, 3, 4, 4))
    x = b.quant("x", 1.0, 2, signed=0)

    def conv(x, channels, kernel, zero, pads):
        weights = rng.integers(-3, 4, (channels, 4 if x != start else 3, kernel, kernel)) * 1.0
        weights[zero] = 0
        return b.node("Conv", x, b.quant(weights, 1.0, 3), kernel_shape=[kernel] * 2, pads=[pads] * 4)

    start = x
    x = b.quant(b.node("Relu", conv(x, 4, 1, [1, 3], 0)), 2.0, 2, signed=0)
    y = b.quant(b.node("Relu", conv(x, 4, 3, [1, 3], 1)), 4.0, 2, signed=0)
    x = b.quant(b.node("Relu", b.node("Add", b.quant(x, 2.0, 2, signed=0), y)), 4.0, 2, signed=0)
    x = b.node("MatMul", b.node("Flatten", x), b.quant(rng.integers(-2, 3, (64, 2)) * 1.0, 1.0, 3))
    path = saved(b.model((x, (1, 2))), tmp_path)
    plan = Plan(Model.open(path), BuildConfig(TARGET, fps=1e6), granularity=1)
    # Zero is the padding, so both channels that are always zero can go, on all branches.
    assert [layer.constant for layer in plan.removal.layers] == [2, 2, 0]
    made = build(path, TARGET, tmp_path / "build", fps=2e6, stop_after="emulate")
    assert made.report.removed is not None
    assert made.report.verified["emulator"].mismatches == 0


def test_models_with_onnx_quantizers(tmp_path):
    frames = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    rng, b = np.random.default_rng(1), QdqBuilder(frames, 17)
    x = b.dequantize(b.calibrated("x", "uint8", False))
    for inputs, outputs in ((6, 8), (8, 3)):
        weights = rng.integers(-100, 100, (inputs, outputs)).astype(np.int8)
        if outputs == 8:
            weights[:, [1, 5]], weights[:, 6] = 0, weights[:, 2]
        w = b.node("DequantizeLinear", b.constant(weights, np.int8), np.float32(0.01), b.constant(0, np.int8))
        x = b.node("MatMul", x, w)
        if outputs == 8:
            x = b.dequantize(b.calibrated(b.node("Relu", x), "uint8", False))
    path = saved(b.model(x), tmp_path)
    made = build(path, TARGET, tmp_path / "build", fps=5e7, stop_after="emulate")
    assert made.report.removed is not None
    [first, _] = Plan(Model.open(path), BuildConfig(TARGET, fps=5e7), granularity=1).removal.layers
    assert (first.channels, first.constant, first.equal) == (8, 2, 1)
    assert made.report.verified["emulator"].mismatches == made.report.verified["emulator"].explained


def test_an_error_in_what_is_left_ends_the_build(tmp_path, monkeypatch):
    from hw.passes.removal import products

    path = saved(perceptron(np.random.default_rng(3), (4, 8, 4, 3), some_do_nothing), tmp_path)
    original = products.MatrixVectorRule.rebuild

    def wrong(self, state, node, dtypes):
        made = original(self, state, node, dtypes)
        weights = made.weights.copy()
        weights[0, 0] = 0
        return type(made)(weights, made.weight_dtype, made.input_dtype, made.prefix)

    monkeypatch.setattr(products.MatrixVectorRule, "rebuild", wrong)
    with pytest.raises(BitfabricError):
        build(path, TARGET, tmp_path / "build", fps=1e8, stop_after="emulate")


def test_the_estimate_says_it_too(tmp_path):
    path = saved(perceptron(np.random.default_rng(3), (4, 8, 4, 3), some_do_nothing), tmp_path)
    assert estimate_build(path, TARGET, fps=1e8)["removed"]["layers"][0]["constant"] == 1
    path = saved(perceptron(np.random.default_rng(3), (4, 8, 4, 3)), tmp_path)
    assert "removed" not in estimate_build(path, TARGET, fps=1e8)
