"""What a network costs, against sizes that are computed by hand."""

import json
import re

import brevitas.nn as qnn
import numpy as np
import pytest
import torch

from quant import compression, create_model, layers, schemes, summary
from quant.compression.saving import cost_inputs
from quant.compression.weights import find_layers
from quant.cost import LayerCost
from quant.errors import QuantError
from quant.metrics import accuracy, csd_digits

pytestmark = pytest.mark.quick


class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def test_accuracy_counts_and_leaves_the_mode():
    model = torch.nn.Linear(2, 2, bias=False)
    model.weight.data = torch.eye(2)
    x = torch.tensor([[3, 1], [0, 2], [5, 4]], dtype=torch.uint8)
    assert accuracy(model.train(), x, torch.tensor([0, 0, 0]), batch_size=2) == pytest.approx(2 / 3)
    assert model.training


def test_widths_follow_the_data():
    rows = list(summary(create_model("tfc-w2a3", in_features=20, classes=5, in_range=(0, 255))))
    assert [(row.weight_bits, row.act_bits) for row in rows] == [(2, 8), (2, 3), (2, 3), (2, 3)]
    assert [row.bit_operations for row in rows] == [20 * 64 * 16, 64 * 64 * 6, 64 * 64 * 6, 64 * 5 * 6]
    assert [row.memory_bits for row in rows] == [20 * 64 * 2, 64 * 64 * 2, 64 * 64 * 2, 64 * 5 * 2]
    assert {row.kind for row in rows} == {"linear"}


@pytest.mark.parametrize(
    ("pool", "window"),
    [
        (torch.nn.AvgPool2d(4), 16),
        (torch.nn.AvgPool2d((4, 2)), 8),
        (torch.nn.AdaptiveAvgPool2d(1), 64),
        (torch.nn.AdaptiveAvgPool2d((2, 4)), 8),
        (Mean(), 64),
        (torch.nn.MaxPool2d(4), 1),
    ],
)
def test_sums_of_averages_are_wider(pool, window):
    """The layer behind an average reads the sum; in floating point all widths are those of floating point."""
    for scheme, wide in ((schemes.get("integer"), 4 + window.bit_length() - 1), (schemes.get("float"), 32)):
        first, act = layers.conv(scheme, 1, 2, 3, padding=1), layers.activation(scheme)
        head = layers.linear(scheme, pool(torch.zeros(1, 2, 8, 8)).numel(), 3)
        model = torch.nn.Sequential(first, act, pool, torch.nn.Flatten(), head)
        model.input_shape = (1, 8, 8)
        assert list(summary(model))[-1].act_bits == wide


def test_convolutions():
    # 3x3x3 -> 4 at 30x30, pools to 14 and 5
    rows = list(summary(create_model("cnv-w1a1", width=1 / 16)))
    assert [row.kind for row in rows] == ["conv"] * 6 + ["linear"] * 3
    assert [row.output_shape[-1] for row in rows[:6]] == [30, 28, 12, 10, 3, 1]
    assert rows[0].macs == 30 * 30 * 27 * 4
    assert [row.act_bits for row in rows] == [8] + [1] * 8


def test_residual_and_depthwise():
    rows = {row.name: row for row in summary(create_model("resnet8-w4a4", input_shape=(3, 32, 32)))}
    assert len(rows) == 10
    shortcut = rows["blocks.1.shortcut.conv"]
    assert (shortcut.output_shape, shortcut.macs, shortcut.act_bits) == ((32, 16, 16), 16 * 16 * 16 * 32, 4)
    assert rows["output"].act_bits == 4 + 6  # sums over 8 x 8

    rows = {row.name: row for row in summary(create_model("mobilenet-v1-w4a4", width=0.25))}
    assert (rows["pairs.0.depthwise.conv"].kind, rows["pairs.0.pointwise.conv"].kind) == ("depthwise", "conv")
    assert rows["pairs.0.depthwise.conv"].macs == 32 * 32 * 9 * 8
    assert rows["pairs.1.depthwise.conv"].output_shape == (16, 32, 32)


