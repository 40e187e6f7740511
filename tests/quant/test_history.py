"""What a training says of its epochs: history, patience, the bar."""

import sys
import types

import pytest
import torch

from quant import TrainConfig, fit
from quant.models.network import model_inputs
from quant.training import lightning_module
from quant.training.callbacks import Bar
from tests.quant.small_training import model_for, small


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
