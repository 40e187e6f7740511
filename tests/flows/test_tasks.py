"""Networks that give numbers: regression and reconstruction, from a file through training and build to every engine."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score

from flows import build
from flows.accelerator import Accelerator
from flows.frames import predictions
from hw.host.errors import UsageError
from hw.host.meaning import Meaning
from quant import TrainConfig, compress_run, create_model, fit, load_checkpoint, load_data, train_run
from quant.errors import QuantError
from quant.scores import anomaly_scores, area_under_curve, scores


@pytest.mark.quick
def test_figures_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    wanted = random.normal(size=(50, 3)) * [1, 10, 100]
    found = wanted + random.normal(size=(50, 3))
    reached = scores("regression", found, wanted)
    assert reached["rmse"] == pytest.approx(np.sqrt(((found - wanted) ** 2).mean()))
    assert reached["mae"] == pytest.approx(mean_absolute_error(wanted, found))
    assert reached["r2"] == pytest.approx(r2_score(wanted, found))
    assert "r2" not in scores("regression", found[:, :1], np.ones((50, 1)))
    labels = random.integers(0, 2, 200)
    values = np.round(random.normal(size=200) + labels, 1)  # with ties
    assert area_under_curve(values, labels == 1) == pytest.approx(roc_auc_score(labels, values))
    frames = random.normal(size=(200, 2, 3))
    outputs = frames.reshape(200, 6) + labels[:, None] * [0, 0, 0, 0, 0, 7.0]
    scale = np.array([1, 1, 1, 1, 1, 7.0])
    np.testing.assert_allclose(anomaly_scores(outputs, frames, scale), labels / 6)
    assert scores("reconstruction", outputs, labels, frames, scale) == {
        "error": pytest.approx(labels.mean() / 6),
        "auc": 1.0,
    }
    assert scores("reconstruction", outputs, np.zeros(200), frames) == {"error": pytest.approx(49 * labels.mean() / 6)}
    assert scores("classification", np.eye(3), np.array([0, 1, 1])) == {"accuracy": pytest.approx(2 / 3)}


@pytest.mark.quick
def test_maps_have_no_classes():
    assert predictions(np.zeros((2, 3, 4, 4)), None, np.zeros((2, 1)), Meaning()) == {}
    assert predictions(np.eye(3)[None, :, :1, None], None, np.zeros((1, 1)), Meaning())["classes"] == [0]
    with pytest.raises(UsageError, match=r"outputs of shape \(2, 3\) need as many numbers as labels, not \(2,\)"):
        predictions(np.zeros((2, 3)), np.zeros(2), np.zeros((2, 1)), Meaning("regression"))


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """A run of a network that predicts two numbers of a table in units of their own, and its build."""
    folder = tmp_path_factory.mktemp("houses")
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 4)) * [1, 100, 0.01, 5] + [0, 300, 0, -7]
    price = 200_000 + 50_000 * x[:, 0] + 300 * (x[:, 1] - 300)
    age = 0.02 * x[:, 3] + 3 * x[:, 2]
    lines = ["size,area,slope,north,price,age"]
    lines += [",".join(map(repr, row)) for row in np.c_[x, price, age].tolist()]
    (folder / "houses.csv").write_text("\n".join(lines))
    options = {"task": "regression", "target": ["price", "age"]}
    results = train_run(
        "tfc-w8a8", folder / "run", TrainConfig(epochs=25, batch_size=20, validation=0.1, learning_rate=1e-2),
        data=folder / "houses.csv", data_options=options, model_options={"hidden": [24]},
    )  # fmt: skip
    build(folder / "run/model.onnx", "ulx3s-85f", folder / "build", stop_after="emulate",
          frames=folder / "run/x_test.npy", labels=folder / "run/y_test.npy")  # fmt: skip
    return folder, results


def test_numbers_of_a_table(houses):
    folder, results = houses
    data = load_data(folder / "houses.csv", task="regression", target=["price", "age"])
    assert (data.task, data.classes, data.class_names) == ("regression", 2, ("price", "age"))
    assert results["figures"]["test"]["r2"] > 0.8
    assert results["accuracy"] == {"train": None, "test": None}
    history = results["fit"]["history"]
    assert all(epoch["train_accuracy"] is None and epoch["validation_loss"] >= 0 for epoch in history)
    assert results["fit"]["loss"] == "mse"
    report = Accelerator(folder / "build").report
    assert report.model.task == "regression"
    assert {name: check.accuracy for name, check in report.verified.items()} == {"qonnx": None, "emulator": None}
    assert report.verified["emulator"].figures == pytest.approx(results["figures"]["test"], rel=1e-4)
    network = load_checkpoint(folder / "run/checkpoint.pt")
    frames = np.load(folder / "run/x_test.npy")
    outputs = Accelerator(folder / "build").run(frames)
    assert 50_000 < outputs[:, 0].std() < 100_000  # in the table's units
    np.testing.assert_allclose(outputs, network(torch.from_numpy(frames)).detach().numpy(), rtol=1e-4)
    page = Accelerator(folder / "build").write_report().read_text()
    assert "RMSE" in page
    assert "loss on the validation part" in page


def command(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli.main import main; main()", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_figures_on_the_command_line(houses):
    folder, results = houses
    frames = ("--input", folder / "run/x_test.npy", "--labels", folder / "run/y_test.npy")
    told = json.loads(command("run", folder / "build", *frames, "--json"))
    assert told["figures"] == pytest.approx(results["figures"]["test"], rel=1e-4)
    assert np.shape(told["outputs"]["global_out"]) == (60, 2)
    assert "classes" not in told
    with pytest.raises(QuantError, match="is for regression, and compress measures classes"):
        compress_run(folder / "run", folder / "small", "prune")


def sounds(folder, count=240):
    """Samples on a plane of few dimensions, and anomalous ones off it."""
    random = np.random.default_rng(1)
    basis = random.normal(size=(3, 16))
    normal = random.normal(size=(count + 60, 3)) @ basis + 20
    odd = random.normal(size=(60, 3)) @ basis + 20 + random.normal(size=(60, 16)) * 2.5
    np.savez(
        folder / "sounds.npz", x_train=normal[:count], x_test=np.r_[normal[count:], odd], y_test=np.repeat([0, 1], 60)
    )
    return folder / "sounds.npz"


def test_an_autoencoder_finds_anomalies(tmp_path):
    data = load_data(sounds(tmp_path), task="reconstruction")
    assert (data.task, data.classes, data.shape) == ("reconstruction", 16, (16,))
    assert data.y_test.sum() == 60
    results = train_run(
        "ad-mlp-w8a8", tmp_path / "run", TrainConfig(epochs=25, batch_size=20, learning_rate=1e-2),
        data=tmp_path / "sounds.npz", data_options={"task": "reconstruction"}, model_options={"hidden": [32, 3, 32]},
    )  # fmt: skip
    assert results["figures"]["test"]["auc"] > 0.8
    made = build(tmp_path / "run/model.onnx", "ulx3s-85f", tmp_path / "build", stop_after="emulate",
                 frames=tmp_path / "run/x_test.npy", labels=tmp_path / "run/y_test.npy")  # fmt: skip
    assert made.report.verified["emulator"].figures == pytest.approx(results["figures"]["test"], rel=1e-3)
    frames = np.load(tmp_path / "run/x_test.npy")
    told = predictions(made.run(frames), None, frames, made.report.model.meaning)
    assert len(told["anomaly_scores"]) == 120
    assert np.mean(told["anomaly_scores"]) == pytest.approx(told["figures"]["error"])


AUTOENCODER = """
import brevitas.nn as qnn
from torch import nn

