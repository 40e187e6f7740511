"""Fixed point, Gupta's training, learned steps and accumulator-aware weights against their formulas."""

import math

import numpy as np
import pytest
import torch
from brevitas.nn import QuantLinear
from brevitas.quant.scaled_int import Int8AccumulatorAwareWeightQuant, Int8AccumulatorAwareZeroCenterWeightQuant
from brevitas.quant_tensor import IntQuantTensor

from quant import TrainConfig, create_model, fit, layers, load_checkpoint, load_data, save_checkpoint, schemes
from quant.errors import QuantError
from quant.quantizers.functions import ROUNDINGS
from quant.schemes.learned_step import StepAct, StepWeight


def codes_of(layer) -> np.ndarray:
    weight = layer.quant_weight()
    return np.rint((weight.value / weight.scale).detach().numpy()).astype(np.int64)


# Rounding and fixed point


def test_stochastic_rounding_is_unbiased():
    torch.manual_seed(0)
    x = torch.tensor([-1.75, -1.0, -0.3, 0.0, 0.1, 0.5, 2.0, 2.9])
    draws = torch.stack([ROUNDINGS["stochastic"](x.clone()) for _ in range(20_000)])
    assert ((draws == x.floor()) | (draws == x.ceil())).all()
    # five standard deviations of the mean of 20,000 draws, of at most 1/2 each
    np.testing.assert_allclose(draws.mean(0), x, atol=5 * 0.5 / math.sqrt(20_000))


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("half_up", [0, 0, 1, 1, 2, 3, 3]),
        ("half_even", [0, 0, 0, 1, 2, 2, 3]),
        ("floor", [0, 0, 0, 0, 1, 2, 3]),
        ("toward_zero", [0, 0, 0, 0, 1, 2, 3]),
        ("stochastic", [0, 0, 1, 1, 2, 3, 3]),
    ],
)
@pytest.mark.parametrize("bits", [2, 5, 16])
def test_fixed_point_activations(rounding, expected, bits):
    act = layers.activation(schemes.get("fixed_point", weight_bits=8, act_bits=bits, rounding=rounding)).eval()
    scale = act.act_quant.scale().detach()
    assert math.log2(scale) == round(math.log2(scale))
    ratio = torch.tensor([-3.0, 0.25, 0.5, 0.75, 1.5, 2.5, 3.0])
    np.testing.assert_array_equal(act(ratio * scale).detach() / scale, expected)
    np.testing.assert_array_equal(act(torch.tensor([2.0**20])).detach() / scale, [2**bits - 1])


