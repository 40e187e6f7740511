"""Layers of experts: the choice, its gradients, the balance of the experts, and the exported form."""

import copy

import numpy as np
import pytest
import torch

from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from hw.verification.reference import compare
from quant import QuantError, TrainConfig, compression, create_model, export, fit, layers, load_data, schemes, summary


def _layer(experts: int = 3) -> layers.Experts:
    torch.manual_seed(0)
    made = layers.Experts(schemes.get("integer", weight_bits=4, act_bits=4), 6, 5, experts)
    made(torch.randn(64, 6))  # the scale of the gate's quantizer
    made.gates = None
    return made


def test_one_expert_computes_each_sample():
    layer, x = _layer().eval(), torch.randn(40, 6)
    weights = layer.linear.quant_weight().value.view(3, 5, 6)
    choice = layer.quant(layer.gate(x)).argmax(1)
    assert len(choice.unique()) == 3
    expected = torch.stack([weights[c] @ row for c, row in zip(choice, x, strict=True)])
    torch.testing.assert_close(layer(x), expected)


def test_training_gives_the_gate_gradients_and_computes_the_same():
    layer, x = _layer(), torch.randn(40, 6)
    found = layer(x)
    soft, chosen = layer.gates
    assert torch.equal(chosen.detach().round(), torch.nn.functional.one_hot(soft.argmax(1), 3).float())
    torch.testing.assert_close(found, copy.deepcopy(layer).eval()(x))
    load, importance = chosen.sum(0), soft.sum(0)
    expected = sum(each.var(correction=0) / each.mean() ** 2 for each in (load, importance))
    loss = layer.auxiliary_loss(None, None)
    torch.testing.assert_close(loss, 0.1 * expected)
    (loss + found.square().sum()).backward()
    assert float(layer.gate.weight.grad.abs().max()) > 0
    assert layer.gates is None


def test_the_balance_loss_is_none_for_equal_experts():
    layer = _layer(2)
    layer.gates = torch.full((4, 2), 0.5), torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    assert float(layer.auxiliary_loss(None, None)) == 0


def test_a_trained_network_uses_its_experts_and_lowers_exactly(tmp_path):
    data = load_data("digits")
    torch.manual_seed(0)
    model = create_model("tfc-w2a2", **data.options, hidden=[24, 16], experts=3)
    assert fit(model, data, TrainConfig(epochs=6)).test_accuracy > 0.8
    frames = data.x_test.reshape(-1, 64).astype(np.float32)
    assert export(model, tmp_path / "model.onnx", frames).max_abs_diff == 0
    graph = lower(tmp_path / "model.onnx")
    assert compare(graph, tmp_path / "model.onnx", frames).mismatches == 0
    choice = Emulator(graph).edges(frames)["gate0"]
    assert np.bincount(choice.ravel(), minlength=3).min() > 0.1 * len(frames)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"experts": 0}, "experts=0 is no whole number of 2 or more"),
        ({"experts": 2, "hidden": [8]}, "give two hidden layers or more"),
        ({"experts": 2, "batch_norm": False}, "with BatchNorm in place of a bias"),
    ],
)
def test_what_is_impossible_is_said(options, message):
    with pytest.raises(QuantError, match=message):
        create_model("tfc-w2a2", **options)


@pytest.mark.parametrize("scheme", ["xnor", "bwn", "hwgq", "accumulator_aware"])
def test_schemes_with_a_scale_for_each_output_are_refused(scheme):
    bits = {"xnor": "w1a1", "bwn": "w1a2", "hwgq": "w1a2"}.get(scheme, "w4a4")
    with pytest.raises(QuantError, match=f"experts=2: scheme {scheme} has a scale for each output") as caught:
        create_model(f"tfc-{bits}", scheme, experts=2)
    assert caught.value.status == 2


def test_one_expert_multiplies_a_frame_and_the_memory_holds_all():
    plain, several = (summary(create_model("tfc-w4a4", hidden=[32, 24], **options)) for options in ({}, {"experts": 3}))
    rows = {row.name: row for row in several}
    made = rows["hidden.1.linear.linear"]
    assert (made.kind, made.output_shape, made.weights, made.macs) == ("experts", (24,), 3 * 32 * 24, 32 * 24)
    assert made.bit_operations == made.macs * 16
    assert several.macs == plain.macs + rows["hidden.1.linear.gate"].macs
    assert several.weights == plain.weights + 2 * 32 * 24 + rows["hidden.1.linear.gate"].weights


def test_low_rank_leaves_experts_as_they_are():
    model = create_model("tfc-w4a4", hidden=[32, 32], experts=3)
    factored = compression.low_rank(model, budget=0.25)
    assert factored.changes[-1]["layers"].keys() == {"hidden.0.linear", "hidden.1.linear.gate"}
    assert factored.hidden[1].linear.linear.weight.shape == (3 * 32, 32)
    with pytest.raises(QuantError, match=r"^layer hidden\.1\.linear\.linear holds the weights of all experts"):
        compression.low_rank(model, budget=0.25, layers="hidden.1.linear.linear")


def test_obd_says_which_layers_have_a_saliency():
    """Gates choose, and no gradient passes a choice; with the layers that are named it works."""
    data = load_data("digits")
    torch.manual_seed(0)
    model = create_model("tfc-w4a4", **data.options, hidden=[8, 8], experts=2).eval()
    x, y = torch.from_numpy(data.x_train[:8]).float().flatten(1), torch.tensor(data.y_train[:8])
    with pytest.raises(QuantError, match=r"not depend on layer hidden\.1\.linear\.gate \(gates choose") as caught:
        compression.saliency(model, x, y)
    named = str(caught.value).rsplit("(--layers), as ", 1)[1].split()
    assert named == ["hidden.0.linear", "hidden.1.linear.linear", "output"]
    assert list(compression.saliency(model, x, y, layers=named)) == named
