"""Each scheme's forward pass and gradient against the formulas in its docstring."""

import pkgutil
from importlib import import_module

import numpy as np
import pytest
import torch
from brevitas.nn import QuantLinear
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quant import layers, schemes
from quant.errors import QuantError
from quant.quantizers.functions import ROUNDINGS, sign, sign_hard_tanh
from quant.schemes.scheme import Scheme

pytestmark = pytest.mark.quick

values = arrays(np.float32, (3, 5), elements=st.floats(-3, 3, width=32))
few = settings(max_examples=20, deadline=None)


@few
@given(x=values, upstream=values)
def test_signs_and_their_gradients(x, upstream):
    x.flat[:4] = 0.0, -0.0, 1.0, -1.0
    expected = np.where(x >= 0, 1.0, -1.0)
    for function, slope in ((sign, np.ones_like(x)), (sign_hard_tanh, np.abs(x) <= 1)):
        latent = torch.tensor(x, requires_grad=True)
        y = function(latent)
        y.backward(torch.tensor(upstream))
        np.testing.assert_array_equal(y.detach().numpy(), expected)
        np.testing.assert_array_equal(latent.grad.numpy(), upstream * slope)


@pytest.mark.parametrize("name", ["binarynet", "binaryconnect"])
def test_binary_weights_pass_the_gradient_of_the_binary_weight(name):
    layer = layers.linear(schemes.get(name), 7, 4)
    assert layer.weight.abs().max() <= 1
    x, upstream = torch.randn(3, 7), torch.randn(3, 4)
    y = layer(x)
    y.backward(upstream)
    np.testing.assert_array_equal(layer.quant_weight().value.detach(), np.where(layer.weight.detach() >= 0, 1.0, -1.0))
    torch.testing.assert_close(y, x @ sign(layer.weight).T)
    torch.testing.assert_close(layer.weight.grad, upstream.T @ x)


def integers(layer: QuantLinear) -> np.ndarray:
    weight = layer.quant_weight()
    return np.rint((weight.value / weight.scale).detach().numpy()).astype(np.int64)


@pytest.mark.parametrize("bits", [3, 4, 8, 12])
def test_integer_weights(bits):
    layer = layers.linear(schemes.get("integer", weight_bits=bits, act_bits=4), 16, 8)
    w = layer.weight.detach().numpy()
    high = 2 ** (bits - 1) - 1
    scale = np.abs(w).max() / np.float32(high)
    np.testing.assert_array_equal(integers(layer), np.clip(np.round(w / scale), -high, high).astype(np.int64))


@pytest.mark.parametrize(("bits", "codes"), [(2, {-2, -1, 0, 1}), ("ternary", {-1, 0, 1})])
def test_two_bit_and_ternary_weights(bits, codes):
    layer = layers.linear(schemes.get("integer", weight_bits=bits, act_bits=2), 64, 32)
    w = layer.weight.detach().numpy()
    scale = np.abs(w).mean() * (1.4 if bits == "ternary" else 1.2)
    assert layer.quant_weight().scale.item() == pytest.approx(scale, rel=1e-6)
    expected = np.clip(np.round(w / scale), min(codes), max(codes))
    np.testing.assert_array_equal(integers(layer), expected.astype(np.int64))
    assert set(np.unique(expected)) == codes
    upstream = torch.randn(3, 32)
    x = torch.randn(3, 64)
    layer(x).backward(upstream)
    torch.testing.assert_close(layer.weight.grad, upstream.T @ x)  # beyond the largest code, too


@few
@given(x=values)
def test_round_half_up(x):
    x = np.round(x * 4) / 4  # many ties
    np.testing.assert_array_equal(ROUNDINGS["half_up"](torch.tensor(x)), np.sign(x) * np.floor(np.abs(x) + 0.5))


@pytest.mark.parametrize("rounding", ["half_up", "half_even"])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_fixed_point(bits, rounding):
    scheme = schemes.get("fixed_point", weight_bits=bits, act_bits=bits, rounding=rounding)
    layer = layers.linear(scheme, 16, 8, bias=True)
    act = layers.activation(scheme).train()
    for _ in range(3):
        act(torch.randn(64, 16))
    act.eval()
    for scale in (layer.quant_weight().scale, layer.quant_bias().scale, act.act_quant.scale()):
        exponent = torch.log2(scale).item()
        assert exponent == round(exponent)
    codes = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, -0.5, -3.0, 2.0**bits - 1, 2.0**bits + 3])
    expected = [0, 1, 1, 2, 2, 3, 0, 0] if rounding == "half_up" else [0, 0, 1, 2, 2, 2, 0, 0]
    scale = act.act_quant.scale()
    found = (act(codes * scale) / scale).detach().numpy()
    np.testing.assert_array_equal(found, [*expected, 2**bits - 1, 2**bits - 1])


def test_activations_are_unsigned_and_pass_the_gradient_inside_their_range():
    act = layers.activation(schemes.get("integer", weight_bits=4, act_bits=3)).train()
    for _ in range(40):  # beyond the batches that the scale is collected from
        act(torch.rand(256, 8) * 7)
    act.eval()
    scale = float(act.act_quant.scale())
    x = torch.tensor([-1.0, 0.3, 3.4, 6.0, 9.0]) * scale
    x.requires_grad_()
    y = act(x)
    y.sum().backward()
    np.testing.assert_array_equal(np.rint(y.detach().numpy() / scale), [0, 0, 3, 6, 7])
    np.testing.assert_array_equal(x.grad, [0, 1, 1, 1, 0])


def test_every_scheme_of_the_package_is_found_by_its_name():
    modules = [import_module(f"quant.schemes.{module.name}") for module in pkgutil.iter_modules(schemes.__path__)]
    classes = {
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Scheme) and "name" in vars(each)
    }
    assert {name: schemes.get_class(name) for name in schemes.list()} == {each.name: each for each in classes}
    assert len(schemes.list()) == len(classes)


def test_every_scheme_is_documented():
    for name in schemes.list():
        scheme = schemes.get_class(name)
        # A dataclass without a docstring has its signature as one.
        assert not scheme.__doc__.startswith(f"{scheme.__name__}("), name


def test_a_scheme_describes_itself():
    scheme = schemes.get("integer", weight_bits="ternary", act_bits=2)
    assert scheme.describe() == {"name": "integer", "weight_bits": "ternary", "act_bits": 2}
    assert schemes.get(**scheme.describe()) == scheme


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("binary-net", {}, "did you mean binarynet"),
        ("xyz", {}, "choose one of .*binarynet, "),
        ("integer", {"bits": 3}, "its parameters are weight_bits, act_bits"),
        ("integer", {"weight_bits": 1}, "from 2 to 16"),
        ("integer", {"weight_bits": "two"}, "ternary"),
        ("integer", {"act_bits": 2.0}, "whole number"),
        ("fixed_point", {"act_bits": 17}, "from 2 to 16"),
        ("fixed_point", {"rounding": "ceil"}, "half_up, half_even"),
        ("binaryconnect", {"act_bits": 1}, "from 2 to 16"),
    ],
)
def test_bad_requests(name, parameters, message):
    with pytest.raises(QuantError, match=message) as caught:
        schemes.get(name, **parameters)
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)
