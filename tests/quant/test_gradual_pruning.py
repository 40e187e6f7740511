"""Pruning during a training: the schedule, a group lasso, biased decay."""

import types
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quant import (
    Pruning,
    TrainConfig,
    compression,
    fit,
    load_checkpoint,
    save_checkpoint,
)
from quant.compression.selection import densities
from quant.compression.weights import compression_of, weight_of
from quant.errors import QuantError
from quant.structure import structure
from quant.training.callbacks import KeepCheckpoint
from quant.training.config import Bias
from quant.training.pruning import GradualPruning, cubic, pruning_callbacks
from tests.quant.compressed import pruned_matrix
from tests.quant.small_training import interrupt_after, model_for, small

few = settings(max_examples=25, deadline=None)


@pytest.mark.parametrize("bias", get_args(Bias))
def test_the_gradient_of_biased_decay(bias):
    weight = torch.tensor([-2.0, -0.1, -0.001, 0.0, 0.001, 0.05, 3.0], requires_grad=True)
    c, w = 10.0, weight.detach()
    compression.BIASES[bias](weight, c).sum().backward()
    value = {"hyperbolic": w.abs() / (1 + c * w.abs()), "exponential": (1 - torch.exp(-c * w.abs())) / c}[bias]
    slope = {"hyperbolic": w.sign() / (1 + c * w.abs()) ** 2, "exponential": w.sign() * torch.exp(-c * w.abs())}[bias]
    torch.testing.assert_close(compression.BIASES[bias](w, c), value)
    torch.testing.assert_close(weight.grad, slope)


@few
@given(st.data())
def test_the_proximal_step_of_a_group_lasso(data):
    text = data.draw(st.sampled_from(["unstructured", "columns", "blocks:2x3", "bank-balanced:4x2"]))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    matrix, amount = torch.randn(8, 12), data.draw(st.sampled_from([0.1, 1.0, 2.5, 100.0]))
    height, width = {"unstructured": (1, 1), "columns": (8, 1), "blocks:2x3": (2, 3), "bank-balanced:4x2": (4, 1)}[text]
    expected, left = matrix.clone(), torch.ones(8, 12, dtype=torch.bool)
    for i in range(0, 8, height):
        groups = [np.s_[i : i + height, j : j + width] for j in range(0, 12, width)]
        norms = [float(matrix[group].norm()) for group in groups]
        for group, norm in zip(groups, norms, strict=True):
            if max(norms) <= amount and norm == max(norms):
                continue  # the last one of these outputs
            expected[group] = matrix[group] * max(0.0, 1 - amount / norm)
            left[group] = norm > amount
    shrunk, kept = compression.shrink(matrix, structure(text), amount)
    torch.testing.assert_close(shrunk, expected)
    assert torch.equal(kept, left)
    assert bool(kept.any(1).all())


def test_training_with_a_group_lasso_and_biased_decay():
    data, zeros = small(), {}
    for name, options in (
        ("plain", {}),
        ("lasso", {"lasso": 7.0, "structure": "columns"}),
        ("decay", {"decay": "hyperbolic", "decay_rate": 0.1}),
    ):
        model = model_for(data, "tfc-w4a4")
        fit(model, data, TrainConfig(epochs=10, prune=Pruning(0.0, layers="hidden.1.*", **options)))
        layer = model.hidden[1].linear
        zeros[name] = float((weight_of(layer) == 0).float().mean())
        columns = pruned_matrix(layer)
        assert bool((columns == columns[0]).all())
        assert not bool(weight_of(layer)[~compression_of(layer).mask].any())
        assert 0 < int(columns[0].sum()) < 64 if name == "lasso" else bool(columns.all())
    assert zeros["plain"] < min(zeros["decay"], zeros["lasso"])


def test_biased_decay_is_part_of_the_loss():
    model = model_for(small(), "tfc-w4a4")
    pruning, decay = pruning_callbacks(model, Pruning(0.0, decay="exponential", decay_rate=0.25), None)
    pruning.plan(100)
    weight = model.hidden[1].linear.weight
    weight.grad = torch.rand_like(weight)
    before, w = weight.grad.clone(), weight.detach()
    for step in (59, 60):  # it ends with the pruning
        decay.on_after_backward(types.SimpleNamespace(global_step=step), None)
    torch.testing.assert_close(weight.grad - before, 0.25 * w.sign() * torch.exp(-10 * w.abs()))


def test_the_cubic_schedule(monkeypatch):
    assert [cubic(0.75, t / 4) for t in range(5)] == [0.0, *(0.75 * (1 - (1 - t / 4) ** 3) for t in (1, 2, 3, 4))]
    data, seen = small(), []
    model = model_for(data, "tfc-w4a4")
    step = GradualPruning.on_train_batch_end

    def watched(self, trainer, *rest):
        step(self, trainer, *rest)
        seen.append((trainer.global_step, densities({"0": model.hidden[0].linear})["0"]))

    monkeypatch.setattr(GradualPruning, "on_train_batch_end", watched)
    fit(model, data, TrainConfig(epochs=10, batch_size=20, prune=Pruning(0.75, begin=0.1, end=0.6, every=7)))
    assert len(seen) == 100
    count = model.hidden[0].linear.weight.numel()
    for done, density in seen:
        steps = min(max(0, done - 10), 50)
        last = 50 if steps == 50 else steps - steps % 7
        assert density == 1 - round(cubic(0.75, last / 50) * count) / count


def test_a_resumed_pruning_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    data = small()
    pruning = Pruning(0.7, end=0.7, structure="bank-balanced:4x2")
    config = TrainConfig(epochs=5, batch_size=40, validation=0.2, prune=pruning)
    expected = model_for(data, "tfc-wternarya2")
    wanted = fit(expected, data, config)
    assert wanted.epoch >= 4  # only pruned networks are candidates
    monkeypatch.setattr(KeepCheckpoint, "interval", 0.0)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 9)
        with pytest.raises(KeyboardInterrupt):
            fit(model_for(data, "tfc-wternarya2"), data, config, checkpoint=tmp_path)
    found = model_for(data, "tfc-wternarya2")
    assert fit(found, data, config, checkpoint=tmp_path, resume=True).history == wanted.history
    for key, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key
    save_checkpoint(found, tmp_path / "checkpoint.pt")
    again = load_checkpoint(tmp_path / "checkpoint.pt")
    for key, value in expected.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    with pytest.raises(QuantError, match="is of another training, with prune="):
        fit(model_for(data, "tfc-wternarya2"), data, TrainConfig(epochs=5, batch_size=40, validation=0.2),
            checkpoint=tmp_path, resume=True)  # fmt: skip
