"""Widths that are learned for a target: the command, its run, and the cost that it states."""

import json

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.cost import cost_on
from hw.model import Model
from quant import summary
from quant.metrics import cost_input
from quant.models.widths import weighted_layers
from quant.training.checkpoint import load_checkpoint


def invoke(*call):
    return CliRunner().invoke(app, list(map(str, call)), standalone_mode=False)


def test_a_run_with_the_learned_widths(tmp_path):
    run = tmp_path / "run"
    call = ["train", "tfc-w4a4", "--model-option", "hidden=[8,6]", "--epochs", 4, "--learn-widths", "2,8"]
    call += ["--learn-acts", "2,4", "--target", "ulx3s-25f", "--fps", 100_000, "--learn-strength", 3, "-o", run]
    shown = invoke(*call)
    assert shown.exception is None
    learned = json.loads((run / "metrics.json").read_text())["learned_widths"]
    assert "learned widths: weights" in shown.stdout
    widths = ",".join(map(str, learned["weight_widths"]))
    assert f"--model-option weight_widths=[{widths}]" in shown.stdout.replace("\n", "")
    # The cost is that of the layers of the network, each asked of the cost model itself.
    model = load_checkpoint(run / "checkpoint.pt")
    cost, rows, layers = cost_on("ulx3s-25f", 100_000), summary(model), weighted_layers(model)
    assert sum(cost(*cost_input(layers[row.name], row)).share for row in rows) == pytest.approx(learned["cost"])
    assert [row.weight_bits for row in rows] == learned["weight_widths"]
    assert Model.open(run / "model.onnx").graph


def test_wrong_use():
    for call, message in (
        (["--learn-by", "lut"], "--learn-by needs --learn-widths"),
        (["--learn-widths", "2,x"], "is no list of widths"),
        (["--learn-widths", "4"], "at least two widths"),
        (["--learn-widths", "2,4"], "needs a cost model"),
    ):
        shown = invoke("train", "tfc-w4a4", "--epochs", 2, "-o", "unused", *call)
        assert message in str(shown.exception)
