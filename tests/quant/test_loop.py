"""The training loop: what is learned, settings and arguments; several processes."""

import os
import subprocess
import sys

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from quant import TrainConfig, TrainerOptions, create_model, fit, load_data
from quant.data import stratified
from quant.errors import QuantError
from quant.metrics import accuracy
from quant.models.network import model_inputs
from tests.quant.small_training import model_for, small


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


def test_a_training_that_diverges_ends_and_says_so():
    data = small()
    with pytest.raises(QuantError, match=r"the training diverged: the loss of epoch \d is (nan|inf); .* than 1e\+30$"):
        fit(model_for(data, "tfc-w4a4"), data, TrainConfig(epochs=3, learning_rate=(1e30, 1e29)))

    class Overflow(Callback):
        def on_train_batch_end(self, trainer, module, *_):
            if trainer.is_last_batch:  # no loss shows it
                next(module.model.output.parameters()).data[0] = torch.inf

    with pytest.raises(
        QuantError, match=r"^the training diverged: output\.\S+ has numbers that are not finite after epoch 1"
    ):
        fit(model_for(data, "tfc-w4a4"), data, TrainConfig(epochs=1), callbacks=[Overflow()])


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
        ({"config": TrainConfig(validation=0.001)}, "leaves 0 for the validation and .* give another share"),
        ({"config": TrainConfig(validation=0.999)}, "for the validation and 0 for the training"),
        ({"config": TrainConfig(trainer=TrainerOptions(devices=3, strategy="ddp"))}, "a multiple"),
    ],
)
def test_bad_arguments(options, message):
    data = small()
    with pytest.raises(QuantError, match=message) as caught:
        fit(model_for(data), data, **options)
    assert caught.value.status == 2


def test_data_that_do_not_fit():
    with pytest.raises(QuantError, match=r"create the model with input_shape=\(1, 4, 4\)"):
        fit(create_model("tfc-w1a1"), small())
    with pytest.raises(QuantError, match="create the model with classes=10"):
        fit(create_model("tfc-w1a1", classes=3), "digits")


DDP = """
import sys, torch
from quant import TrainConfig, TrainerOptions, create_model, fit
from tests.quant.small_training import small

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


def test_a_network_in_eval_mode_is_trained_as_one_in_training_mode():
    """As networks are that were loaded: their BatchNorms go on too."""
    data = small()
    states = []
    for mode in (True, False):
        model = model_for(data, seed=5).train(mode)
        before = {name: value.clone() for name, value in model.state_dict().items() if "running" in name}
        fit(model, data, TrainConfig(epochs=2))
        assert before
        assert all(not torch.equal(model.state_dict()[name], value) for name, value in before.items())
        states.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*states)
