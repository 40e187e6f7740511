"""HWGQ: the optimal levels, the forward pass and the three gradients against transcriptions of the paper."""

import math

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from quant import TrainConfig, create_model, export, fit, layers, schemes
from quant.errors import QuantError
from quant.schemes import hwgq

TINY = np.finfo(np.float32).tiny


def squared_error(edges: np.ndarray, levels: np.ndarray) -> float:
    """Mean of ``(x - level)**2`` for x ~ N(0, 1) with x > 0, over cells between ``edges`` (the last is infinite)."""
    low, high = edges[:-1], edges[1:]
    mass = norm.cdf(high) - norm.cdf(low)
    first = norm.pdf(low) - norm.pdf(high)
    second = mass - np.where(np.isinf(high), 0, high) * norm.pdf(high) + low * norm.pdf(low)
    return 2 * float(np.sum(second - 2 * levels * first + levels**2 * mass))


def middles(levels: np.ndarray) -> np.ndarray:
    return (levels[1:] + levels[:-1]) / 2


def best_step(bits: int, rounded: bool) -> tuple[float, float]:
    def error(step: float) -> float:
        positive = np.arange(1, 2**bits) * step
        levels = np.concatenate([[0.0], positive]) if rounded else positive
        return squared_error(np.concatenate([[0.0], middles(levels), [np.inf]]), levels)

    found = minimize_scalar(error, bounds=(0.05, 2.0), method="bounded", options={"xatol": 1e-9})
    return found.x, found.fun


def lloyd_max(count: int) -> np.ndarray:
    levels = np.linspace(0.2, 2.5, count)
    for _ in range(20_000):
        edges = np.concatenate([[0.0], middles(levels), [np.inf]])
        mass = norm.cdf(edges[1:]) - norm.cdf(edges[:-1])
        levels, before = (norm.pdf(edges[:-1]) - norm.pdf(edges[1:])) / mass, levels
        if np.abs(levels - before).max() < 1e-9:
            break
    return levels


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_the_levels_are_optimal(bits):
    step, error = best_step(bits, rounded=False)
    assert hwgq._STEP[bits] == pytest.approx(step, abs=6e-6)
    rounded, rounded_error = best_step(bits, rounded=True)
    assert hwgq._ROUNDED_STEP[bits] == pytest.approx(rounded, abs=6e-6)
    assert rounded_error < error
    np.testing.assert_allclose(hwgq._LEVELS[bits], lloyd_max(2**bits - 1), atol=2e-5)
    published = {1: math.sqrt(2 / math.pi), 2: 0.538, 3: 0.3217, 4: 0.1842}
    assert step == pytest.approx(published[bits], abs=1e-3)


def half_wave(x: np.ndarray, codes: np.ndarray, scale: float) -> np.ndarray:
    """The paper's: 0 for ``x <= 0``, else the level of the cell; at a threshold the upper one."""
    edges = middles(codes * scale).astype(np.float32)
    found = codes[np.searchsorted(edges, x, side="right")]
    return np.where(x > 0, found, 0).astype(np.float32) * np.float32(scale)


