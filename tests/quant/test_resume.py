"""Interrupted trainings, and checkpoints to go on from."""

import signal

import pytest
import torch

from quant import TrainConfig, create_model, fit
from quant.errors import QuantError
from quant.training.callbacks import KeepCheckpoint
from quant.training.start import start_from
from tests.quant.small_training import interrupt_after, model_for, small


def test_an_interrupt_reaches_the_caller(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(model_for(small()).scheme), "after_step", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    data = small()
    with pytest.raises(KeyboardInterrupt):
        fit(model_for(data), data, TrainConfig(epochs=2))
    assert signal.getsignal(signal.SIGINT) is handler


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
    with pytest.raises(QuantError, match="with seed=0 instead of 3") as caught:
        fit(model_for(data), data, TrainConfig(epochs=2, seed=3), checkpoint=tmp_path, resume=True)
    assert caught.value.status == 2
    (tmp_path / "last.ckpt").write_bytes(b"damaged")
    with pytest.raises(QuantError, match="no checkpoint of a training"):
        fit(model_for(data), data, TrainConfig(epochs=2), checkpoint=tmp_path, resume=True)
    assert fit(model_for(data), data, TrainConfig(epochs=2), checkpoint=tmp_path).epoch == 2


@pytest.mark.parametrize("other", ["samples", "teacher", "start"])
def test_a_training_with_other_samples_teachers_or_weights_is_not_resumed(other, tmp_path):
    """Their names are the same."""
    data, config = small(), TrainConfig(epochs=2)

    def student(data, seed):
        model = model_for(data)
        start_from(model, model_for(data, "tfc-float", seed))
        return model

    fit(student(data, 1), data, config, checkpoint=tmp_path, teacher=model_for(data, "tfc-float"))
    seeds = {"start": 2 if other == "start" else 1, "teacher": 3 if other == "teacher" else 0}
    changed = small(1 if other == "samples" else 0)
    words = {"samples": "samples", "teacher": "taught_by", "start": "start"}
    with pytest.raises(QuantError, match=f"of another training, with {words[other]}=") as caught:
        fit(
            student(changed, seeds["start"]), changed, config, checkpoint=tmp_path, resume=True,
            teacher=model_for(data, "tfc-float", seeds["teacher"]),
        )  # fmt: skip
    assert caught.value.status == 2
