"""A network with an early exit, from a file to verified hardware, with its share, rates and latencies in the report."""

import json

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.config import BuildConfig
from flows.estimates import estimate_build
from flows.pipeline import build
from flows.planner import Plan
from hw.host.errors import UsageError
from hw.ir.verdicts import computed
from hw.lowering.lower import lower
from hw.model import Model
from quant import Exits, TrainConfig, create_model, export, train_run
from tests.builders.two_heads import frames_for, two_heads


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    model = two_heads(seed=2, features=12, hidden=12)
    onnx.save(model, folder / "model.onnx")
    np.save(folder / "x.npy", frames_for(model, 200))
    return folder


def test_the_rest_is_folded_for_the_frames_that_go_on(network):
    """At the same rate: fewer LUTs, a longer guaranteed interval, the mean one as asked for."""
    whole, shared = (
        estimate_build(network / "model.onnx", "ulx3s-85f", fps=2e6, clock_mhz=100, exit_share=share)
        for share in (1.0, 0.25)
    )
    assert whole["cycles"]["interval"] <= 50
    assert whole["exits"]["interval"] <= whole["cycles"]["interval"]
    assert shared["cycles"]["interval"] > 50
    assert shared["exits"]["interval"] < 60
    rest = [layer["name"] for layer in shared["layers"] if layer["operator"] == "matrix_vector"][2:]
    luts = [
        sum(layer["estimated"]["lut"] for layer in made["layers"] if layer["name"] in rest) for made in (whole, shared)
    ]
    assert luts[1] < 0.8 * luts[0]
    with pytest.raises(UsageError, match="is the share of frames that go on, from 0 to 1"):
        BuildConfig("ulx3s-85f", exit_share=1.5)


def test_a_share_of_a_network_without_exits_is_refused(tmp_path):
    export(create_model("tfc-w2a2", hidden=[4]).eval(), tmp_path / "plain.onnx")
    with pytest.raises(UsageError, match=r"^--exit-share 0\.5: plain\.onnx has no early exit, all frames"):
        estimate_build(tmp_path / "plain.onnx", "ulx3s-85f", fps=1e5, exit_share=0.5)


def test_layers_before_the_exit_are_as_without_a_share(network):
    model = Model.open(network / "model.onnx")
    tables = [
        Plan(model, BuildConfig("ulx3s-85f", fps=1e6, clock_mhz=100, exit_share=share)).point.folding
        for share in (1.0, 0.25)
    ]
    assert tables[0]["fc0"] == tables[1]["fc0"]
    assert tables[0]["fc3"] != tables[1]["fc3"]


def test_a_share_costs_nothing_where_all_frames_go_on_at_the_rate(network):
    whole, shared = (
        estimate_build(network / "model.onnx", "ulx3s-85f", fps=1e4, clock_mhz=100, exit_share=share)
        for share in (1.0, 0.5)
    )
    assert shared["folding"] == whole["folding"]
    assert shared["resources"] == whole["resources"]


def test_a_build_compares_rtl_emulator_and_cycle_model(network, tmp_path):
    made = build(
        network / "model.onnx", target="ulx3s-85f", out=tmp_path, fps=1e6, clock_mhz=100, exit_share=0.5,
        frames=network / "x.npy", rtl_frames=40, stop_after="simulate",
    )  # fmt: skip
    report = made.report
    assert [report.verified[engine].mismatches for engine in ("qonnx", "emulator", "rtl")] == [0, 0, 0]
    assert report.verified["rtl"].frames == 40
    measured = report.exits.measured
    assert measured.frames == 200
    assert 0.1 < measured.going_on[0] < 0.9
    assert 0 < measured.median <= measured.high <= measured.worst
    assert 0 < measured.mean < measured.worst
    assert measured.interval <= report.cycles.interval.estimated
    assert report.exits.expected.going_on == 0.5
    content = json.loads((tmp_path / "build.json").read_text())
    assert content["exits"]["expected"]["fps"] == pytest.approx(1e8 / report.exits.expected.interval)
    assert "frames/s if 50% go on at the exits" in made.write_report().read_text()


def test_from_training_to_the_share_of_its_frames(tmp_path):
    """The command line from data to the report; the build's frames go on in the share that the training measured."""
    options = (
        "--early-exit 1 --early-exit 2 --exit-share 0.3 --exit-weight 0.5 --exit-weight 1 --validation 0.2 --epochs 8"
    )
    run = tmp_path / "run"
    said = CliRunner().invoke(app, ["train", "tfc-w2a2", *options.split(), "--json", "-o", str(run)])
    assert said.exit_code == 0, said.output
    trained = json.loads(said.output)
    assert trained["config"]["exits"] == {"share": 0.3, "drop": 0.0, "weights": [0.5, 1.0]}
    assert 0.1 < trained["exits"]["validation"]["going_on"][0] <= 0.3
    made = build(
        run / "model.onnx", target="ulx3s-85f", out=tmp_path / "build", fps=1e6, exit_share=0.3,
        frames=run / "x_test.npy", labels=run / "y_test.npy", stop_after="emulate",
    ).report  # fmt: skip
    assert made.verified["emulator"].mismatches == 0
    on = made.exits.measured.going_on
    assert on == pytest.approx(trained["exits"]["test"]["going_on"])
    assert on[0] != on[1]
    assert made.verified["emulator"].accuracy == trained["accuracy"]["test"]


@pytest.mark.slow
def test_the_placed_netlist_of_a_network_with_an_exit(network, tmp_path):
    report = build(
        network / "model.onnx", target="ulx3s-12f", out=tmp_path, fps=1e5, exit_share=0.5, frames=network / "x.npy",
        rtl_frames=16, netlist_frames=4,
    ).report  # fmt: skip
    assert report.verified["netlist"].mismatches == 0
    assert report.bitstream is not None


@pytest.mark.slow
def test_the_placed_netlist_of_a_trained_network_with_an_exit(tmp_path):
    """From the data to an image: of the frames of the netlist some leave early and some go on."""
    config = TrainConfig(epochs=8, validation=0.2, exits=Exits(share=0.5))
    train_run("tfc-w2a2", tmp_path / "run", config, model_options={"early_exit": 1}, progress=False)
    model, x = tmp_path / "run" / "model.onnx", np.load(tmp_path / "run" / "x_test.npy")
    graph = lower(model)
    leaves = computed(graph, graph.encode(x))["exit0"]
    chosen = np.concatenate([np.flatnonzero(leaves)[:6], np.flatnonzero(~leaves)[:6]])
    np.save(tmp_path / "x.npy", x[np.random.default_rng(0).permutation(chosen)])
    report = build(
        model, target="ulx3s-85f", out=tmp_path / "build", fps=1e5, exit_share=0.5, frames=tmp_path / "x.npy",
        rtl_frames=12, netlist_frames=12,
    ).report  # fmt: skip
    assert report.exits.measured.going_on[0] == 0.5
    assert report.verified["netlist"].frames == report.verified["rtl"].frames == 12
    assert report.verified["netlist"].mismatches == report.verified["rtl"].mismatches == 0
    assert report.bitstream is not None
