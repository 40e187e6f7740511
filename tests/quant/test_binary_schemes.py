"""BinaryConnect, BinaryNet, BWN, XNOR-Net and LAB against their formulas."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from quant import TrainConfig, create_model, fit, layers, load_data, schemes
from quant.errors import QuantError
from quant.metrics import accuracy
from quant.quantizers.signs import random_sign, scaled_sign, sign_inside
from quant.quantizers.statistics import reestimate_batch_norm
from quant.schemes.binaryconnect import BinaryConnect
from quant.schemes.bwn import centre_and_clamp, filter_sign

EDGES = torch.tensor([-3.0, -1.0, -0.999, -0.5, -0.0, 0.0, 0.25, 0.999, 1.0, 7.0], dtype=torch.float64)


def quantized(layer) -> np.ndarray:
    return layer.quant_weight().value.detach().numpy()


def signs_of(w) -> np.ndarray:
    return np.where(np.asarray(w) >= 0, 1.0, -1.0)


def gradient_of(function, x: torch.Tensor, upstream: torch.Tensor) -> np.ndarray:
    latent = x.clone().requires_grad_()
    function(latent).backward(upstream)
    return latent.grad.numpy()


def binomial_bound(probability: np.ndarray, draws: int) -> np.ndarray:
    """Five standard deviations of a frequency."""
    return 5 * np.sqrt(probability * (1 - probability) / draws)


# Signs


def test_scaled_and_inside_signs():
    upstream = torch.arange(1.0, len(EDGES) + 1, dtype=torch.float64)
    scale = torch.tensor(0.3, dtype=torch.float64)
    np.testing.assert_array_equal(scaled_sign(EDGES, scale), 0.3 * signs_of(EDGES))
    np.testing.assert_array_equal(gradient_of(lambda x: scaled_sign(x, scale), EDGES, upstream), upstream)
    np.testing.assert_array_equal(sign_inside(EDGES), signs_of(EDGES))
    inside = upstream * (EDGES.abs() < 1)
    for stochastic in (False, True):
        np.testing.assert_array_equal(gradient_of(lambda x: sign_inside(x, stochastic), EDGES, upstream), inside)  # noqa: B023


@pytest.mark.parametrize("limit", [1.0, 0.125, 0.3])
def test_random_signs_have_the_papers_probability(limit):
    torch.manual_seed(0)
    draws = 40_000
    w = torch.tensor([-2.0, -1.0, -0.6, 0.0, 0.1, 0.9, 1.0, 3.0]) * limit
    p = np.clip((w.numpy() / limit + 1) / 2, 0, 1)
    drawn = random_sign(w.expand(draws, -1), limit)
    np.testing.assert_array_equal(np.unique(drawn), np.float32([-limit, limit]))
    frequency = (drawn > 0).float().mean(0).numpy()
    assert (np.abs(frequency - p) <= binomial_bound(p, draws)).all()  # exactly 0 and 1 at and beyond the limits
    np.testing.assert_array_equal(gradient_of(lambda x: random_sign(x, limit), w, w), w)


# BinaryConnect


@pytest.mark.parametrize("scale", [1.0, 0.5, "glorot"])
def test_binaryconnect(scale):
    scheme = schemes.get("binaryconnect", scale=scale)
    layer = layers.conv(scheme, 6, 4, 3)
    h = np.float32(math.sqrt(1.5 / ((6 + 4) * 9)) if scale == "glorot" else scale)
    w = layer.weight.detach().numpy().copy()
    assert 0.9 * h < np.abs(w).max() <= h
    np.testing.assert_array_equal(quantized(layer), h * signs_of(w).astype(np.float32))
    assert layer.quant_weight().scale == h
    assert scheme.glorot_lr == scheme.unit_weights == (scale != "glorot")
    x, upstream = torch.randn(2, 6, 5, 5), torch.randn(2, 4, 3, 3)
    layer(x).backward(upstream)
    expected = torch.nn.grad.conv2d_weight(x, layer.weight.shape, upstream)
    torch.testing.assert_close(layer.weight.grad, expected)
    with torch.no_grad():
        layer.weight.mul_(4)
    scheme.after_step([layer], torch.optim.SGD([layer.weight]))
    np.testing.assert_array_equal(layer.weight.detach(), np.clip(4 * w, -h, h))


def test_stochastic_binaryconnect_is_random_in_training_only():
    torch.manual_seed(0)
    layer = layers.linear(schemes.get("binaryconnect", mode="stochastic"), 40, 30)
    x = torch.eye(40)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    np.testing.assert_array_equal(layer(x).detach().T, signs_of(layer.weight.detach()))
    np.testing.assert_array_equal(quantized(layer), signs_of(layer.weight.detach()))


# BatchNorm's statistics


def test_reestimated_statistics_are_those_of_the_batches():
    torch.manual_seed(0)
    scheme = schemes.get("binaryconnect", mode="stochastic")
    model = torch.nn.Sequential(
        layers.linear(scheme, 6, 5),
        scheme.norm(5, 0),
        torch.nn.Dropout(),
        layers.linear(scheme, 5, 4),
        scheme.norm(4, 0),
    )
    model[2].eval()
    modes = [module.training for module in model.modules()]
    batches = [torch.randn(50, 6) * 3 + i for i in range(4)]
    reestimate_batch_norm(model, iter(batches))
    assert [module.training for module in model.modules()] == modes
    assert [model[i].momentum for i in (1, 4)] == [0.1, 0.1]
    means, variances = ([], []), ([], [])
    for batch in batches:
        x = batch.double().numpy()
        for index, (linear, norm) in enumerate(((model[0], model[1]), (model[3], model[4]))):
            x = x @ signs_of(linear.weight.detach()).T
            means[index].append(x.mean(0))
            variances[index].append(x.var(0, ddof=1))
            x = (x - x.mean(0)) / np.sqrt(x.var(0) + norm.eps)
    for norm, mean, variance in zip((model[1], model[4]), means, variances, strict=True):
        np.testing.assert_allclose(norm.running_mean, np.mean(mean, axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(norm.running_var, np.mean(variance, axis=0), rtol=1e-4)
    reestimate_batch_norm(torch.nn.Linear(6, 2), iter(batches))  # nothing to do


def test_reestimation_repairs_a_stochastic_network(monkeypatch):
    data = load_data("digits")
    torch.manual_seed(0)
    model = create_model("tfc-w1a8", schemes.get("binaryconnect", mode="stochastic"))
    with monkeypatch.context() as patch:
        patch.setattr(BinaryConnect, "finish", lambda *_: None)
        fit(model, data, TrainConfig(epochs=5))
    x_test, y_test = torch.from_numpy(data.x_test.reshape(-1, 64)).float(), torch.from_numpy(data.y_test)
    before = accuracy(model, x_test, y_test)
    x_train = torch.from_numpy(data.x_train.reshape(-1, 64)).float()
    model.scheme.finish(model, iter(x_train.split(100)))
    assert accuracy(model, x_test, y_test) > before + 0.01


# BinaryNet


def test_stochastic_neurons_are_random_in_training_only():
    torch.manual_seed(0)
    act = layers.activation(schemes.get("binarynet", stochastic_act=True))
    x = torch.tensor([-1.5, -1.0, -0.2, 0.0, 0.7, 1.0]).expand(20_000, -1)
    p = np.clip((x[0].numpy() + 1) / 2, 0, 1)
    frequency = (act(x) > 0).float().mean(0).numpy()
    assert (np.abs(frequency - p) <= binomial_bound(p, len(x))).all()
    act.eval()
    np.testing.assert_array_equal(act(x[0]), signs_of(x[0]))


# BWN and XNOR-Net


@pytest.mark.parametrize("shape", [(4, 12), (4, 3, 5), (4, 3, 2, 3)])
def test_filter_signs_and_the_papers_gradient(shape):
    torch.manual_seed(0)
    w = torch.randn(shape, dtype=torch.float64)
    w.view(-1)[:4] = torch.tensor([0.0, -0.0, 1.0, -1.0])
    n = w[0].numel()
    alpha = w.abs().flatten(1).mean(1).view(-1, *[1] * (w.dim() - 1))
    values, scale = filter_sign(w)
    torch.testing.assert_close(scale, alpha, rtol=1e-14, atol=0)
    np.testing.assert_array_equal(values, scale.numpy() * signs_of(w))
    upstream = torch.randn_like(w)
    expected = upstream * (1 / n + alpha * (w.abs() < 1))
    np.testing.assert_allclose(gradient_of(lambda x: filter_sign(x)[0], w, upstream), expected, rtol=1e-13)


def test_alpha_minimizes_the_distance():
    torch.manual_seed(0)
    w = torch.randn(1, 50, dtype=torch.float64)
    alpha = float(filter_sign(w)[1])
    errors = [float((w - a * w.sign()).square().sum()) for a in (alpha - 1e-3, alpha, alpha + 1e-3)]
    assert errors[1] == min(errors)


@pytest.mark.parametrize("name", ["bwn", "xnor"])
def test_weights_are_centred_over_input_channels_and_clamped(name):
    torch.manual_seed(0)
    scheme = schemes.get(name)
    layer = layers.conv(scheme, 8, 4, 3)
    assert layer.weight.mean(1).abs().max() < 1e-6
    with torch.no_grad():
        layer.weight.normal_(mean=0.5)
    w = layer.weight.detach().numpy().copy()
    scheme.after_step([layer], torch.optim.SGD([layer.weight]))
    np.testing.assert_allclose(layer.weight.detach(), np.clip(w - w.mean(1, keepdims=True), -1, 1), atol=1e-6)
    depthwise, kept = torch.randn(6, 1, 3, 3), torch.randn(4, 5)
    for weight, centre in ((depthwise, True), (kept, False)):
        expected = weight.clamp(-1, 1)
        centre_and_clamp(weight, centre)
        torch.testing.assert_close(weight, expected)


def test_edges_are_wide_and_blocks_pool_before_they_normalize():
    model = create_model("lenet5-w1a1", scheme="xnor", input_shape=(1, 28, 28))
    assert model.scheme.pool_first
    assert [name for name, _ in model.features[0].named_children()] == ["conv", "pool", "norm", "act"]
    edges = (model.features[0].conv, model.output)
    assert [layer.quant_weight().bit_width for layer in edges] == [8, 8]
    assert model.features[1].conv.quant_weight().bit_width == 1
    model = create_model("tfc-w1a1", schemes.get("bwn", edge_bits=1))
    assert model.output.quant_weight().bit_width == 1


def test_xnor_activations():
    act = layers.activation(schemes.get("xnor"))
    x = EDGES.float()
    np.testing.assert_array_equal(act(x), signs_of(x))
    np.testing.assert_array_equal(gradient_of(act, x, torch.ones_like(x)), x.abs() < 1)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda s: layers.linear(s, 12, 5, bias=True), (7, 12)),
        (lambda s: layers.conv(s, 4, 6, 3, stride=2, padding=1, bias=True), (2, 4, 9, 8)),
        (lambda s: layers.conv(s, 4, 6, (2, 3), groups=2), (2, 4, 9, 8)),
        (lambda s: layers.conv(s, 4, 6, 3, dimensions=1, dilation=2), (3, 4, 11)),
    ],
)
def test_input_scale_is_the_papers_k(layer, shape):
    torch.manual_seed(0)
    scheme = schemes.get("xnor", input_scale=True)
    act, layer = layers.activation(scheme), layer(scheme)
    x = torch.randn(shape, requires_grad=True)
    y = layer(act(x))
    upstream = torch.randn_like(y)
    y.backward(upstream)

    reference = x.detach().clone().requires_grad_()
    signs = sign_inside(reference)
    a = reference.detach().abs().mean(1, keepdim=True)
    if x.dim() == 2:
        expected = functional.linear(signs, layer.quant_weight().value) * a
    else:
        kernel = layer.weight.shape[2:]
        window = torch.full((1, 1, *kernel), 1 / math.prod(kernel))
        run = functional.conv1d if x.dim() == 3 else functional.conv2d
        at = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        expected = run(signs, layer.quant_weight().value, groups=layer.groups, **at) * run(a, window, **at)
    if layer.bias is not None:
        expected = expected + layer.bias.view(-1, *[1] * (x.dim() - 2))
    torch.testing.assert_close(y, expected)
    expected.backward(upstream)
    torch.testing.assert_close(x.grad, reference.grad)


# LAB


def test_alpha_follows_adams_second_moment():
    torch.manual_seed(0)
    scheme = schemes.get("lab")
    layer = layers.linear(scheme, 20, 6)
    bound = math.sqrt(1.5 / 26)
    assert 0.8 * bound < layer.weight.abs().max() <= bound
    assert float(layer.quant_weight().scale) == pytest.approx(float(layer.weight.detach().abs().mean()), rel=1e-6)
    optimizer = scheme.optimizer([{"params": [layer.weight], "lr": 0.5}])
    scheme.after_step([layer], optimizer)  # no update yet: still the mean
    assert float(layer.quant_weight().scale) == pytest.approx(float(layer.weight.detach().abs().mean()), rel=1e-6)
    v = np.zeros((6, 20))
    for step in range(5):
        x, upstream = torch.randn(9, 20), torch.randn(9, 6) * 10.0**-step
        optimizer.zero_grad()
        layer(x).backward(upstream)
        torch.testing.assert_close(layer.weight.grad, upstream.T @ x)
        v = 0.999 * v + 0.001 * layer.weight.grad.numpy() ** 2
        optimizer.step()
        scheme.after_step([layer], optimizer)
        w = layer.weight.detach().numpy()
        assert np.abs(w).max() <= 1
        d = np.sqrt(v) + 1e-8
        alpha = (d * np.abs(w)).sum() / d.sum()
        np.testing.assert_allclose(quantized(layer), alpha * signs_of(w), rtol=1e-5)
    again = layers.linear(scheme, 20, 6)
    again.load_state_dict(layer.state_dict())
    for other in (again, copy.deepcopy(layer)):
        np.testing.assert_array_equal(quantized(other), quantized(layer))


def test_lab_needs_second_moments():
    scheme = schemes.get("lab")
    layer = layers.linear(scheme, 4, 3)
    optimizer = torch.optim.SGD([layer.weight], lr=0.1, momentum=0.9)
    layer(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    with pytest.raises(QuantError, match="SGD has none: train with Adam"):
        scheme.after_step([layer], optimizer)


def test_lab2_has_signs_for_activations():
    act = layers.activation(schemes.get("lab", act_bits=1))
    np.testing.assert_array_equal(act(EDGES.float()), signs_of(EDGES))


# Widths


@pytest.mark.parametrize(
    ("name", "scheme", "expected"),
    [
        ("tfc-w1a2", "bwn", {"act_bits": 2}),
        ("tfc-w1a1", "xnor", {"input_scale": False}),
        ("tfc-w1a1", "lab", {"act_bits": 1}),
        ("tfc-w1a4", "lab", {"act_bits": 4}),
        ("tfc-w1a1", "binarynet", {"update_rule": "adam"}),
    ],
)
def test_names_give_the_widths(name, scheme, expected):
    assert expected.items() <= create_model(name, scheme=scheme).scheme.describe().items()


@pytest.mark.parametrize(
    ("name", "scheme", "message"),
    [
        ("tfc-w2a2", "bwn", "scheme bwn has 1-bit weights, not 2: name the model -w1a2"),
        ("tfc-w1a1", "bwn", "act_bits=1 is not a whole number from 2"),
        ("tfc-w1a2", "xnor", "name the model -w1a1"),
        ("tfc-wternarya2", "lab", "1-bit weights, not ternary"),
        ("tfc-w2a2", "binaryconnect", "1-bit weights, not 2"),
        ("tfc-w1a2", "binarynet", "name the model -w1a1"),
    ],
)
def test_widths_that_a_scheme_lacks(name, scheme, message):
    with pytest.raises(QuantError, match=message) as caught:
        create_model(name, scheme=scheme)
    assert caught.value.status == 2


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("binaryconnect", {"mode": "random"}, "mode='random' is not 'deterministic' or 'stochastic'"),
        ("binaryconnect", {"scale": 0}, "scale=0 is no positive number or 'glorot'"),
        ("binaryconnect", {"scale": "he"}, "'glorot'"),
        ("binarynet", {"normalization": "layer"}, "'batch' or 'shift'"),
        ("binarynet", {"update_rule": "sgd"}, "'adam' or 'shift_adamax'"),
        ("xnor", {"edge_bits": 0}, "edge_bits=0"),
        ("lab", {"act_bits": 0}, "act_bits=0"),
    ],
)
def test_bad_parameters(name, parameters, message):
    with pytest.raises(QuantError, match=message) as caught:
        schemes.get(name, **parameters)
    assert caught.value.status == 2
