"""Networks whose layers differ in width."""

import json

import numpy as np
import pytest
import torch

from quant import TrainConfig, create_model, export, load_data, train_run
from quant.compression.width_sensitivity import width_sensitivity
from quant.errors import QuantError
from quant.models.widths import hidden_activations, present_width, weighted_layers
from quant.training.checkpoint import load_checkpoint


def network(weights, activations, **options):
    torch.manual_seed(3)
    return create_model("tfc-w4a4", hidden=[8, 6], weight_widths=weights, activation_widths=activations, **options)


def test_layers_have_the_widths_and_exports_are_exact(tmp_path):
    model = network([8, 1, "ternary"], [1, 3]).eval()
    assert [present_width(each) for each in weighted_layers(model).values()] == [8, 1, "ternary"]
    assert [int(each.act_quant.bit_width()) for each in hidden_activations(model).values()] == [1, 3]
    assert export(model, tmp_path / "model.onnx").frames


def test_weights_of_a_layer_depend_on_its_own_width_only():
    one, other = network([4, 2, 8], [4, 4]), network([1, 2, 4], [2, 8])
    first, second = (list(weighted_layers(each).values())[1].weight for each in (one, other))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_run_is_restored(tmp_path):
    options = {"hidden": [8, 6], "weight_widths": [4, 1, 2], "activation_widths": [2, 1]}
    train_run("tfc-w4a4", tmp_path / "run", TrainConfig(epochs=1), model_options=options)
    model = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert [present_width(each) for each in weighted_layers(model).values()] == [4, 1, 2]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["model_options"] == options


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("tfc-w4a4", {"weight_widths": [4, 4]}, "list of 4 widths"),
        ("tfc-w4a4", {"activation_widths": "4,4,4"}, "list of 3 widths"),
        ("tfc-w4a4", {"weight_widths": [4, 4, 4, 2.5]}, "2.5 is no number of bits"),
        ("tfc-w4a4", {"weight_widths": [4, 4, 4, 99]}, "not a whole number from 2 to 16"),
        ("tfc-w1a1", {"weight_widths": [4, 4, 4, 4]}, "one width for all layers"),
        ("lookup-s", {"weight_widths": [4]}, "list of 0 widths, for no layer"),
    ],
)
def test_wrong_widths(model, options, message):
    with pytest.raises(QuantError, match=message) as caught:
        create_model(model, **options)
    assert caught.value.status == 2


def test_sensitivity_of_widths():
    data = load_data("digits", 0)
    x, y = torch.tensor(data.x_train[:200]).float(), torch.tensor(data.y_train[:200])
    torch.manual_seed(0)
    model = create_model("tfc-w4a4", hidden=[8, 6]).eval()
    with torch.no_grad():
        model.train()(x.flatten(1))
    model.eval()
    found = width_sensitivity(model, x.flatten(1), y, (1, 8), (2, 8), curvature_frames=64)
    assert {each.name for each in found.effects} == {*weighted_layers(model), *hidden_activations(model)}
    for name in weighted_layers(model):
        effects = found.of(name)
        assert list(effects) == [1, 4, 8]
        assert (effects[4].present, effects[4].loss, effects[4].predicted) == (True, 0.0, 0.0)
        assert effects[1].predicted > effects[8].predicted > 0
    # The network itself is as it was.
    again = width_sensitivity(model, x.flatten(1), y, (1, 8), (2, 8), curvature_frames=64)
    assert again == found
    with pytest.raises(QuantError, match="at least one of each"):
        width_sensitivity(model, x[:0], y[:0])
    assert np.isfinite([each.loss for each in found.effects]).all()
