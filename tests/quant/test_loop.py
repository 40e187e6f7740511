"""The training rules against their formulas, and the loop: it learns, repeats itself, stays quiet, can be stopped."""

import math
import os
import signal
import subprocess
import sys
import types
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from quant import TrainConfig, TrainerOptions, create_model, fit, load_data
from quant.data import DataSet, stratified
from quant.errors import QuantError
from quant.metrics import accuracy
from quant.models.network import model_inputs
from quant.schemes.scheme import Scheme
from quant.training import lightning_module
from quant.training.batches import AUGMENTATIONS, Batches, flip_crop, shift
from quant.training.callbacks import Bar, KeepCheckpoint
from quant.training.config import Augmentation, Loss


def small(seed: int = 0) -> DataSet:
    """Two easily told classes of 4 x 4 images."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, 300)
    x = (random.integers(0, 8, (300, 1, 4, 4)) + 8 * y[:, None, None, None]).astype(np.uint8)
    return DataSet("small", x[:200], y[:200], x[200:], y[200:], classes=2, low=0, high=16)


def model_for(data: DataSet, name: str = "tfc-w1a1", seed: int = 0):
    torch.manual_seed(seed)
    return create_model(name, input_shape=data.shape, classes=data.classes, in_range=(data.low, data.high))


def test_squared_hinge():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    targets = np.where(np.arange(4) == labels.numpy()[:, None], 1.0, -1.0)
    expected = (np.maximum(0, 1 - targets * logits.numpy()) ** 2).mean()
    assert float(lightning_module.squared_hinge(logits, labels)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("shape", "fans"), [((64, 784), 848), ((10, 64), 74), ((16, 8, 3, 3), 24 * 9)])
def test_glorot_factor(shape, fans):
    assert lightning_module.glorot_factor(torch.empty(shape)) == pytest.approx(1 / math.sqrt(1.5 / fans), rel=1e-12)


def test_binary_weights_move_at_the_scaled_rate():
    model = create_model("tfc-w1a1", in_features=20)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    groups = lightning_module.parameter_groups(model, 1e-3)
    assert sum(len(group["params"]) for group in groups) == len(before)
    optimizer = torch.optim.Adam(groups)
    for p in model.parameters():
        p.grad = torch.full_like(p, 0.5)
    optimizer.step()  # Adam's first step is the learning rate, against the gradient's sign
    for name, p in model.named_parameters():
        rate = 1e-3
        if name.endswith("linear.weight") or name == "output.weight":
            rate *= math.sqrt((p.shape[0] + p.shape[1]) / 1.5)
        np.testing.assert_allclose((before[name] - p.detach()).numpy(), rate, rtol=1e-3)


def test_no_scaling_and_no_clipping_where_the_scheme_has_none():
    model = create_model("tfc-w4a4")
    assert [group["lr"] for group in lightning_module.parameter_groups(model, 0.25)] == [0.25]
    layers = lightning_module.scheme_layers(model)[model.scheme]
    assert len(layers) == 4
    with torch.no_grad():
        layers[0].weight.fill_(3.0)
    model.scheme.after_step(layers, torch.optim.SGD(model.parameters()))
    assert layers[0].weight.max().item() == 3.0


def test_weights_stay_clipped_while_training():
    data = small()
    model = model_for(data)
    fit(model, data, TrainConfig(epochs=3, learning_rate=(1.0, 1.0)))  # large steps: nearly every weight hits the limit
    weights = torch.cat(
        [layer.weight.detach().flatten() for layer in lightning_module.scheme_layers(model)[model.scheme]]
    )
    assert float(weights.abs().max()) == 1.0


def test_the_rate_falls_along_half_a_cosine():
    data = small()
    result = fit(model_for(data, "tfc-w4a4"), data, TrainConfig(epochs=5, learning_rate=(0.1, 0.001)))
    expected = [0.001 + 0.099 * (1 + math.cos(math.pi * i / 4)) / 2 for i in range(5)]
    np.testing.assert_allclose([epoch.learning_rate for epoch in result.history], expected, rtol=1e-9)


def test_the_optimizer_gets_the_rates(monkeypatch):
    seen = []
    data = small()
    model = model_for(data)
    step = type(model.scheme).after_step

    def after_step(self, layers, optimizer):
        seen.append([group["lr"] for group in optimizer.param_groups])
        step(self, layers, optimizer)

    monkeypatch.setattr(type(model.scheme), "after_step", after_step)
    fit(model, data, TrainConfig(epochs=2, learning_rate=(0.1, 0.001)))
    scaled = [
        lightning_module.glorot_factor(layer.weight) for layer in lightning_module.scheme_layers(model)[model.scheme]
    ]
    np.testing.assert_allclose(seen[0], [*(0.1 * s for s in scaled), 0.1], rtol=1e-9)
    np.testing.assert_allclose(seen[-1], [*(0.001 * s for s in scaled), 0.001], rtol=1e-9)
    assert len(seen) == 4


def test_digits_are_learned_quietly(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    result = fit(create_model("tfc-w1a1"), load_data("digits"), TrainConfig(epochs=12))
    assert result.test_accuracy > 0.85
    assert result.train_accuracy > 0.85
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_arrays_may_be_read_only(recwarn):
    data = small()
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        array.flags.writeable = False
    fit(model_for(data), data, TrainConfig(epochs=1))
    assert not [warning for warning in recwarn if "writable" in str(warning.message)]


def test_equal_seeds_give_equal_results():
    data = small()
    states = []
    for seed in (1, 1, 2):
        model = model_for(data, seed=5)
        torch.rand(seed)  # the caller's random numbers do not matter
        fit(model, data, TrainConfig(epochs=2, seed=seed))
        states.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_the_best_epoch_is_kept(capfd):
    data = small()
    model = model_for(data, "tfc-w4a4")
    result = fit(model, data, TrainConfig(epochs=4, validation=0.25), progress=True)
    assert result.validation_accuracy is not None
    assert 1 <= result.epoch <= 4
    # the restored parameters are those whose validation accuracy was reported
    apart = stratified(data.y_train, 0.25, 0)
    x = torch.from_numpy(model_inputs(model, data.x_train[apart]))
    assert accuracy(model, x, torch.from_numpy(data.y_train[apart])) == result.validation_accuracy
    assert "training tfc-w4a4" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"validation": 1.0}, "validation=1.0"),
        ({"loss": "hinge"}, "cross_entropy or squared_hinge"),
        ({"loss": "squared_hinge", "label_smoothing": 0.1}, "only cross_entropy has it"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"patience": 3}, "needs a validation part"),
        ({"patience": 0, "validation": 0.1}, "patience=0"),
        ({"augment": "rotate"}, "shift or flip-crop"),
        ({"learning_rate": (0.0, 1e-3)}, r"learning_rate=\(0.0, 0.001\)"),
        ({"learning_rate": (1e-2, float("nan"))}, r"learning_rate=\(0.01, nan\)"),
        ({"learning_rate": (1e-2,)}, r"learning_rate=\(0.01,\)"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(QuantError, match=message) as caught:
        TrainConfig(**options)
    assert caught.value.status == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True}, "the folder to go on from"),
        ({"teacher": "nowhere"}, "no teacher nowhere"),
        ({"config": TrainConfig(trainer=TrainerOptions(devices=0))}, r"Lightning refuses trainer={'devices': 0}"),
        (
            {"config": TrainConfig(trainer=TrainerOptions(devices=2, strategy="ddp_spawn"))},
            "use strategy='ddp'",
        ),
        ({"config": TrainConfig(trainer=TrainerOptions(devices=3, strategy="ddp"))}, "a multiple"),
    ],
)
def test_bad_arguments(options, message):
    data = small()
    with pytest.raises(QuantError, match=message) as caught:
        fit(model_for(data), data, **options)
    assert caught.value.status == 2


def test_names_of_losses_and_augmentations():
    assert set(get_args(Loss)) == set(lightning_module.LOSSES)
    assert set(get_args(Augmentation)) == set(AUGMENTATIONS)


def test_augmentation_is_for_images():
    data = small()
    flat = replace(data, x_train=data.x_train.reshape(-1, 16), x_test=data.x_test.reshape(-1, 16))
    with pytest.raises(QuantError, match=r"augment='shift' is for images, but small has inputs of shape \(16,\)"):
        fit(model_for(flat), flat, TrainConfig(augment="shift"))


def test_data_that_do_not_fit():
    with pytest.raises(QuantError, match=r"create the model with input_shape=\(1, 4, 4\)"):
        fit(create_model("tfc-w1a1"), small())
    with pytest.raises(QuantError, match="create the model with classes=10"):
        fit(create_model("tfc-w1a1", classes=3), "digits")


def test_an_interrupt_reaches_the_caller(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(model_for(small()).scheme), "after_step", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    data = small()
    with pytest.raises(KeyboardInterrupt):
        fit(model_for(data), data, TrainConfig(epochs=2))
    assert signal.getsignal(signal.SIGINT) is handler


def interrupt_after(monkeypatch, steps: int):
    """Lets the training of any scheme end in a Ctrl-C at that step."""
    original, count = Scheme.after_step, 0

    def after_step(self, layers, optimizer):
        nonlocal count
        count += 1
        if count > steps:
            raise KeyboardInterrupt
        original(self, layers, optimizer)

    monkeypatch.setattr(Scheme, "after_step", after_step)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tfc-w1a1", {}),
        ("tfc-w2a2", {"validation": 0.2, "augment": "shift", "batch_size": 40}),
        ("tfc-w4a4", {"label_smoothing": 0.1, "batch_size": 30}),
    ],
)
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path, monkeypatch, name, options):
    data = small()

    def fresh():
        torch.manual_seed(3)
        return create_model(name, input_shape=data.shape, classes=2, in_range=(0, 16), dropout=0.2)

    expected = fresh()
    config = TrainConfig(epochs=7, **options)
    wanted = fit(expected, data, config)
    monkeypatch.setattr(KeepCheckpoint, "interval", 0.0)
    for steps in (2, 3, 7):  # in every run some steps further than where the one before it was interrupted
        with monkeypatch.context() as patch:
            interrupt_after(patch, steps)
            with pytest.raises(KeyboardInterrupt):
                fit(fresh(), data, config, checkpoint=tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    for _ in range(2):  # the second has nothing left to train
        found = fresh()
        result = fit(found, data, config, checkpoint=tmp_path, resume=True)
        assert result.history == wanted.history
        assert (result.test_accuracy, result.epoch) == (wanted.test_accuracy, wanted.epoch)
        for key, value in expected.state_dict().items():
            assert torch.equal(found.state_dict()[key], value), key


def test_checkpoints_of_another_training_and_damaged_ones(tmp_path):
    data = small()
    fit(model_for(data), data, TrainConfig(epochs=2), checkpoint=tmp_path)
    with pytest.raises(QuantError, match="with epochs=2 instead of 3") as caught:
        fit(model_for(data), data, TrainConfig(epochs=3), checkpoint=tmp_path, resume=True)
    assert caught.value.status == 2
    (tmp_path / "last.ckpt").write_bytes(b"damaged")
    with pytest.raises(QuantError, match="no checkpoint of a training"):
        fit(model_for(data), data, TrainConfig(epochs=2), checkpoint=tmp_path, resume=True)
    assert fit(model_for(data), data, TrainConfig(epochs=2), checkpoint=tmp_path).epoch == 2


def test_patience_ends_a_training(tmp_path):
    data = small()
    config = TrainConfig(epochs=40, learning_rate=(1.0, 1.0), validation=0.25, patience=3)
    model = model_for(data, "tfc-float")
    result = fit(model, data, config, checkpoint=tmp_path)
    assert len(result.history) == result.epoch + 3 < 40
    reached = [epoch.validation_accuracy for epoch in result.history]
    assert result.validation_accuracy == max(reached)
    again = fit(model_for(data, "tfc-float"), data, config, checkpoint=tmp_path, resume=True)
    assert again.history == result.history


def test_history():
    data = small()
    result = fit(model_for(data), data, TrainConfig(epochs=6, validation=0.2))
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3, 4, 5, 6]
    first, last = result.history[0], result.history[-1]
    assert last.loss < first.loss
    assert last.train_accuracy > 0.9
    assert result.validation_accuracy == max(epoch.validation_accuracy for epoch in result.history)
    assert 0 <= last.flip_ratio < first.flip_ratio < 1
    assert fit(model_for(data, "tfc-float"), data, TrainConfig(epochs=1)).history[0].flip_ratio is None


def test_the_flip_ratio_counts_changed_codes(monkeypatch):
    data = small()
    model = model_for(data)
    codes = [[layer.weight.detach().sign() for layer in lightning_module.scheme_layers(model)[model.scheme]]]
    end = lightning_module.Training.on_train_epoch_end

    def on_train_epoch_end(self):
        codes.append([layer.weight.detach().sign() for layer in lightning_module.scheme_layers(model)[model.scheme]])
        end(self)

    monkeypatch.setattr(lightning_module.Training, "on_train_epoch_end", on_train_epoch_end)
    result = fit(model, data, TrainConfig(epochs=2, learning_rate=(0.01, 0.01)))
    for epoch, before, after in zip(result.history, codes[:-1], codes[1:], strict=True):
        flips = sum(int((a != b).sum()) for a, b in zip(before, after, strict=True))
        assert epoch.flip_ratio == flips / sum(a.numel() for a in after) > 0


def test_the_history_counts_every_sample_once():
    data = small()
    model = model_for(data, "tfc-float")
    result = fit(
        model, data, TrainConfig(epochs=1, batch_size=200, learning_rate=(1e-9, 1e-9))
    )  # one batch, a still network
    x, y = torch.from_numpy(model_inputs(model, data.x_train)), torch.from_numpy(data.y_train)
    logits = model.train()(x).detach()
    assert result.history[0].loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, y)), rel=1e-4)
    assert result.history[0].train_accuracy == pytest.approx(float((logits.argmax(1) == y).float().mean()), abs=0.011)


def test_batches_are_shared():
    x, y = torch.arange(20).reshape(10, 2), torch.arange(10)

    def batches(rank, processes):
        made = Batches(x, y, 4, shape=(1, 2), seed=5, rank=rank, processes=processes)
        return [list(made), list(made)]

    whole, parts = batches(0, 1), [batches(rank, 2) for rank in (0, 1)]
    assert [len(epoch) for epoch in whole] == [2, 2]
    assert not torch.equal(whole[0][0][1], whole[1][0][1])  # a new order each time
    for epoch in (0, 1):
        for number in (0, 1):
            labels = whole[epoch][number][1]
            assert set(labels.tolist()) == {int(i) for part in parts for i in part[epoch][number][1]}
            assert all(part[epoch][number][0].shape == (2, 1, 2) for part in parts)


def test_augmentation():
    images = torch.zeros(200, 2, 16, 24)
    images[:, 0, 8, 10] = 1
    images[:, 1, 8, 11] = 2
    for part, rows, columns in ((16, range(7, 10), range(9, 12)), (8, range(6, 11), range(7, 14))):
        moved = shift(images, part)
        assert moved.shape == images.shape
        places = moved[:, 0].nonzero()
        assert len(places) == 200
        assert set(places[:, 1].tolist()) == set(rows)
        assert set(places[:, 2].tolist()) == set(columns)
        np.testing.assert_array_equal(moved[:, 1].nonzero()[:, 2], places[:, 2] + 1)  # channels move together
    mirrored = flip_crop(images)
    side = mirrored[:, 1].nonzero()[:, 2] - mirrored[:, 0].nonzero()[:, 2]
    assert 60 < int((side == -1).sum()) < 140
    assert set(side.tolist()) == {-1, 1}


def test_the_bar_in_a_notebook(monkeypatch):
    shown = []

    class Handle:
        def update(self, content):
            shown.append(content)

    fake = types.ModuleType("IPython.display")
    fake.display = lambda content, display_id: shown.append(content) or Handle()
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    data = small()
    assert Bar("x", 2).visible
    fit(model_for(data), data, TrainConfig(epochs=2))
    assert len(shown) == 3  # at the start and after each epoch
    assert "epoch 2/2" in shown[-1]._repr_mimebundle_([], [])["text/plain"]


DDP = """
import sys, torch
from quant import TrainConfig, TrainerOptions, create_model, fit
from tests.quant.test_loop import small

torch.set_num_threads(1)
data = small()
torch.manual_seed(0)
model = create_model("tfc-w4a4", input_shape=data.shape, classes=2, in_range=(0, 16), batch_norm=False)
trainer = TrainerOptions(devices=2, strategy="ddp") if sys.argv[2] == "2" else TrainerOptions()
result = fit(model, data, TrainConfig(epochs=3, validation=0.2, trainer=trainer))
rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
torch.save({"state": model.state_dict(), "result": vars(result) | {"history": [vars(e) for e in result.history]}},
           f"{sys.argv[1]}/{sys.argv[2]}-{rank}.pt")
"""


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path):
    """Equal in both processes, and, but for the first scales of activations, what one process trains."""
    script = tmp_path / "script.py"
    script.write_text(DDP)
    for processes in ("1", "2"):
        subprocess.run(
            [sys.executable, str(script), str(tmp_path), processes],
            check=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
    single, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
    for key in first["result"].keys() - {"seconds"}:
        assert first["result"][key] == second["result"][key], key
    for ours, theirs in zip(single["result"]["history"], first["result"]["history"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.1)
        assert ours["train_accuracy"] == pytest.approx(theirs["train_accuracy"], abs=0.05)
