"""Optimal Brain Surgeon and OBQ against their formulas, brute force, and the errors of a layer's outputs."""

import numpy as np
import pytest
import torch

from quant import TrainConfig, compression, create_model, export, fit, layers, load_checkpoint, save_checkpoint, schemes
from quant.compression.forms import Grid
from quant.compression.latent import assign
from quant.compression.layerwise import best_grid, eliminate, input_rows, second_moments
from quant.compression.weights import find_layers, grid_of, weight_of
from quant.errors import QuantError
from quant.metrics import accuracy
from tests.quant.compressed import convolutional, digits, images, trained_network


def hessian(inputs: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(30, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.T @ x / 30 + 0.01 * torch.eye(inputs, dtype=torch.float64)


@pytest.mark.quick
def test_a_step_is_the_formula_and_the_recursion_is_the_inverse_of_what_is_left():
    h, w = hessian(7), torch.randn(7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, order, errors = eliminate(w[None], torch.linalg.inv(h)[None], torch.ones(1, 7, dtype=torch.bool), None)
    now, left = w.clone(), list(range(7))
    for q, error in zip(order[0].tolist(), errors[0].tolist(), strict=True):
        inverse = torch.linalg.inv(h[left][:, left])  # not by the recursion
        cost = now[left] ** 2 / inverse.diagonal()
        assert left[int(cost.argmin())] == q
        assert error == pytest.approx(float(cost.min()))
        place = left.index(q)
        now[left] -= now[q] * inverse[:, place] / inverse[place, place]
        left.remove(q)


def test_what_is_left_is_the_constrained_minimum_and_the_rows_share_the_fraction():
    torch.manual_seed(0)
    layer = torch.nn.Linear(9, 6)
    x = torch.randn(50, 9) @ torch.randn(9, 9)
    small = compression.obs(layer, x, 0.6, damping=1e-3)
    w, after = layer.weight.detach().double(), weight_of(small).double()
    assert int((after == 0).sum()) == round(0.6 * 54)
    h = x.double().T @ x.double() / 50
    h += 1e-3 * h.diagonal().mean() * torch.eye(9)
    counts, steps = (after == 0).sum(1), []
    for row in range(6):
        kept = after[row] != 0
        move = torch.linalg.solve(h[kept][:, kept], h[kept][:, ~kept] @ w[row, ~kept])
        torch.testing.assert_close(after[row, kept], w[row, kept] + move, rtol=1e-4, atol=1e-5)
        steps.append(eliminate(w[row][None], torch.linalg.inv(h)[None], torch.ones(1, 9, dtype=torch.bool), None)[2][0])
    # no row could give up its last step for a cheaper next step of another row
    for a, here in enumerate(steps):
        for b, there in enumerate(steps):
            if a != b and counts[a] and counts[b] < 8:
                assert here[: counts[a]].max() <= there[: counts[b] + 1].max() + 1e-12
    most = compression.obs(layer, x, 48 / 54)
    assert bool(((weight_of(most) != 0).sum(1) == 1).all())
    with pytest.raises(QuantError, match=r"leaves an output without an input: prune at most 0\.8888"):
        compression.obs(layer, x, 49 / 54)
    further = compression.obs(small, x, 0.8)
    assert bool((weight_of(further)[after == 0] == 0).all())
    assert int((weight_of(further) == 0).sum()) == round(0.8 * 54)


@pytest.mark.parametrize("groups", [1, 2])
def test_h_of_a_convolution_is_that_of_its_windows(groups):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(4, 6, 3, stride=2, padding=(1, 2), dilation=(1, 2), groups=groups, bias=False)
    x = torch.randn(5, 4, 9, 11)
    moment = second_moments(layer, {"conv": layer}, x, 5)["conv"]
    change = torch.randn_like(layer.weight)
    with torch.no_grad():
        moved = torch.nn.functional.conv2d(x, change, None, layer.stride, layer.padding, layer.dilation, groups)
    rows = change.flatten(1).double().view(groups, -1, layer.weight[0].numel())
    quadratic = torch.einsum("gri,gij,grj->", rows, moment, rows)
    torch.testing.assert_close(quadratic, moved.double().square().sum((1,)).mean(), rtol=1e-5, atol=0)
    line = torch.nn.Conv1d(3, 2, 3, padding="same")
    assert input_rows(line, torch.randn(2, 3, 8)).shape == (1, 16, 9)


def test_a_convolutional_network_keeps_its_outputs_better_than_magnitudes_do():
    model, x = convolutional(), images(200)
    with torch.no_grad():
        expected = model(x)
        errors = [
            float((small(x) - expected).square().mean())
            for small in (compression.obs(model, x, 0.6), compression.prune(model, 0.6))
        ]
    assert errors[0] < 0.6 * errors[1]
    coarse = compression.obq(model, x, 3)
    plain = []
    for index in (0, 3, 6):
        grid = best_grid(model[index].weight.detach(), 3)
        codes = weight_of(coarse[index]) / grid.scale
        torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-4)
        assert codes.abs().max() <= 3
        plain.append((model[index].weight / grid.scale).round().clamp(-3, 3) * grid.scale)
    [h] = second_moments(model, {"last": model[6]}, x, 200)["last"]
    ours, nearest = ((weight - model[6].weight).double() for weight in (weight_of(coarse[6]), plain[2]))
    assert torch.einsum("ri,ij,rj->", ours, h, ours) < 0.7 * torch.einsum("ri,ij,rj->", nearest, h, nearest)


def test_obq_takes_weights_beyond_the_grid_first_and_compensates_each_step():
    h = hessian(5, 2)
    w = torch.tensor([[0.2, 5.0, -0.4, 0.9, 0.1]], dtype=torch.float64)
    grid, every = Grid(1.0, 3, narrow_range=True), torch.ones(1, 5, dtype=torch.bool)
    result, order, errors = eliminate(w, torch.linalg.inv(h)[None], every, (torch.ones_like(w), grid))
    assert order[0, 0] == 1
    assert result[0, 1] == 3
    assert float(errors[0, 0]) == pytest.approx(float((5.0 - 3) ** 2 / torch.linalg.inv(h)[1, 1]))
    assert torch.equal(result, result.round())
    # the sum of the steps' errors is the error of the whole row
    change = (result - w)[0]
    torch.testing.assert_close(errors.sum(), change @ h @ change)


SCHEMES = [
    ("integer", {"weight_bits": 4}, True),
    ("integer", {"weight_bits": "ternary"}, True),
    ("integer", {"weight_bits": 2}, False),
    ("twn", {"per_filter": True}, False),
    ("ternary_connect", {}, False),
    ("learned_step", {}, False),
    ("fixed_point", {"weight_bits": 5}, True),
    ("gupta", {"weight_fraction": 6}, False),
    ("float", {}, False),
]


@pytest.mark.parametrize(
    ("name", "parameters", "own"),
    [pytest.param(*each, marks=[pytest.mark.slow] * (i % 2)) for i, each in enumerate(SCHEMES)],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_under_each_scheme_with_zeros_the_network_has_the_integers_and_trains_on(name, parameters, own, tmp_path):
    data = digits()
    torch.manual_seed(0)
    model = create_model("tfc", schemes.get(name, **parameters), input_shape=data.shape, in_range=(0, 16))
    fit(model, data, TrainConfig(epochs=1))
    x = torch.from_numpy(data.x_train.reshape(-1, 64)).float()
    small = compression.obs(model, x, 0.5, frames=200)
    masks = {key: weight_of(layer) == 0 for key, layer in find_layers(small).items()}
    for key, layer in find_layers(small).items():
        assert float(masks[key].float().mean()) >= 0.499
        if own:
            assert grid_of(layer) is None
        if name != "float":
            quantized = layer.quant_weight()
            codes = quantized.value / quantized.scale
            torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-3)
            assert int(quantized.bit_width) == int(model.get_submodule(key).quant_weight().bit_width)
    save_checkpoint(small, tmp_path / "small.pt")
    again = load_checkpoint(tmp_path / "small.pt")
    assert torch.equal(again(x[:50]), small(x[:50]))
    fit(small, data, TrainConfig(epochs=1, learning_rate=(1e-3, 1e-4)))
    for key, layer in find_layers(small).items():
        assert bool((weight_of(layer)[masks[key]] == 0).all())


def test_without_training_it_beats_magnitudes_and_the_zeros_are_exported(tmp_path):
    from qonnx.core.modelwrapper import ModelWrapper

    data, model = digits(), trained_network()
    x = torch.from_numpy(data.x_train.reshape(-1, 64)).float()
    test = torch.from_numpy(data.x_test.reshape(-1, 64)).float(), torch.from_numpy(data.y_test)
    small = compression.obs(model, x, 0.75)
    assert accuracy(small, *test) > 0.93 > accuracy(compression.prune(model, 0.75), *test)
    export(small, tmp_path / "model.onnx", data.x_test.reshape(-1, 64)[:50].astype(np.float32))
    read = ModelWrapper(str(tmp_path / "model.onnx"))
    weights = [read.get_initializer(node.input[0]) for node in read.graph.node if node.op_type == "Quant"]
    shapes = [w for w in weights if w is not None and w.ndim == 2]
    assert len(shapes) == 4
    assert all(np.mean(w == 0) == 0.75 for w in shapes)


def test_bad_input():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3000, 4), torch.nn.Linear(4, 2))
    x = torch.randn(10, 3000)
    for call, words in (
        (lambda: compression.obs(model, x, 0.5), "layer 1 has 3000 inputs for an output"),
        (lambda: compression.obs(model, x, 1.0, layers="2"), "fraction=1.0 of layer 2"),
        (lambda: compression.obs(model, x[:0], 0.5, layers="2"), "0 inputs"),
        (lambda: compression.obs(model, x, 0.5, layers="2", damping=0.0), "damping=0.0"),
        (lambda: compression.obq(model, x, 1, layers="2"), "bits=1 of layer 2"),
        (lambda: compression.obs(compression.share_weights(model, 4), x, layers="2"), "layer 2 has shared weights"),
    ):
        with pytest.raises(QuantError, match=words) as caught:
            call()
        assert caught.value.status == 2
        assert "\n" not in str(caught.value)


def test_sums_beyond_a_schemes_accumulator_are_refused():
    torch.manual_seed(0)
    layer = layers.linear(schemes.get("accumulator_aware", weight_bits=4, act_bits=4, accumulator_bits=10), 64, 8)
    allowed = layer.weight_quant.tensor_quant.limit
    codes = torch.zeros(8, 64)
    codes[:, :20], codes[:, 20:40] = 1, -1
    layer.weight_quant.tensor_quant.check_codes(codes)
    codes[3] *= 7
    assert codes[3].abs().sum() > allowed
    with pytest.raises(QuantError, match=r"allows sums of \|weights\| .* 280"):
        assign(layer, codes, torch.ones(8, 64, dtype=torch.bool), Grid(1.0, 4, narrow_range=True))
