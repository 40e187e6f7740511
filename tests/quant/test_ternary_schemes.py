"""Ternary Weight Networks, ternary connect and its quantized back-propagation against their formulas."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from quant import create_model, layers, schemes
from quant.errors import QuantError
from quant.quantizers.powers_of_two import random_power_of_two
from quant.schemes.ternary_connect import connect_ternary
from quant.schemes.twn import ternary


def gradient_of(function, x: torch.Tensor, upstream: torch.Tensor) -> np.ndarray:
    latent = x.clone().requires_grad_()
    function(latent).backward(upstream)
    return latent.grad.numpy()


# TWN


@pytest.mark.parametrize("per_filter", [False, True])
@pytest.mark.parametrize("shape", [(5, 12), (5, 3, 2, 3)])
def test_twn(shape, per_filter):
    torch.manual_seed(0)
    w = torch.randn(shape, dtype=torch.float64) * torch.logspace(-1, 1, 5).view(-1, *[1] * (len(shape) - 1))
    values, scale = ternary(w, per_filter)
    for row in range(5) if per_filter else [slice(None)]:
        sizes = np.abs(w[row].numpy())
        kept = sizes > 0.7 * sizes.mean()
        alpha = sizes[kept].mean()
        np.testing.assert_allclose(values[row], alpha * np.sign(w[row].numpy()) * kept, rtol=1e-13)
        np.testing.assert_allclose(scale[row] if per_filter else scale, alpha, rtol=1e-13)
    upstream = torch.randn_like(w)
    np.testing.assert_array_equal(gradient_of(lambda x: ternary(x, per_filter)[0], w, upstream), upstream)


def test_seven_tenths_of_the_mean_is_near_the_best_threshold():
    """Of a normal and a uniform distribution, by the error ``||W - W~||`` that the paper minimizes."""
    random = np.random.default_rng(0)
    for w, best in ((random.normal(size=200_000), 0.75), (random.uniform(-1, 1, 200_000), 2 / 3)):
        sizes = np.abs(w)

        def error(delta, sizes=sizes):
            kept = sizes[sizes > delta * sizes.mean()]
            return (sizes**2).sum() - len(kept) * kept.mean() ** 2

        tried = np.arange(0.5, 1.0, 0.01)
        found = tried[np.argmin([error(delta) for delta in tried])]
        assert found == pytest.approx(best, abs=0.06)
        assert error(0.7) == pytest.approx(error(found), rel=0.01)


def test_zero_weights_keep_a_positive_scale():
    for per_filter in (False, True):
        values, scale = ternary(torch.zeros(3, 4), per_filter)
        assert not values.any()
        assert (scale > 0).all()


# Ternary connect


def test_ternary_connect_by_thresholds():
    w = torch.tensor([-0.3, -0.16, -0.14, 0.0, 0.1, 0.16, 0.3, 0.9])
    codes = np.array([-1, -1, 0, 0, 0, 1, 1, 1], np.float32)
    np.testing.assert_array_equal(connect_ternary(w, 0.3, stochastic=False), codes * np.float32(0.3))
    np.testing.assert_array_equal(gradient_of(lambda x: connect_ternary(x, 0.3, False), w, w), w)


def test_ternary_connect_has_the_papers_probability():
    torch.manual_seed(0)
    draws, limit = 40_000, 0.3
    w = torch.tensor([-0.9, -0.3, -0.1, 0.0, 0.05, 0.2, 0.3])
    drawn = connect_ternary(w.expand(draws, -1), limit, stochastic=True)
    np.testing.assert_array_equal(np.unique(drawn), np.float32([-limit, 0, limit]))
    assert ((drawn == 0) | (drawn.sign() == w.sign())).all()
    p = np.clip(np.abs(w.numpy()) / limit, 0, 1)
    frequency = (drawn != 0).float().mean(0).numpy()
    assert (np.abs(frequency - p) <= 5 * np.sqrt(p * (1 - p) / draws) + 1e-4 * (p == 1)).all()
    np.testing.assert_array_equal(gradient_of(lambda x: connect_ternary(x, limit, True), w, w), w)


@pytest.mark.parametrize("bits", ["ternary", 1])
def test_ternary_connects_layer(bits):
    torch.manual_seed(0)
    scheme = schemes.get("ternary_connect", weight_bits=bits)
    layer = layers.conv(scheme, 6, 4, 3)
    limit = np.float32(math.sqrt(6 / (10 * 9)) / 2)
    assert 1.8 * limit < layer.weight.abs().max() <= 2 * limit
    scheme.after_step([layer], torch.optim.SGD([layer.weight]))
    assert layer.weight.abs().max() == limit
    x = torch.randn(2, 6, 5, 5)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    w = layer.weight.detach().numpy()
    codes = np.where(np.abs(w) > limit / 2, np.sign(w), 0) if bits == "ternary" else np.where(w >= 0, 1, -1)
    np.testing.assert_array_equal(layer.quant_weight().value.detach(), codes * limit)
    assert layer.quant_weight().scale == limit


# Quantized back-propagation


def test_random_powers_of_two_are_unbiased():
    torch.manual_seed(0)
    draws = 40_000
    x = torch.tensor([-5.0, -1.0, -0.3, 0.0, 0.125, 0.19, 3.0, 4.0])
    drawn = random_power_of_two(x.expand(draws, -1)).numpy()
    with np.errstate(divide="ignore"):
        low = np.where(x == 0, 0, 2.0 ** np.floor(np.log2(np.abs(x.numpy()))))
    sizes = np.abs(drawn)
    assert ((sizes == low) | (sizes == 2 * low)).all()
    assert (drawn * x.numpy() >= 0).all()
    np.testing.assert_array_equal(sizes[:, [1, 4, 7]], np.broadcast_to([1, 0.125, 4], (draws, 3)))
    # at most low / 2 of standard deviation
    assert (np.abs(drawn.mean(0) - x.numpy()) <= 5 * low / 2 / math.sqrt(draws)).all()


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda s: layers.linear(s, 12, 5, bias=True), (7, 12)),
        (lambda s: layers.linear(s, 12, 5), (7, 3, 12)),
        (lambda s: layers.conv(s, 4, 6, 3, stride=2, padding=1, bias=True), (2, 4, 9, 8)),
        (lambda s: layers.conv(s, 4, 6, (2, 3), groups=2), (2, 4, 9, 8)),
        (lambda s: layers.conv(s, 4, 6, 3, dimensions=1, dilation=2), (3, 4, 11)),
    ],
)
def test_only_the_weights_gradient_is_quantized(make, shape):
    torch.manual_seed(0)
    scheme = schemes.get("ternary_connect")
    layer = make(scheme).double()
    layer.weight_quant.eval()  # so that the weights can be asked for
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    upstream = torch.randn_like(y)
    torch.manual_seed(1)
    y.backward(upstream)

    weight = layer.quant_weight().value.detach().requires_grad_()
    if weight.dim() == 2:

        def product(inputs):
            return functional.linear(inputs, weight, layer.bias)
    else:
        run = functional.conv1d if weight.dim() == 3 else functional.conv2d

        def product(inputs):
            return run(inputs, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    torch.testing.assert_close(y, product(x))
    [to_x] = torch.autograd.grad(product(x), x, upstream)
    torch.manual_seed(1)
    shifts = random_power_of_two(x)
    [to_weight] = torch.autograd.grad(product(shifts), weight, upstream)
    torch.testing.assert_close(x.grad, to_x)
    torch.testing.assert_close(layer.weight.grad, to_weight)
    if layer.bias is not None:
        torch.testing.assert_close(layer.bias.grad, upstream.transpose(0, 1).flatten(1).sum(1))


def test_without_quantized_back_propagation_the_gradient_is_exact():
    layer = layers.linear(schemes.get("ternary_connect", quantized_backprop=False), 6, 4)
    x, upstream = torch.randn(5, 6), torch.randn(5, 4)
    layer(x).backward(upstream)
    torch.testing.assert_close(layer.weight.grad, upstream.T @ x)


# Widths


@pytest.mark.parametrize(
    ("name", "scheme", "expected"),
    [
        ("tfc-wternarya2", "twn", {"act_bits": 2}),
        ("tfc-wternarya4", "ternary_connect", {"weight_bits": "ternary", "act_bits": 4}),
        ("tfc-w1a4", "ternary_connect", {"weight_bits": 1, "act_bits": 4}),
    ],
)
def test_names_give_the_widths(name, scheme, expected):
    assert expected.items() <= create_model(name, scheme=scheme).scheme.describe().items()


@pytest.mark.parametrize(
    ("name", "scheme", "message"),
    [
        ("tfc-w2a2", "twn", "scheme twn has ternary weights, not 2: name the model -wternarya2"),
        ("tfc-w2a2", "ternary_connect", "ternary or 1-bit weights, not 2"),
        ("tfc-wternarya1", "twn", "act_bits=1"),
    ],
)
def test_widths_that_a_scheme_lacks(name, scheme, message):
    with pytest.raises(QuantError, match=message) as caught:
        create_model(name, scheme=scheme)
    assert caught.value.status == 2
