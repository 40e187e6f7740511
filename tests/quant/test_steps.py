"""What a training step changes: losses, rates, scaling and clipping of weights."""

import math

import numpy as np
import pytest
import torch

from quant import TrainConfig, create_model, fit
from quant.training import lightning_module
from tests.quant.small_training import model_for, small


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