def make(input_shape):
    return nn.Sequential(
        nn.Flatten(1, 2), qnn.QuantIdentity(), qnn.QuantConv1d(2, 4, 4, stride=2, padding=1, weight_bit_width=4),
        qnn.QuantReLU(bit_width=4), qnn.QuantConvTranspose1d(4, 2, 4, stride=2, padding=1, weight_bit_width=4),
        nn.Unflatten(1, (1, 2)),
    )
"""


def test_a_convolutional_autoencoder_of_ones_own(tmp_path):
    """It returns samples of the shape that it takes."""
    (tmp_path / "net.py").write_text(AUTOENCODER)
    np.savez(tmp_path / "waves.npz", x=np.random.default_rng(0).normal(size=(60, 2, 8)), y=np.repeat([0, 1], [50, 10]))
    results = train_run(
        f"{tmp_path / 'net.py'}:make", tmp_path / "run", TrainConfig(epochs=1, batch_size=20),
        data=tmp_path / "waves.npz", data_options={"task": "reconstruction"},
    )  # fmt: skip
    made = build(tmp_path / "run/model.onnx", "ulx3s-85f", tmp_path / "build", stop_after="emulate",
                 frames=tmp_path / "run/x_test.npy", labels=tmp_path / "run/y_test.npy")  # fmt: skip
    assert made.report.verified["emulator"].figures == pytest.approx(results["figures"]["test"], rel=1e-3)


@pytest.mark.quick
def test_the_autoencoder_of_mlperf_tiny():
    model = create_model("ad-mlp-w8a8")
    widths = [block.linear.weight.shape for block in model.hidden]
    assert [tuple(shape) for shape in widths] == [(128, 640), *[(128, 128)] * 3, (8, 128), (128, 8), *[(128, 128)] * 3]
    assert model.output.weight.shape == (640, 128)


@pytest.mark.quick
def test_targets_of_each_task(tmp_path):
    x = np.arange(60.0).reshape(20, 3)
    np.savez(
        tmp_path / "own.npz", x_train=x, y_train=["hum"] * 20, x_test=x[:4], y_test=["hum", "bang", "hum", "click"]
    )
    np.testing.assert_array_equal(load_data(tmp_path / "own.npz", task="reconstruction").y_test, [0, 1, 0, 1])
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(20) % 2)
    data = load_data(tmp_path / "own.npz", task="reconstruction", test_share=0.5)
    assert (data.y_train == 0).all()  # anomalous samples are for the test only
    assert len(data.x_train) + len(data.x_test) == 20 - (10 - data.y_test.sum())
    np.savez(tmp_path / "own.npz", x=x)
    data = load_data(tmp_path / "own.npz", task="reconstruction")
    assert (len(data.x_train), len(data.x_test), data.y_test.sum()) == (16, 4, 0)
    np.savez(tmp_path / "own.npz", x=x, y=x[:, :2] / 7)
    data = load_data(tmp_path / "own.npz", task="regression")
    assert (data.y_train.dtype, data.y_train.shape, data.classes) == (np.float32, (16, 2), 2)
    images = load_data("digits", task="reconstruction")
    assert (images.classes, images.task) == (64, "reconstruction")
    for options, content, message in (
        ({"task": "regression"}, {"x": x, "y": ["a"] * 20}, "'a' is no number to predict: take task classification"),
        ({"task": "regression"}, {"x": x, "y": np.full(20, np.inf)}, "numbers to predict are not all finite"),
        ({"task": "sorting"}, {"x": x, "y": x[:, 0]}, "no task 'sorting': choose classification, regression, recon"),
        ({"task": "reconstruction"}, {"x": x, "y": np.ones(20)}, "no normal sample"),
    ):
        np.savez(tmp_path / "own.npz", **content)
        with pytest.raises(QuantError, match=message):
            load_data(tmp_path / "own.npz", **options)


@pytest.mark.quick
def test_what_numbers_cannot_have(tmp_path):
    np.savez(tmp_path / "own.npz", x=np.arange(60.0).reshape(20, 3), y=np.arange(20.0))
    data = load_data(tmp_path / "own.npz", task="regression")
    for changes, message in (
        ({"loss": "cross_entropy"}, "no loss 'cross_entropy' for regression: choose mse or huber"),
        ({"class_weights": (1.0,)}, "class_weights are for classes"),
        ({"label_smoothing": 0.1}, "only cross_entropy has it"),
    ):
        with pytest.raises(QuantError, match=message):
            fit(create_model("tfc-w4a4", **data.options), data, TrainConfig(epochs=1, **changes))
    plain = create_model("tfc-w4a4", **{name: value for name, value in data.options.items() if name != "targets"})
    with pytest.raises(QuantError, match="was created for classification: take"):
        fit(plain, data, TrainConfig(epochs=1))
    with pytest.raises(QuantError, match="lookup-s counts votes for classes and gives no numbers"):
        create_model("lookup-s", **{**data.options, "classes": 2})
    with pytest.raises(QuantError, match="a teacher teaches classes"):
        fit(create_model("tfc-w4a4", **data.options), data, TrainConfig(epochs=1), teacher="nowhere")
    with pytest.raises(QuantError, match="no loss 'mse' for classification: choose cross_entropy"):
        fit(create_model("tfc-w1a1"), load_data("digits"), TrainConfig(epochs=1, loss="mse"))