def test_totals():
    found = summary(create_model("tfc-w1a1", in_features=784, in_bits=1))
    assert found.weights == found.memory_bits == found.macs == found.bit_operations == 784 * 64 + 2 * 64 * 64 + 640
    assert (found.compression_rate, found.space_saving, found.speed_up) == (32, 1 - 1 / 32, 1024)
    plain = summary(create_model("tfc-float"))
    assert (plain.compression_rate, plain.space_saving, plain.speed_up) == (1, 0, 1)


def test_density_counts_the_zeros_of_inference():
    network = compression.prune(create_model("tfc-w4a4"), {"hidden.1.*": 0.75, "*": 0.5})
    # rounding makes further zeros of small weights
    codes = [layer.quant_weight().int() for layer in find_layers(network).values()]
    found = summary(network)
    assert [row.nonzeros for row in found] == [int(torch.count_nonzero(each)) for each in codes]
    assert found.layers[1].density <= 0.25 < found.layers[2].density <= 0.5
    assert found.density == found.totals()["density"] == found.nonzeros / found.weights
    assert found.as_dict()["layers"][1]["density"] == found.layers[1].density


def signed_digits(v: int) -> list[int]:
    """The digits other than 0, by the definition: no two neighbours are not zero."""
    found = []
    while v:
        digit = 2 - v % 4 if v % 2 else 0
        found += [digit] * bool(digit)
        v = (v - digit) // 2
    return found


def test_signed_digits():
    codes = torch.arange(-300, 301)
    wanted = [len(signed_digits(abs(int(v)))) for v in codes]
    assert csd_digits(codes).tolist() == wanted
    assert csd_digits(torch.tensor([[2**20 - 1]])).tolist() == [[2]]


def test_zeros_values_and_digits_of_each_layer():
    network = compression.prune(create_model("lenet5-w4a4", input_shape=(1, 16, 16)), 0.5)
    found = summary(network)
    for row, layer in zip(found, find_layers(network).values(), strict=True):
        codes = layer.quant_weight().int()
        assert row.distinct == len(codes.unique())
        assert row.csd_digits == int(csd_digits(codes).sum())
        positions = row.macs // row.weights
        assert row.effective_macs == positions * row.nonzeros
    assert found.totals()["effective_macs"] == sum(row.effective_macs for row in found)
    assert found.totals()["csd_digits"] == sum(row.csd_digits for row in found)
    assert [row.distinct for row in summary(create_model("tfc-float"))] == [0] * 4


def test_costs_are_those_of_the_cost_model():
    asked = []

    def cost(shape, bits, density=1.0, structure="unstructured", integers=None):
        asked.append((shape, bits, density))
        return LayerCost(10 * shape.outputs, 1, 2, 0, shape.inputs, 100)

    found = summary(create_model("lenet5-w4a4", input_shape=(1, 16, 16)), cost)
    assert [row.cost.lut for row in found] == [60, 160, 1200, 840, 100]
    assert found.costs == {"lut": 2360, "bram": 10, "dsp": 0, "rom_bits": 500, "cycles": 120}
    assert asked[1][0].kernel == (5, 5)
    assert asked[1][2] == found.layers[1].density
    text = str(found).splitlines()
    assert text[0].split()[-6:] == ["LUT", "BRAM", "DSP", "ROM", "bits", "cycles"]
    assert text[-2].split()[-5:] == ["2,360", "10", "0", "500", "120"]
    assert found.as_dict()["layers"][0]["cost"]["rom_bits"] == 100
    assert summary(create_model("tfc-float"), cost).costs == {}


