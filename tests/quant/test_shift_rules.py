"""BinaryNet's shift-based rules against transcriptions of the papers' formulas in NumPy."""

import numpy as np
import pytest
import torch

from quant.errors import QuantError
from quant.quantizers.powers_of_two import ap2
from quant.quantizers.shift_adamax import ShiftAdaMax
from quant.quantizers.shift_norm import ShiftNorm


def ap2_of(x) -> np.ndarray:
    x = np.asarray(x, np.float64)
    with np.errstate(divide="ignore"):
        return np.where(x == 0, 0.0, np.sign(x) * 2.0 ** np.round(np.log2(np.abs(x))))


def test_ap2():
    torch.manual_seed(0)
    root = np.float32(np.sqrt(2.0))
    by_hand = {1.0: 1, -1.0: -1, 0.0: 0, 3.0: 4, 2.8: 2, 2.9: 4, -0.7: -0.5, -0.71: -1}
    by_hand |= {float(root): 1, float(np.nextafter(root, np.float32(2))): 2}
    for value, expected in by_hand.items():
        assert float(ap2(torch.tensor(value))) == expected
    x = torch.randn(1000) * torch.logspace(-20, 20, 1000)
    np.testing.assert_array_equal(ap2(x), ap2_of(x))
    np.testing.assert_array_equal(ap2(x.double()), ap2_of(x))
    for short in (torch.bfloat16, torch.float16):
        y = torch.linspace(-9, 9, 500).to(short)
        np.testing.assert_array_equal(ap2(y).float(), ap2_of(y.float()))


@pytest.mark.parametrize("shape", [(40, 5), (6, 5, 4), (6, 5, 3, 4)])
def test_shift_norm(shape):
    torch.manual_seed(0)
    norm = ShiftNorm(5, eps=1e-4).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.3, -1.2, 1.0, 2.9, 0.01]))
        norm.bias.normal_()
    x = (torch.randn(shape, dtype=torch.float64) * 7 + 2).requires_grad_()
    upstream = torch.randn(shape, dtype=torch.float64)
    y = norm(x)
    y.backward(upstream)

    over = tuple(axis for axis in range(x.dim()) if axis != 1)
    columns = (-1, *[1] * (x.dim() - 2))
    values, g = x.detach().numpy(), upstream.numpy()
    weight, bias = (p.detach().numpy().reshape(columns) for p in (norm.weight, norm.bias))
    mean = values.mean(over, keepdims=True)
    c = values - mean
    variance = (c * ap2_of(c)).mean(over, keepdims=True)
    s = ap2_of(1 / np.sqrt(variance + 1e-4))
    np.testing.assert_allclose(y.detach(), c * s * ap2_of(weight) + bias, rtol=1e-12)
    centred = g - g.mean(over, keepdims=True)
    expected = s * ap2_of(weight) * (centred - ap2_of(c) * s**2 * (g * ap2_of(c)).mean(over, keepdims=True))
    np.testing.assert_allclose(x.grad, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(norm.weight.grad, (g * s * ap2_of(c)).sum(over), rtol=1e-10)
    np.testing.assert_allclose(norm.bias.grad, g.sum(over), rtol=1e-10)
    np.testing.assert_allclose(norm.running_mean, 0.1 * mean.ravel(), rtol=1e-12)
    np.testing.assert_allclose(norm.running_var, 0.9 + 0.1 * variance.ravel(), rtol=1e-12)

    norm.eval()
    factor = ap2_of(1 / np.sqrt(norm.running_var.numpy() + 1e-4)) * ap2_of(weight.ravel())
    used = (values - norm.running_mean.numpy().reshape(columns)) * factor.reshape(columns) + bias
    np.testing.assert_allclose(norm(x).detach(), used, rtol=1e-12)


def test_shift_norm_without_momentum_averages():
    norm = ShiftNorm(3, momentum=None)
    batches = [torch.randn(20, 3) + i for i in range(3)]
    for batch in batches:
        norm(batch)
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean(0) for b in batches]).mean(0))


def test_shift_adamax():
    torch.manual_seed(0)
    parameters = [torch.randn(4, 3, requires_grad=True), torch.randn(5, requires_grad=True), torch.zeros(2)]
    w = [p.detach().double().numpy().copy() for p in parameters]
    optimizer = ShiftAdaMax([{"params": parameters[:1], "lr": 0.03}, {"params": parameters[1:]}], lr=0.002)
    m, v = [np.zeros_like(x) for x in w], [np.zeros_like(x) for x in w]
    for t in range(1, 8):
        for i in (0, 1):
            parameters[i].grad = torch.randn_like(parameters[i]) * 10.0**-t
            if t < 4:
                parameters[i].grad.view(-1)[0] = 0  # never a gradient so far
            g = parameters[i].grad.double().numpy()
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = ap2_of(np.maximum(0.999 * v[i], np.abs(g)))
            step = ap2_of((0.03, 0.002)[i] / (1 - 0.9**t))
            w[i] -= step * np.divide(m[i], v[i], out=np.zeros_like(w[i]), where=v[i] > 0)
        if t == 4:  # another optimizer goes on from the saved state
            saved = optimizer.state_dict()
            optimizer = ShiftAdaMax([{"params": parameters[:1]}, {"params": parameters[1:]}])
            optimizer.load_state_dict(saved)
        optimizer.step()
        for i in (0, 1):
            np.testing.assert_allclose(parameters[i].detach(), w[i], rtol=1e-5, atol=1e-6)


def test_shift_adamax_calls_a_closure_and_refuses_bad_rates():
    x = torch.ones(2, requires_grad=True)
    optimizer = ShiftAdaMax([x], lr=2.0**-4)

    def closure():
        optimizer.zero_grad()
        loss = x.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    assert optimizer.step(closure).item() < 2.0
    for settings in ({"lr": 0}, {"betas": (1.0, 0.9)}):
        with pytest.raises(QuantError, match="ShiftAdaMax: lr="):
            ShiftAdaMax([x], **settings)
