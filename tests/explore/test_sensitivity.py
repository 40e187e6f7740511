"""Sensitivity of a trained network, in Python and on the command line."""

import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

from flows.cli.main import app
from flows.explore.sensitivity import sensitivity
from hw.host.errors import UsageError
from hw.model import Model
from quant import TrainConfig, create_model, train_run
from quant.compression.width_sensitivity import width_sensitivity
from quant.errors import QuantError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train_run("tfc-w4a4", folder, TrainConfig(epochs=2, validation=0.2), model_options={"hidden": [10, 8]})
    return folder


def test_effects_costs_and_front(run):
    found = sensitivity(run, "ulx3s-25f", fps=100_000, weight_widths=(2, 4), activation_widths=(2, 4))
    assert found["held_out"] and found["frames"] == pytest.approx(0.2 * 1438, abs=5)  # noqa: PT018
    assert [(each["name"], each["width"]) for each in found["effects"]] == [
        (name, width)
        for name in ("hidden.0.linear", "hidden.1.linear", "output", "hidden.0.act", "hidden.1.act")
        for width in (2, 4)
    ]
    assert found["lowerings"] == 1
    present = [each for each in found["effects"] if each["present"]]
    assert all(each["cost"] == found["cost"] and each["loss"] == 0 for each in present)
    front = found["front"]
    assert [point["cost"]["share"] for point in front] == sorted(point["cost"]["share"] for point in front)
    assert front[-1]["loss"] <= 0 + 1e-9
    # The widths of a point are those of a network that can be trained, whose interval is the predicted one.
    widths = {"weight_widths": [*front[0]["layers"].values()], "activation_widths": [*front[0]["activations"].values()]}
    train_run("tfc-w4a4", run / "mixed", TrainConfig(epochs=1), model_options={"hidden": [10, 8], **widths})
    graph = Model.open(run / "mixed" / "model.onnx").graph
    assert len(graph.nodes) == 5


def test_one_bit_layers_and_a_network_that_does_not_fit(tmp_path):
    options = {"hidden": [300, 300], "weight_widths": [1, 8, 4], "activation_widths": [4, 8]}
    train_run("tfc-w8a8", tmp_path / "mixed", TrainConfig(epochs=1), model_options=options)
    found = sensitivity(tmp_path / "mixed", "icebreaker", weight_widths=(2,), activation_widths=(4,))
    assert [each["width"] for each in found["effects"] if each["name"] == "hidden.0.linear"] == [1, 2]
    assert found["cost"]["excess"] > 0
    assert 0 < found["fps"] < 1e4


def test_command(run):
    call = ["sensitivity", str(run), "--target", "ulx3s-25f", "--fps", "100000", "--bits", "2,4", "--acts", "4"]
    shown = CliRunner().invoke(app, call)
    assert shown.exit_code == 0, shown.output
    assert "frames that the training held out" in shown.output
    assert "hidden.0.linear" in shown.output
    asked = CliRunner().invoke(app, [*call, "--json"])
    assert json.loads(asked.output)["front"]


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("tfc-w1a1", {}, "^scheme binarynet has one width for all layers"),
        ("lookup-s", {"tables": 20}, "^lookup-s has no layers whose width could be changed"),
        ("tfc-w4a4", {"experts": 2}, "^layer hidden.1.linear chooses one of its experts"),
    ],
)
def test_networks_whose_layers_have_one_width(model, options, message):
    with pytest.raises(QuantError, match=message):
        width_sensitivity(create_model(model, **options), torch.zeros(4, 64), torch.zeros(4, dtype=torch.int64))


def test_wrong_use(run, tmp_path):
    with pytest.raises(UsageError, match="is no run of a quantized network"):
        sensitivity(tmp_path, "ulx3s-25f")
    damaged = shutil.copytree(run, tmp_path / "damaged")
    (damaged / "metrics.json").write_text((run / "metrics.json").read_text()[:300])
    with pytest.raises(QuantError, match=r"damaged/metrics\.json is damaged or of another version: train the network"):
        sensitivity(damaged, "ulx3s-25f")
    (damaged / "checkpoint.pt").unlink()
    with pytest.raises(QuantError, match=r"is no finished run, it has no checkpoint\.pt"):
        sensitivity(damaged, "ulx3s-25f")
    with pytest.raises(UsageError, match="no target 'nowhere'"):
        sensitivity(run, "nowhere", fps=1000, weight_widths=(4,), activation_widths=(4,))
    for wrong, message in ((["--bits", "0"], "no list of widths"), (["--acts", "1"], "signs"), (["--by", "x"], "loss")):
        shown = CliRunner().invoke(app, ["sensitivity", str(run), "-t", "ulx3s-25f", *wrong])
        assert shown.exit_code == 2
        assert message in shown.output.replace("\n", " ")