@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_fixed_point_weights(bits):
    torch.manual_seed(bits)
    layer = layers.linear(schemes.get("fixed_point", weight_bits=bits, act_bits=8), 30, 20, bias=True)
    w = layer.weight.detach().numpy()
    scale = layer.quant_weight().scale.item()
    reached = np.abs(w).max() / (2 if bits == 2 else 2 ** (bits - 1) - 1)
    assert scale == 2.0 ** math.ceil(math.log2(reached))
    rounded = np.round(w / scale) if bits == 2 else np.sign(w) * np.floor(np.abs(w / scale) + 0.5)
    np.testing.assert_array_equal(codes_of(layer), np.clip(rounded, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    assert math.log2(layer.quant_bias().scale.item()).is_integer()


def test_fixed_point_sums_round_as_the_scheme_does():
    scheme = schemes.get("fixed_point", weight_bits=8, act_bits=12, rounding="floor")
    add = layers.Add(scheme).eval()
    scale = add.quant.act_quant.scale().detach()
    found = add(torch.tensor([-0.5, 0.9]) * scale, torch.tensor([1.0, -1.1]) * scale).detach() / scale
    np.testing.assert_array_equal(found, [-1 + 1, 0 - 2])
    assert add.quant.act_quant.bit_width() == 12


# Gupta et al.


def test_gupta_formats():
    scheme = schemes.get("gupta", weight_integer=1, weight_fraction=4, act_integer=3, act_fraction=2)
    act = layers.activation(scheme).eval()
    x = torch.tensor([-9.0, 0.12, 0.13, 0.375, 3.6, 3.8, 90.0])
    np.testing.assert_array_equal(act(x).detach(), [0, 0, 0.25, 0.5, 3.5, 3.75, 3.75])  # up to 2**2 - 2**-2
    layer = layers.linear(scheme, 5, 4, bias=True)
    for parameter in (layer.weight, layer.bias):
        parameter.data = torch.linspace(-2, 2, parameter.numel()).view_as(parameter)
    scheme.after_step([layer], None)
    for parameter in (layer.weight, layer.bias):
        ratio = parameter.detach() * 16
        assert torch.equal(ratio, ratio.round())
        assert (ratio.min(), ratio.max()) == (-16, 15)  # -2**0 to 2**0 - 2**-4
    np.testing.assert_array_equal(layer.quant_weight().value.detach(), layer.weight.detach())
    np.testing.assert_array_equal(layer.quant_bias().value.detach(), layer.bias.detach())


def test_gupta_rounds_gradients_without_bias():
    torch.manual_seed(0)
    scheme = schemes.get("gupta", gradient_integer=2, gradient_fraction=3)
    layer = layers.linear(scheme, 6, 4)
    x, upstream = torch.randn(3, 6), torch.rand(3, 4) / 2
    to_x, to_weight = [], []
    for _ in range(3000):
        given = x.clone().requires_grad_()
        layer.weight.grad = None
        layer(given).backward(upstream)
        scheme.before_step([layer], None)
        to_x.append(given.grad)
        to_weight.append(layer.weight.grad)
        assert torch.equal(to_weight[-1] * 8, (to_weight[-1] * 8).round())
    spread = 5 * 0.5 / 8 / math.sqrt(3000)
    weight = layer.weight.detach()
    np.testing.assert_allclose(
        torch.stack(to_x).mean(0), upstream @ weight, atol=spread * float(weight.abs().sum(0).max())
    )
    expected = (upstream.T @ x).clamp(-2, 2 - 1 / 8)
    inside = expected.abs() < 1.2  # so far from the ends that no draw saturates
    tolerance = 2 * spread * float(x.abs().sum(0).max())
    np.testing.assert_allclose(torch.stack(to_weight).mean(0)[inside], expected[inside], atol=tolerance)


def test_gupta_learns_by_stochastic_rounding_what_rounding_to_the_nearest_loses():
    reached = {}
    for rounding in ("stochastic", "half_even"):
        torch.manual_seed(0)
        scheme = schemes.get("gupta", weight_fraction=6, rounding=rounding)
        reached[rounding] = fit(create_model("tfc", scheme=scheme), config=TrainConfig(epochs=6)).test_accuracy
    assert reached["stochastic"] > 0.92
    assert reached["half_even"] < reached["stochastic"] - 0.06


# Learned steps


def lsq_gradients(v, s, low, high, upstream, count):
    """Equations 1 to 5 of the paper, in NumPy."""
    ratio = v / s
    codes = np.round(np.clip(ratio, low, high))
    by_step = np.where(ratio <= low, low, np.where(ratio >= high, high, np.round(ratio) - ratio))
    return codes * s, upstream * ((ratio > low) & (ratio < high)), (upstream * by_step).sum() / math.sqrt(count * high)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_learned_step_of_weights(bits):
    torch.manual_seed(bits)
    weight = torch.nn.Parameter(torch.randn(6, 7))
    quantizer = StepWeight(bits, [weight])
    high = 2 ** (bits - 1) - 1
    assert quantizer.step.item() == pytest.approx(2 * weight.abs().mean().item() / math.sqrt(high))
    upstream = torch.randn(6, 7)
    values, scale, _, width = quantizer(weight)
    values.backward(upstream)
    v, s = weight.detach().numpy().astype(np.float64), scale.item()
    expected = lsq_gradients(v, s, -high - 1, high, upstream.numpy(), 42)
    for found, wanted in zip((values.detach(), weight.grad, quantizer.step.grad), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert width == bits


def test_learned_step_of_activations():
    torch.manual_seed(0)
    quantizer = StepAct(3, signed=False).train()
    x = torch.randn(5, 4, 6).requires_grad_()
    upstream = torch.randn(5, 4, 6)
    values, scale, *_ = quantizer(x)
    assert scale.item() == pytest.approx(2 * x.detach().clamp(min=0).mean().item() / math.sqrt(7))
    values.backward(upstream)
    expected = lsq_gradients(x.detach().numpy().astype(np.float64), scale.item(), 0, 7, upstream.numpy(), 24)
    for found, wanted in zip((values.detach(), x.grad, quantizer.step.grad), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    quantizer(x * 9)  # the start is the first batch's alone
    assert quantizer.step.item() == scale.item()
    again = StepAct(3, signed=False).train()
    again.load_state_dict(quantizer.state_dict())
    again(x * 9)
    assert again.step.item() == scale.item()


def test_a_negative_step_is_its_size():
    quantizer = StepAct(3, signed=False).eval()
    quantizer.step.data.fill_(-0.5)
    values, scale, *_ = quantizer(torch.tensor([0.6, 9.0]))
    assert scale == 0.5
    np.testing.assert_array_equal(values.detach(), [0.5, 3.5])


def test_learned_step_keeps_the_edges_wide():
    model = create_model("tfc-w2a3", scheme="learned_step")
    bits = [int(layer.quant_weight().bit_width) for layer in (*[b.linear for b in model.hidden], model.output)]
    assert bits == [8, 2, 2, 8]


# Accumulator-aware weights


@pytest.mark.parametrize(
    ("zero_center", "brevitas"),
    [(False, Int8AccumulatorAwareWeightQuant), (True, Int8AccumulatorAwareZeroCenterWeightQuant)],
)
@pytest.mark.parametrize("accumulator", [12, 16])
def test_accumulator_aware_weights_are_those_of_brevitas(zero_center, brevitas, accumulator):
    torch.manual_seed(accumulator)
    theirs = QuantLinear(40, 9, bias=False, weight_quant=brevitas, weight_accumulator_bit_width=accumulator)
    scheme = schemes.get(
        "accumulator_aware", weight_bits=8, act_bits=4, accumulator_bits=accumulator, zero_center=zero_center
    )
    ours = layers.linear(scheme, 40, 9)
    ours.weight.data.copy_(theirs.weight.data)
    ours.weight_quant.init_tensor_quant()
    unit = torch.ones(1)
    inputs = IntQuantTensor(torch.zeros(1, 40), unit, torch.zeros(1), 4 * unit, False, False)
    expected = theirs.quant_weight(inputs)
    if zero_center:  # theirs starts from the norm of the weights before they are centred
        norm = theirs.weight.abs().sum(1, keepdim=True)
        ours.weight_quant.tensor_quant.log_norm.data.copy_(torch.log2(norm))
    found = ours.quant_weight()
    torch.testing.assert_close(found.scale, expected.scale)
    difference = codes_of(ours) - np.rint((expected.value / expected.scale).detach().numpy())
    assert np.abs(difference).max() <= 1  # a truncation in float32 may fall to either side of a whole number
    assert (difference != 0).mean() < 0.05


@pytest.mark.parametrize("zero_center", [False, True])
@pytest.mark.parametrize("accumulator", [10, 13])
def test_no_sum_overflows_the_accumulator(zero_center, accumulator):
    torch.manual_seed(0)
    scheme = schemes.get(
        "accumulator_aware", accumulator_bits=accumulator, zero_center=zero_center, input_bits=4, act_bits=4
    )
    model = create_model("tfc", scheme=scheme)
    fit(model, config=TrainConfig(epochs=2))
    greatest = []
    for layer in (*[block.linear for block in model.hidden], model.output):
        codes = codes_of(layer)
        # the worst inputs of 4 bits: all that make the sum grow are 15, all others 0; in any order of summation
        reached = np.maximum(codes.clip(min=0).sum(1), -codes.clip(max=0).sum(1)).max() * 15
        assert reached < 2 ** (accumulator - 1)
        if not zero_center:
            assert np.abs(codes).sum(1).max() * 15 < 2 ** (accumulator - 1)
        greatest.append(reached)
    assert max(greatest) > 2 ** (accumulator - 1) / 4  # the bound is used


def test_too_narrow_an_accumulator_is_refused():
    with pytest.raises(QuantError, match="8 accumulator bits leave no room"):
        schemes.get("accumulator_aware", accumulator_bits=8, input_bits=8, zero_center=False)
    with pytest.raises(QuantError, match="would start, and stay, at zero"):
        create_model("tfc", scheme=schemes.get("accumulator_aware", accumulator_bits=12))
    with pytest.raises(QuantError, match=r"leaves nothing of the only weight of a channel: take .* zero_center=false"):
        create_model("tfc", schemes.get("accumulator_aware"), in_features=1)


@pytest.mark.parametrize(
    ("scheme", "floor"),
    [
        (schemes.get("fixed_point"), 0.9),
        (schemes.get("fixed_point", weight_bits=2, act_bits=2), 0.8),
        (schemes.get("fixed_point", rounding="stochastic"), 0.9),
        (schemes.get("gupta"), 0.9),
        (schemes.get("learned_step"), 0.93),
        (schemes.get("learned_step", weight_bits=2, act_bits=2), 0.9),
        (schemes.get("accumulator_aware"), 0.93),
    ],
    ids=lambda value: "" if isinstance(value, float) else "-".join(map(str, value.describe().values())),
)
def test_digits(scheme, floor):
    torch.manual_seed(0)
    assert fit(create_model("tfc", scheme=scheme), load_data("digits"), TrainConfig(epochs=8)).test_accuracy > floor


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("fixed_point", {"rounding": "ceil"}, "half_up, half_even"),
        ("gupta", {"rounding": "floor"}, "stochastic, half_even"),
        ("gupta", {"weight_integer": 8, "weight_fraction": 9}, "from 3 to 16"),
        ("gupta", {"gradient_fraction": 2.5}, "whole number"),
        ("learned_step", {"weight_bits": 9}, "from 2 to 8"),
        ("learned_step", {"edge_bits": 1}, "from 2 to 8"),
        ("accumulator_aware", {"accumulator_bits": 33}, "from 4 to 32"),
    ],
)
def test_bad_requests(name, parameters, message):
    with pytest.raises(QuantError, match=message) as caught:
        schemes.get(name, **parameters)
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["fixed_point", "gupta", "learned_step", "accumulator_aware", "hwgq"])
def test_checkpoints(name, tmp_path):
    torch.manual_seed(0)
    model = create_model("tfc", schemes.get(name), in_features=20, classes=3)
    x = torch.randint(0, 17, (30, 20)).float()
    for _ in range(3):
        model(x).square().sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    save_checkpoint(model, tmp_path / "model.pt")
    again = load_checkpoint(tmp_path / "model.pt")
    assert again.scheme == model.scheme
    np.testing.assert_array_equal(again.eval()(x).detach(), model.eval()(x).detach())


@pytest.mark.parametrize("name", ["gupta", "learned_step", "accumulator_aware"])
def test_names_choose_widths(name):
    assert schemes.get_class(name).from_bits(8, 6).describe()["name"] == name
    with pytest.raises(QuantError, match="use scheme integer"):
        schemes.get_class(name).from_bits("ternary", 4)
    assert schemes.get_class("gupta").from_bits(16, 16) == schemes.get("gupta")