def activation(**parameters):
    scheme = schemes.get("hwgq", **parameters)
    codes, scale = scheme.levels
    return layers.activation(scheme), np.array(codes), scale


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_forward(bits, uniform):
    act, codes, scale = activation(act_bits=bits, uniform=uniform)
    thresholds = act.act_quant.fused_activation_quant_proxy.tensor_quant.thresholds.numpy()
    assert thresholds[0] == TINY
    near = [thresholds, np.nextafter(thresholds, np.float32(9)), np.nextafter(thresholds, np.float32(-9))]
    special = np.array([0.0, -0.0, TINY, 1e-30, -1e-30, -5, 1e9], np.float32)
    x = np.concatenate([*near, special, np.random.default_rng(0).normal(size=2000).astype(np.float32)])
    x = x[(x <= 0) | (x >= TINY)]
    with torch.no_grad():
        found = act(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(found[x <= 0], 0)
    assert (found[x > 0] > 0).all()
    np.testing.assert_array_equal(found, half_wave(x, codes, scale))
    # The thresholds alone, as MultiThreshold counts them.
    np.testing.assert_array_equal((x[:, None] >= thresholds).sum(1), np.rint(found / scale))


def test_non_uniform_codes_are_the_levels_on_a_grid():
    scheme = schemes.get("hwgq", act_bits=2, uniform=False)
    codes, grid = scheme.levels
    assert codes == (3, 8, 15)  # of 4 bits: 0.31772, 1.00011 and 1.89359 = 15 * grid
    assert np.abs(np.array(codes) * grid - hwgq._LEVELS[2]).max() <= grid / 2
    quantizer = layers.activation(scheme).act_quant.fused_activation_quant_proxy.tensor_quant
    np.testing.assert_allclose(quantizer.thresholds, [TINY] * 3 + [5.5 * grid] * 5 + [11.5 * grid] * 7, rtol=1e-6)
    wide = schemes.get("hwgq", act_bits=2, uniform=False, grid_bits=8)
    assert wide.levels[0] == (43, 135, 255)


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gradients(bits, uniform):
    x = np.concatenate([[0.0, TINY, 1e-3, 30.0], np.random.default_rng(bits).normal(size=500) * 2]).astype(np.float32)
    upstream = torch.randn(len(x), generator=torch.Generator().manual_seed(0))
    for backward in ("clipped", "relu", "log_tailed"):
        act, codes, scale = activation(act_bits=bits, uniform=uniform, backward=backward)
        last = codes[-1] * scale
        given = torch.tensor(x, requires_grad=True)
        act(given).backward(upstream)
        inside = (x > 0) & (x <= last)
        with np.errstate(divide="ignore"):
            tail = (x > last) / (x.astype(np.float64) - (last - 1))
        slope = {"clipped": inside, "relu": x > 0, "log_tailed": np.where(inside, 1.0, tail)}[backward]
        np.testing.assert_allclose(given.grad, upstream.numpy() * slope, rtol=1e-5, atol=1e-7)


def test_rounded_form():
    act, _, step = activation(act_bits=2, rounded=True)
    x = torch.tensor([-1, 0.49, 0.51, 1.4, 1.6, 2.9, 9]) * step
    x.requires_grad_()
    y = act(x)
    y.sum().backward()
    np.testing.assert_allclose(y.detach() / step, [0, 0, 1, 1, 2, 3, 3], rtol=1e-6)
    np.testing.assert_array_equal(x.grad, [0, 1, 1, 1, 1, 1, 0])


def test_layers():
    model = create_model("tfc-w1a2", scheme="hwgq")
    weights = [block.linear for block in model.hidden] + [model.output]
    assert [int(layer.quant_weight().bit_width) for layer in weights] == [8, 1, 1, 8]
    layer = weights[1]
    w = layer.weight.detach()
    alpha = w.abs().mean(1, keepdim=True)
    torch.testing.assert_close(layer.quant_weight().value, alpha * torch.where(w >= 0, 1.0, -1.0))
    normalised = model.hidden[1].norm
    assert not normalised.affine


@pytest.mark.parametrize(
    ("parameters", "operators"),
    [
        ({"act_bits": 1}, {"MultiThreshold": 3, "Mul": 3}),
        ({"act_bits": 2}, {"MultiThreshold": 3, "Mul": 3}),
        ({"act_bits": 3, "uniform": False}, {"MultiThreshold": 3, "Mul": 3}),
        ({"act_bits": 2, "rounded": True}, {"MultiThreshold": 0, "Mul": 0, "Relu": 3}),
    ],
    ids=str,
)
def test_digits_and_export(parameters, operators, tmp_path):
    torch.manual_seed(0)
    model = create_model("tfc", scheme=schemes.get("hwgq", **parameters))
    assert fit(model, config=TrainConfig(epochs=8)).test_accuracy > 0.9
    path = tmp_path / "model.onnx"
    verification = export(model, path)
    assert verification.quantizers == 4
    assert verification.max_abs_diff < 1e-9
    file = onnx.load(path)
    assert operators == {op: sum(node.op_type == op for node in file.graph.node) for op in operators}
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in file.graph.initializer}
    for node in file.graph.node:
        if node.op_type == "MultiThreshold":
            attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            # out_scale is left at 1, so that the node gives integers
            assert attributes == {"out_dtype": f"UINT{model.scheme.code_bits}".encode(), "data_layout": b"NC"}
            assert tensors[node.input[1]].shape == (1, model.scheme.levels[0][-1])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"act_bits": 5}, "from 1 to 4"),
        ({"backward": "tanh"}, "'clipped' or 'relu' or 'log_tailed'"),
        ({"rounded": True, "uniform": False}, "uniform=True"),
        ({"uniform": False, "act_bits": 4, "grid_bits": 4}, "raise grid_bits"),
        ({"edge_bits": 1}, "from 2 to 16"),
    ],
)
def test_bad_requests(parameters, message):
    with pytest.raises(QuantError, match=message) as caught:
        schemes.get("hwgq", **parameters)
    assert caught.value.status == 2


def test_one_bit_weights_only():
    with pytest.raises(QuantError, match="1-bit weights"):
        create_model("tfc-w2a2", scheme="hwgq")
