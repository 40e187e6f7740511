"""What a user says of a training: as a file, a rate, weights of classes, resuming, logs."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional

from quant import TrainConfig, TrainerOptions, create_model, fit, train_run
from quant.errors import QuantError, QuantWarning
from quant.schemes.scheme import Scheme
from quant.training.callbacks import KeepCheckpoint
from quant.training.config import Pruning, Slimming, Tying
from quant.training.config_file import read_config
from quant.training.lightning_module import squared_hinge
from quant.training.logs import make_logger
from tests.quant.small_training import model_for, small

CONFIGS = (
    TrainConfig(),
    TrainConfig(7, 3, 20, 1e-2, "squared_hinge", class_weights=(1, 2.5), augment="shift", validation=0.1, patience=2),
    TrainConfig(learning_rate=(1e-2, 0.0), class_weights="balanced", log="csv", label_smoothing=0.1),
    TrainConfig(
        prune=Pruning(0.5, layers=("hidden.*",), structure="2:4"), slimming=Slimming(), tie=Tying("circulant:4")
    ),
    TrainConfig(trainer=TrainerOptions(devices=(0, 2), strategy="ddp")),
)


@pytest.mark.quick
@pytest.mark.parametrize("config", CONFIGS)
def test_settings_survive_a_file(config):
    assert TrainConfig.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: tfc-w1a1", "has no key 'modle': did you mean model"),
        ("training: {epoch: 3}", "training has no setting 'epoch': did you mean epochs"),
        ("training: {epochs: 0}", "train.yaml: epochs=0"),
        ("training: {epochs: many}", "has a value of another type"),
        ("training: {prune: {fration: 0.5}}", r"training\.prune has no setting 'fration': did you mean fraction"),
        ("training: {prune: 0.5}", r"training\.prune=0\.5 is no mapping"),
        ("training: 3", "training is 3, not a mapping"),
        ("model: [1]", r"model is \[1\], not a text"),
        ("a: [", "line 1 is no YAML"),
        ("training:\n  epochs: 3\n  epochs: 4", "line 3 is no YAML: the key epochs is given twice"),
        ("- a", "no mapping of arguments"),
    ],
)
def test_bad_files(tmp_path, text, message):
    (tmp_path / "train.yaml").write_text(text)
    with pytest.raises(QuantError, match=message) as caught:
        read_config(tmp_path / "train.yaml")
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)


@pytest.mark.quick
def test_one_rate_falls_as_the_schemes_do():
    assert TrainConfig(learning_rate=0.02).rates((0.1, 0.001)) == (0.02, pytest.approx(0.0002))
    assert TrainConfig(learning_rate=(0.02, 0.0)).rates((0.1, 0.001)) == (0.02, 0.0)
    assert TrainConfig().rates((0.1, 0.001)) == (0.1, 0.001)
    for rate in (0, -1.0, float("nan"), (1e-2,), (1e-2, -1), (1, 2, 3)):
        with pytest.raises(QuantError, match="is not a positive first and a last rate"):
            TrainConfig(learning_rate=rate)
    for weights in ((1, 0), (), "even", (1, float("inf"))):
        with pytest.raises(QuantError, match="class_weights"):
            TrainConfig(class_weights=weights)


@pytest.mark.quick
def test_weights_of_classes_in_the_losses():
    logits, labels, weight = torch.randn(40, 3), torch.arange(40) % 3, torch.tensor([1.0, 5.0, 0.5])
    each = torch.stack([squared_hinge(row[None], label[None]) for row, label in zip(logits, labels, strict=True)])
    expected = (each * weight[labels]).sum() / weight[labels].sum()
    torch.testing.assert_close(squared_hinge(logits, labels, weight), expected)
    torch.testing.assert_close(squared_hinge(logits, labels, torch.ones(3)), squared_hinge(logits, labels))
    each = functional.cross_entropy(logits, labels, reduction="none")
    expected = (each * weight[labels]).sum() / weight[labels].sum()
    torch.testing.assert_close(functional.cross_entropy(logits, labels, weight=weight), expected)


def test_balanced_classes_are_found_though_one_is_rare():
    data = small()
    few = np.concatenate([np.flatnonzero(data.y_train == 0), np.flatnonzero(data.y_train == 1)[:6]])
    noisy = np.clip(
        data.x_train[few].astype(int) + np.random.default_rng(0).integers(-9, 9, data.x_train[few].shape), 0, 16
    )
    rare = type(data)("rare", noisy.astype(np.uint8), data.y_train[few], data.x_test, data.y_test, 2, 0, 16)
    scores = {}
    for weights in (None, "balanced", (1.0, 17.0)):
        torch.manual_seed(0)
        model = model_for(data, "tfc-w4a4")
        scores[weights] = fit(model, rare, TrainConfig(epochs=8, batch_size=20, class_weights=weights)).history[-1].loss
    assert len(set(scores.values())) == 3
    with pytest.raises(QuantError, match="3 class_weights for the 2 classes of rare"):
        fit(create_model("tfc-w4a4", **rare.options), rare, TrainConfig(epochs=1, class_weights=(1, 2, 3)))


def test_a_run_is_given_back_by_its_file(tmp_path):
    config = TrainConfig(epochs=2, learning_rate=1e-2, class_weights="balanced", log="csv")
    first = train_run("tfc-w1a1", tmp_path / "a", config, scheme_options={}, model_options={"hidden": [16, 16]})
    arguments = read_config(tmp_path / "a/train.yaml")
    again = train_run(out=tmp_path / "b", **arguments)
    assert again["onnx"] == first["onnx"]
    assert arguments["config"] == config
    with (tmp_path / "a/logs/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [epoch["loss"] for epoch in first["fit"]["history"]]


def test_tensorboard_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("quant.training.logs.importlib.util.find_spec", lambda _: None)
    with pytest.raises(QuantError, match=r"run pip install 'bitfabric\[tensorboard\]', or take log=csv"):
        make_logger("tensorboard", tmp_path)


def test_resuming_with_other_epochs(tmp_path, monkeypatch):
    original, count = Scheme.after_step, 0

    def interrupted(self, layers, optimizer):
        nonlocal count
        count += 1
        if count > 33:  # in the third epoch
            raise KeyboardInterrupt
        original(self, layers, optimizer)

    folder = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(Scheme, "after_step", interrupted)
        patch.setattr(KeepCheckpoint, "interval", 0.0)
        with pytest.raises(KeyboardInterrupt):
            train_run("tfc-w1a1", folder, TrainConfig(epochs=4))
    with pytest.raises(QuantError, match=r"of which 2 epochs are done: give epochs of at least 2, not 1"):
        train_run("tfc-w1a1", folder, TrainConfig(epochs=1), resume=True)
    with pytest.raises(QuantError, match="seed=0 instead of 1"):
        train_run("tfc-w1a1", folder, TrainConfig(epochs=4, seed=1), resume=True)
    result = train_run("tfc-w1a1", folder, TrainConfig(epochs=6), resume=True)
    assert [epoch["epoch"] for epoch in result["fit"]["history"]] == [1, 2, 3, 4, 5, 6]
    assert json.loads((folder / "metrics.json").read_text())["config"]["epochs"] == 6
    with pytest.warns(QuantWarning, match="cut holds no interrupted training to resume: it starts from the beginning"):
        train_run("tfc-w1a1", folder, TrainConfig(epochs=1), resume=True)


def test_tensorboard_has_the_figures_of_every_epoch(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train_run("tfc-w1a1", tmp_path, TrainConfig(epochs=3, log="tensorboard"))
    events = reader.EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    scalars = {tag: len(events.Scalars(tag)) for tag in events.Tags()["scalars"]}
    assert scalars["loss"] == scalars["train_accuracy"] == 3