@pytest.mark.parametrize(("kernel", "known"), [(3, True), ((5, 1), True), (4, False)])
def test_same_padding_has_the_cost_of_its_numbers(kernel, known):
    """As many zeros on both sides; an even kernel has one more behind than before, which no cost model knows."""
    shapes = []

    def cost(shape, bits, density=1.0, structure="unstructured", integers=None):
        shapes.append(shape)
        return LayerCost(*[1] * 6)

    scheme = schemes.get("integer")
    conv = layers.conv(scheme, 1, 4, kernel, padding="same")
    model = torch.nn.Sequential(layers.activation(scheme), conv)
    model.input_shape = (1, 9, 9)
    assert [row.cost is not None for row in summary(model, cost)] == [known]
    assert [shape.padding for shape in shapes] == [tuple(k // 2 for k in conv.kernel_size)] * known


def test_layers_without_a_cost_are_named():
    """Groups, and depthwise convolutions with several filters a channel: the sums are those of the others."""

    def cost(shape, bits, density=1.0, structure="unstructured", integers=None):
        return LayerCost(*[round(density * np.prod(shape.weights))] * 6)

    scheme = schemes.get("integer")
    parts = []
    for inputs, outputs, groups in ((1, 4, 1), (4, 8, 2), (8, 16, 8), (16, 16, 16)):
        parts += [layers.conv(scheme, inputs, outputs, 3, padding=1, groups=groups), layers.activation(scheme)]
    model = torch.nn.Sequential(layers.activation(scheme), *parts, torch.nn.Flatten(), layers.linear(scheme, 144, 3))
    model.input_shape = (1, 3, 3)
    found = summary(model, cost)
    assert [row.cost is None for row in found] == [False, True, True, False, False]
    assert found.costs["lut"] == sum(row.nonzeros for row in found if row.kind != "grouped" and row.name != "5")
    assert "costs in hardware without 3, 5" in str(found)
    for name, words in (("3", "kind grouped (8x2x3x3, 4 bits)"), ("5", "kind depthwise (16x1x3x3, 4 bits)")):
        with pytest.raises(
            QuantError, match=re.escape(f"layer {name} is of the {words}, whose cost in hardware is not")
        ):
            compression.savings(model, cost, layers=[name])
    assert set(compression.savings(model, cost, layers=["1", "7"])) == {"1", "7"}


def test_forms():
    found = summary(create_model("tfc-w1a1"))
    text = str(found).splitlines()
    assert len(text) == 1 + 4 + 1 + 1
    assert text[0].startswith("layer")
    assert text[-2].split() == ["total", "12,928", "100.0%", "12,928", "12,928", "12,928", "12,928", "25,216"]
    assert text[-1].startswith("against 32-bit floating point: 32.0 times smaller (96.9% saved), about 525 times")
    assert json.loads(json.dumps(found.as_dict()))["totals"]["macs"] == found.macs
    assert found._repr_html_().count("<tr>") == 6


def test_the_model_is_left_as_it_was():
    model = create_model("resnet8-w1a1", input_shape=(1, 8, 8), width=0.5).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    summary(model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_weights_of_more_bits_than_a_cost_model_knows_have_no_cost():
    model = torch.nn.Sequential(qnn.QuantIdentity(bit_width=4), qnn.QuantLinear(8, 3, bias=False, weight_bit_width=24))
    model.input_shape = (8,)
    [row] = summary(model, lambda *_, **__: LayerCost(*[1] * 6))
    assert (row.weight_bits, row.cost) == (24, None)
    with pytest.raises(QuantError, match=r"^layer 1 is of the kind linear \(3x8, 24 bits\), whose cost in hardware"):
        cost_inputs(model)


def test_weights_that_are_not_finite_are_refused_with_the_layer():
    """Brevitas's integer quantizer of one bit divides by 0, its only level."""
    model = torch.nn.Sequential(qnn.QuantIdentity(bit_width=4), qnn.QuantLinear(8, 3, bias=False, weight_bit_width=1))
    model.input_shape = (8,)
    with pytest.raises(QuantError, match=r"^layer 1: its 1-bit weights are not finite; an integer quantizer of 1 bit"):
        summary(model)
