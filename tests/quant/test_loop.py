"""The training rules against their formulas, and the loop: it learns, repeats itself, stays quiet, can be stopped."""

import math
import signal

import numpy as np
import pytest
import torch

from quant import create_model, fit, load_data, loop
from quant.data import DataSet
from quant.errors import QuantError


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
    assert float(loop.squared_hinge(logits, labels)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("shape", "fans"), [((64, 784), 848), ((10, 64), 74), ((16, 8, 3, 3), 24 * 9)])
def test_glorot_factor(shape, fans):
    assert loop.glorot_factor(torch.empty(shape)) == pytest.approx(1 / math.sqrt(1.5 / fans), rel=1e-12)


def test_binary_weights_move_at_the_scaled_rate():
    model = create_model("tfc-w1a1", in_features=20)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    groups = loop.parameter_groups(model, 1e-3)
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
    assert [group["lr"] for group in loop.parameter_groups(model, 0.25)] == [0.25]
    layers = loop.scheme_layers(model)[model.scheme]
    assert len(layers) == 4
    with torch.no_grad():
        layers[0].weight.fill_(3.0)
    model.scheme.after_step(layers, torch.optim.SGD(model.parameters()))
    assert layers[0].weight.max().item() == 3.0


def test_weights_stay_clipped_while_training():
    data = small()
    model = model_for(data)
    fit(model, data, epochs=3, learning_rate=(1.0, 1.0))  # large steps: nearly every weight hits the limit
    weights = torch.cat([layer.weight.detach().flatten() for layer in loop.scheme_layers(model)[model.scheme]])
    assert float(weights.abs().max()) == 1.0


def test_the_rate_falls_along_half_a_cosine():
    training = loop._Training(model_for(small()), "cross_entropy", (0.1, 0.001), epochs=5)
    [optimizer], [schedule] = training.configure_optimizers()
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[-1]["lr"])
        optimizer.step()
        schedule.step()
    expected = [0.001 + 0.099 * (1 + math.cos(math.pi * i / 4)) / 2 for i in range(5)]
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


def test_digits_are_learned_quietly(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    result = fit(create_model("tfc-w1a1"), load_data("digits"), epochs=12)
    assert result.test_accuracy > 0.85
    assert result.train_accuracy > 0.85
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_equal_seeds_give_equal_results():
    data = small()
    states = []
    for seed in (1, 1, 2):
        model = model_for(data, seed=5)
        torch.rand(seed)  # the caller's random numbers do not matter
        fit(model, data, epochs=2, seed=seed)
        states.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_the_best_epoch_is_kept(capfd):
    data = small()
    model = model_for(data, "tfc-w4a4")
    result = fit(model, data, epochs=4, validation=0.25, progress=True)
    assert result.validation_accuracy is not None
    assert 1 <= result.epoch <= 4
    # the restored parameters are those whose validation accuracy was reported
    apart = loop.stratified(data.y_train, 0.25, 0)
    x = torch.from_numpy(loop.model_inputs(model, data.x_train[apart]))
    assert loop.accuracy(model, x, torch.from_numpy(data.y_train[apart])) == result.validation_accuracy
    assert "training tfc-w4a4" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"validation": 1.0}, "validation=1.0"),
        ({"loss": "hinge"}, "cross_entropy or squared_hinge"),
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


def test_an_interrupt_reaches_the_caller(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(model_for(small()).scheme), "after_step", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    data = small()
    with pytest.raises(KeyboardInterrupt):
        fit(model_for(data), data, epochs=2)
    assert signal.getsignal(signal.SIGINT) is handler
