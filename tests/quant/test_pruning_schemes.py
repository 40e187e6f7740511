"""Pruned weights in every scheme, down to the hardware."""

import copy

import pytest
import torch

from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.lowering.lower import lower
from quant import (
    Pruning,
    TrainConfig,
    compression,
    create_model,
    export,
    fit,
    layers,
    schemes,
)
from quant.compression.selection import densities
from quant.compression.weights import bit_width_of, compression_of, find_layers
from quant.errors import QuantError
from quant.models.network import Network
from tests.quant.small_training import small

SCHEMES = (
    ("integer", {"weight_bits": 4}),
    ("integer", {"weight_bits": 2, "act_bits": 2}),
    ("integer", {"weight_bits": "ternary"}),
    ("twn", {}),
    ("twn", {"per_filter": True}),
    ("ternary_connect", {}),
    ("fixed_point", {"weight_bits": 4, "rounding": "floor"}),
    ("fixed_point", {"weight_bits": 2}),
    ("fixed_point", {"weight_bits": 8, "rounding": "stochastic"}),
    ("gupta", {}),
    ("learned_step", {"weight_bits": 3}),
    ("accumulator_aware", {}),
    ("accumulator_aware", {"zero_center": False}),
)


class Mixed(Network):
    """A network with one layer of every scheme."""

    def __init__(self, data):
        super().__init__("mixed", schemes.get("integer"), data.shape, 2, (data.low, data.high))
        self.options = {}
        self.hidden = torch.nn.Sequential()
        for name, parameters in SCHEMES:
            scheme = schemes.get(name, **parameters)
            self.hidden.append(layers.block(scheme, layers.linear(scheme, 16, 16), 16, batch_norm=True))
        self.add_output(16, bias=False)

    def forward(self, x):
        return self.scale(self.output(self.hidden(self.input(x).flatten(1))))


def test_zeros_of_every_scheme_reach_the_hardware(tmp_path):
    data = small()
    torch.manual_seed(0)
    model = Mixed(data)
    fit(model, data, TrainConfig(epochs=3, prune=Pruning(0.6)))
    export(model, tmp_path / "model.onnx")
    kernels = [node.kernel for node in lower(tmp_path / "model.onnx") if isinstance(node.kernel, MatrixVector)]
    assert {name for name, _ in SCHEMES} == {name for name in schemes.list() if has_zero(name)}
    for layer, kernel in zip(find_layers(model).values(), kernels, strict=True):
        mask = compression_of(layer).mask
        assert int((~mask).sum()) == round(0.6 * mask.numel())
        assert not kernel.weights[~mask.numpy()].any()
        assert kernel.weights.any()


@pytest.mark.parametrize(("name", "parameters"), SCHEMES)
def test_pruned_weights_do_not_change_the_scale_of_the_others(name, parameters):
    torch.manual_seed(0)
    weight, mask = torch.randn(1, 200) / 10, torch.rand(1, 200) < 0.3
    scheme = schemes.get(name, **parameters)
    layer = layers.linear(scheme, 200, 1)
    with torch.no_grad():
        layer.weight.copy_(weight * mask)
    layer.eval()
    alone = copy.deepcopy(layer.weight_quant.tensor_quant)
    values, scale = layer.weight_quant.tensor_quant(layer.weight)[:2]
    expected, scale_alone = alone(weight[mask][None])[:2]
    torch.testing.assert_close(scale, scale_alone)
    torch.testing.assert_close(values[mask][None], expected)
    assert not values[~mask].any()


def has_zero(name: str) -> bool:
    scheme = schemes.get(name)
    return scheme.quantizes and name not in ("lookup", "own") and bit_width_of(layers.linear(scheme, 4, 4)) > 1


@pytest.mark.parametrize("name", ["binaryconnect", "binarynet", "bwn", "xnor", "hwgq", "lab"])
def test_weights_without_a_zero_are_refused(name):
    data = small()
    scheme = schemes.get(name)
    model = create_model("tfc-w1a1", scheme, input_shape=data.shape, classes=2, in_range=(0, 16))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    line = (
        rf"has 1-bit weights of scheme {name}, which have no zero to prune to: take ternary weights \(twn, ternary_co"
    )
    for act in (lambda: fit(model, data, TrainConfig(prune=Pruning(0.5))), lambda: compression.prune(model, 0.5)):
        with pytest.raises(QuantError, match=line) as caught:
            act()
        assert caught.value.status == 2
    assert model.state_dict().keys() == before.keys()
    if not scheme.edge.unit_weights and scheme.edge is not scheme:
        fit(model, data, TrainConfig(epochs=1, prune=Pruning(0.5, layers="output")))
        assert densities(find_layers(model))["output"] == 0.5
