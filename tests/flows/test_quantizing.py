"""``bitfabric quantize`` for networks of PyTorch: run folders, own networks, tasks; what cannot be done is one line."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from flows import build
from flows.cli.main import app
from quant import TrainConfig, quantize_run, train_run
from quant.errors import QuantError

OWN = """
import torch
from torch import nn


def trained(bias=True):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10, bias=bias))


def quantized():
    from brevitas.nn import QuantLinear

    return nn.Sequential(nn.Flatten(), QuantLinear(64, 10, bias=False, weight_bit_width=4))
"""


@pytest.fixture(scope="module")
def float_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("float") / "run"
    train_run("tfc-float", folder, TrainConfig(epochs=3), data="digits", progress=False)
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    file = tmp_path_factory.mktemp("own") / "net.py"
    file.write_text(OWN)
    return file


def command(*arguments):
    """Standard output and error of the command, and its exit code."""
    done = CliRunner().invoke(app, ["quantize", *map(str, arguments)], env={"COLUMNS": "200"})
    return done.output, done.exit_code


def test_a_float_run_is_quantized_trained_and_built(float_run, tmp_path):
    out = tmp_path / "small"
    arguments = (float_run, "--weight-bits", 3, "--act-bits", 3, "--epochs", 2, "-o", out)
    shown, status = command(*arguments)
    assert status == 0, shown
    assert "after 2 epochs of training" in shown
    assert f"bitfabric build {out / 'model.onnx'}" in shown
    made = json.loads((out / "metrics.json").read_text())
    costs = made["quantization"]
    assert {row["bits"] for row in costs["layers"] if row["kind"] == "weights"} == {3}
    assert costs["float_accuracy"] == json.loads((float_run / "metrics.json").read_text())["accuracy"]["test"]
    assert f"{made['accuracy']['test']:.2%}" in shown
    assert made["totals"]["memory_bits"] == 3 * made["totals"]["weights"]
    assert not (out / "checkpoint.pt").exists()
    built = build(out / "model.onnx", "ulx3s-12f", tmp_path / "build", frames=out / "x_test.npy", stop_after="emulate")
    assert built.report.verified["emulator"].mismatches == 0
    assert json.loads(command(*arguments, "--json")[0])["cached"]


def test_own_networks_and_numbers_are_quantized(own, tmp_path):
    made = quantize_run(f"{own}:trained", tmp_path / "own", data="digits", options={"weight_bits": 4}, progress=False)
    assert made["accuracy"]["test"] == made["quantization"]["accuracy"]
    random = np.random.default_rng(0)
    x = random.normal(size=(120, 5)).astype(np.float32)
    np.savez(tmp_path / "numbers.npz", X=x, y=(x @ random.normal(size=5)).astype(np.float32))
    options = {"task": "regression"}
    train_run("tfc-float", tmp_path / "run", TrainConfig(epochs=1), data=tmp_path / "numbers.npz", data_options=options,
              progress=False)  # fmt: skip
    made = quantize_run(tmp_path / "run", tmp_path / "small", epochs=1, progress=False)
    assert made["task"] == "regression"
    assert made["quantization"]["accuracy"] is None
    assert made["figures"]["test"].keys() == {"rmse", "mae", "r2"}


def test_what_cannot_be_quantized_is_one_line(float_run, own, tmp_path):
    quantized = tmp_path / "quantized"
    quantize_run(float_run, quantized, progress=False)
    for model, options, message in (
        (quantized, {}, "is what bitfabric quantize left, without a network to go on with: take the float run"),
        (tmp_path / "nothing", {}, "no finished run"),
        (f"{own}:trained", {}, r"own network: give the data that it is for \(--data\)"),
        (f"{own}:quantized", {"data": "digits"}, "has quantizers already"),
        (f"{own}:other", {"data": "digits"}, "has no function other"),
        (float_run, {"data_options": {"test_share": 0.5}}, "has its own data options"),
        (float_run, {"seed": 1}, "has its own seed, 0: leave it out"),
        (float_run, {"epochs": -1}, "epochs=-1 is no whole number"),
        (float_run, {"options": {"weight_bits": 1}}, "weight_bits"),
    ):
        with pytest.raises(QuantError, match=message) as caught:
            quantize_run(model, tmp_path / "out", **options, progress=False)
        assert "\n" not in str(caught.value)
    with pytest.raises(QuantError, match="is the run to quantize"):
        quantize_run(float_run, float_run, progress=False)
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.onnx", "--scales", "free"], "--scales is for a network of PyTorch, and net.onnx is an ONNX file"),
        (["net.onnx"], "net.onnx needs --calibration"),
        (["run/", "--labels", "y.npy"], "--labels is for an ONNX file, and run/ is a network of PyTorch"),
    ],
)
def test_options_of_the_other_kind_are_refused(arguments, message, tmp_path):
    shown, status = command(*arguments, "-o", tmp_path / "out")
    assert status == 2
    assert message in shown.replace("\n", "")
